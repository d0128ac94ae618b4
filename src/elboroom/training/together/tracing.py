"""Losses and gradients of several models of one composition, traced once into a graph of operations.

Tracing happens below Python: whatever classes a model is composed of, the result is the list of the
operations that they call, batched over the models. Noise is an input of the graph, so that each model's
comes from its own generator, in the order in which it would draw alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from elboroom.errors import reason_of
from elboroom.training.step.engine import Engine
from elboroom.training.step.tracing import Draw, LossOfBatch, uncollected


class Batch(NamedTuple):
    """One batch of each of S models: examples as stored (S, b, *shape), and conditions (S, b, C) if any."""

    x: Tensor
    condition: Tensor | None


class Outcome(NamedTuple):
    """What a batch gives for each of S models.

    Attributes
    ----------
    loss, distortion, rate : Tensor
        Loss per example, and sums over the batch, (S,), in nats.
    gradients : Tensor
        Gradients of the loss, (S, P), laid out as in the models' flat buffers.
    totals : dict of str to Tensor
        Further columns of the history, (S, ...).
    """

    loss: Tensor
    distortion: Tensor
    rate: Tensor
    gradients: Tensor
    totals: dict[str, Tensor]


class Traced:
    """Losses and gradients of S models for batches of one size.

    Parameters
    ----------
    engines : sequence of Engine
        Of models that differ in the numbers of their parameters and buffers only.
    batch : Batch
        One to trace with; later ones have its shapes.
    coefficients : Tensor
        (S, number of schedules).

    Raises
    ------
    RuntimeError
        By torch, if the composition cannot be batched: it reads numbers on the host, or draws noise of its
        own.
    """

    def __init__(self, engines: Sequence[Engine], batch: Batch, coefficients: Tensor):
        first = engines[0]
        self._loss = _loss_of(first)
        flat = first.update.flat
        names = {parameter: name for name, parameter in self._loss.named_parameters()}
        self._layout = [(names[p], p.shape, flat.offset(p)[1]) for p in flat.parameters]
        self._width = flat.values[0].numel()
        self._kept = [_loss_of(engine).untrained(set(engine.update.flat.parameters)) for engine in engines]
        self.draws = draws_of(first, batch)
        values = torch.stack([engine.update.flat.values[0].detach() for engine in engines])
        noise = [torch.stack([draw.take() for _ in engines]) for draw in self.draws]
        devices = [first.device] if first.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), uncollected():
            self._graph: Callable[..., Any] = make_fx(lambda *inputs: self._compute(*inputs))(
                values, self.fixed(), batch.x, batch.condition, coefficients, noise
            )

    @property
    def reads(self) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        """How each of the totals becomes a column of the history."""
        return self._loss.reads

    def compile(self, use: Callable[[], object]) -> str | None:
        """Compile the graph with Inductor, and ``use`` it once; if that fails, keep the graph and say why."""
        plain = self._graph
        self._graph = torch.compile(plain, fullgraph=True)
        try:
            use()
        except Exception as error:  # compilers fail in many ways
            self._graph = plain
            return reason_of(error)
        return None

    def fixed(self) -> dict[str, Tensor]:
        """Numbers of the models, as they are now, that no step changes; (S, ...) each."""
        return {name: torch.stack([each[name] for each in self._kept]) for name in self._kept[0]}

    def __call__(
        self,
        values: Tensor,
        fixed: dict[str, Tensor],
        batch: Batch,
        coefficients: Tensor,
        noise: Sequence[Tensor],
    ) -> Outcome:
        """Losses and gradients for weights (S, P) and noise, one (S, ...) for each of :attr:`draws`."""
        found = self._graph(values, fixed, batch.x, batch.condition, coefficients, list(noise))
        return Outcome(*found)

    def _compute(
        self,
        values: Tensor,
        fixed: dict[str, Tensor],
        x: Tensor,
        condition: Tensor | None,
        coefficients: Tensor,
        noise: list[Tensor],
    ) -> tuple[Any, ...]:
        weights = {
            name: values[:, start : start + shape.numel()].view(-1, *shape)
            for name, shape, start in self._layout
        }
        in_dims = (0, 0, 0, None if condition is None else 0, 0, 0)
        batched = vmap(grad_and_value(self._one, has_aux=True), in_dims=in_dims, randomness="error")
        gradients, (loss, (distortion, rate, totals)) = batched(
            weights, fixed, x, condition, coefficients, noise
        )
        return loss, distortion, rate, self._flat(gradients), totals

    def _one(
        self,
        weights: dict[str, Tensor],
        fixed: dict[str, Tensor],
        x: Tensor,
        condition: Tensor | None,
        coefficients: Tensor,
        noise: list[Tensor],
    ) -> tuple[Tensor, Any]:
        return self._loss.given({**weights, **fixed}, x, condition, coefficients, noise)

    def _flat(self, gradients: dict[str, Tensor]) -> Tensor:
        """Gradients side by side, with zeros in the gaps that align the parameters."""
        pieces, end = [], 0
        for name, _, start in sorted(self._layout, key=lambda one: one[2]):
            gradient = gradients[name].reshape(len(gradients[name]), -1)  # also of a single number
            pieces += [gradient.new_zeros(len(gradient), start - end), gradient]
            end = start + gradient.shape[1]
        pieces.append(pieces[-1].new_zeros(len(pieces[-1]), self._width - end))
        return torch.cat([piece for piece in pieces if piece.shape[1]], 1)


def draws_of(engine: Engine, batch: Batch) -> list[Draw]:
    """Noise that a model's loss asks for on the first batch of ``batch``."""
    condition = None if batch.condition is None else batch.condition[0]
    return _loss_of(engine).draws(batch.x[0], condition, engine.coefficients)


def _loss_of(engine: Engine) -> LossOfBatch:
    return LossOfBatch(engine.vae, engine.objective, engine.batches, engine.precision)
