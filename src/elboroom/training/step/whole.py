"""A whole step as one function of tensors, traced once: loss, gradients, clipping and Adam."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.func import grad_and_value
from torch.fx.experimental.proxy_tensor import make_fx
from torch.optim import AdamW

from elboroom.data.batches import Rows, Streamed
from elboroom.probability import Meter
from elboroom.training.step.optimizers import adam_state
from elboroom.training.step.totals import Sums
from elboroom.training.step.tracing import LossOfBatch, uncollected
from elboroom.training.step.update import Update


class Settings(NamedTuple):
    """Numbers of Adam that may change between steps; ``clip`` is the largest norm of the gradients."""

    lr: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    clip: float

    def numbers(self, step: float) -> list[float]:
        """What the graph reads at a step, counted from 1; it would compute them for each weight."""
        return [
            self.lr / (1 - self.beta1**step),
            1 - self.beta1,
            self.beta2,
            1 - self.beta2,
            math.sqrt(1 - self.beta2**step),
            self.eps,
            self.weight_decay,
            self.lr * self.weight_decay,
            self.clip,
        ]


class Result(NamedTuple):
    """What a step measured.

    Attributes
    ----------
    sums : Sums
        Loss, distortion and rate.
    total : Tensor
        Not finite if the loss or a gradient is not, and nothing was updated, ().
    norm : Tensor
        Norm of the gradients before clipping, ().
    meters : dict of str to Meter
        Further columns of the history.
    """

    sums: Sums
    total: Tensor
    norm: Tensor
    meters: dict[str, Meter]


class WholeStep:
    """The step of a model with Adam or AdamW for batches of one size.

    It changes the weights and the optimiser's state in place, as the optimiser would.

    Parameters
    ----------
    loss : LossOfBatch
        Model and objective.
    update : Update
        Adam or AdamW over one flat buffer.
    covered : set of Tensor
        Parameters whose gradient is finite if those of all others are.
    rows : Rows
        A batch to trace with; later ones have its shapes.
    coefficients : Tensor
        The buffer of the objective's coefficients, which each step reads.

    Attributes
    ----------
    graph : fx.GraphModule
        The operations of the step.
    run : callable
        What computes it: the graph itself, or what was compiled from it.

    Raises
    ------
    RuntimeError
        By torch, if the model cannot be traced.
    """

    def __init__(
        self, loss: LossOfBatch, update: Update, covered: Set[Tensor], rows: Rows, coefficients: Tensor
    ):
        self._loss, self._update, self._coefficients = loss, update, coefficients
        self._parameters = list(update.flat.parameters)
        names = {parameter: name for name, parameter in loss.named_parameters()}
        self._names = [names[p] for p in self._parameters]
        self._watched = [p not in covered for p in self._parameters]
        untrained = loss.untrained(set(self._parameters))
        self._untrained_names, self._untrained = list(untrained), list(untrained.values())
        self._numbers = torch.zeros(9)
        self._columns: list[str] = []
        self._of: Tensor | None = None
        self._decoupled = isinstance(update.optimizer, AdamW)
        self._clips = update.clip is not None
        self.draws = loss.draws(*self._stored(rows), coefficients)
        self.graph = self._trace(rows)
        self.run: Callable[..., Any] = self.graph

    def __call__(self, rows: Rows) -> Result:
        """Take a step, with noise from torch's generator."""
        return self.given(rows, [draw.take() for draw in self.draws])

    @torch.no_grad()
    def given(self, rows: Rows, noise: Sequence[Tensor], settings: Settings | None = None) -> Result:
        """Take a step with this noise, and with other numbers of the optimiser if they are given."""
        *parts, count = self.state()
        self._numbers.copy_(torch.tensor((settings or self.settings()).numbers(count.item() + 1)))
        measured, totals = self.run(*parts, *self._inputs(rows, noise))
        loss, distortion, rate, total, norm = measured.unbind()
        if math.isfinite(total):
            count.add_(1)
        reads = self._loss.reads
        meters = {name: Meter(each, reads[name]) for name, each in zip(self._columns, totals, strict=True)}
        return Result(Sums(loss, distortion, rate), total, norm, meters)

    def settings(self) -> Settings:
        """Present settings of the optimiser."""
        group, clip = self._update.optimizer.param_groups[0], self._update.clip
        clip = math.inf if clip is None else clip
        beta1, beta2 = group["betas"]
        return Settings(group["lr"], beta1, beta2, group["eps"], group["weight_decay"], clip)

    def state(self) -> tuple[list[Tensor], list[Tensor], list[Tensor], Tensor]:
        """What a step changes: weights, first and second moments, and the count of steps."""
        state = adam_state(self._update.optimizer)
        if self._of is not state["exp_avg"]:  # loading a checkpoint replaces them
            self._of = state["exp_avg"]
            self._moments = self._cut(state["exp_avg"]), self._cut(state["exp_avg_sq"])
        first, second = self._moments
        return [p.detach() for p in self._parameters], first, second, state["step"]

    def _cut(self, flat: Tensor) -> list[Tensor]:
        starts = [self._update.flat.offset(p)[1] for p in self._parameters]
        return [
            flat[start : start + p.numel()].view(p.shape)
            for start, p in zip(starts, self._parameters, strict=True)
        ]

    def _stored(self, rows: Rows) -> tuple[Tensor, Tensor | None]:
        """Examples as they are stored, and their conditions."""
        batches = self._loss.batches
        x = rows.x if isinstance(rows, Streamed) else rows
        resident = x.dtype == torch.int64
        return batches.x.index_select(0, x) if resident else x, batches.conditions(rows)

    def _inputs(self, rows: Rows, noise: Sequence[Tensor]) -> tuple[Any, ...]:
        return (self._untrained, *self._stored(rows), self._coefficients, list(noise), self._numbers)

    def _trace(self, rows: Rows) -> fx.GraphModule:
        # Tracing computes as well, so it works on copies.
        copies = [[each.clone() for each in part] for part in self.state()[:3]]
        with torch.random.fork_rng(devices=[]), uncollected():
            inputs = self._inputs(rows, [draw.take() for draw in self.draws])
            graph: fx.GraphModule = make_fx(lambda *given: self._compute(*given))(*copies, *inputs)
        return graph

    def _compute(
        self,
        weights: list[Tensor],
        first: list[Tensor],
        second: list[Tensor],
        untrained: list[Tensor],
        x: Tensor,
        condition: Tensor | None,
        coefficients: Tensor,
        noise: list[Tensor],
        numbers: Tensor,
    ) -> tuple[Any, ...]:
        fixed = dict(zip(self._untrained_names, untrained, strict=True))

        def loss_of(trained: list[Tensor]) -> tuple[Tensor, Any]:
            given = fixed | dict(zip(self._names, trained, strict=True))
            return self._loss.given(given, x, condition, coefficients, noise)

        gradients, (loss, (distortion, rate, totals)) = grad_and_value(loss_of, has_aux=True)(weights)
        self._columns = list(totals)
        watched = [g.sum() for g, wanted in zip(gradients, self._watched, strict=True) if wanted]
        total = torch.stack([loss, *watched]).sum()
        norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
        if self._clips:
            scale = (numbers[8] / (norm + 1e-6)).clamp(max=1.0)
            gradients = [g * scale for g in gradients]
        self._adam(weights, first, second, gradients, numbers, total.isfinite())
        return torch.stack([loss, distortion, rate, total, norm]), list(totals.values())

    def _adam(
        self,
        weights: list[Tensor],
        first: list[Tensor],
        second: list[Tensor],
        gradients: Sequence[Tensor],
        numbers: Tensor,
        good: Tensor,
    ) -> None:
        """Update in place as torch's fused kernel does, or not at all if the step is not ``good``."""
        size, share1, beta2, share2, root, eps, decay, shrinking, _ = numbers.unbind()
        for weight, m, v, gradient in zip(weights, first, second, gradients, strict=True):
            new = weight
            if self._decoupled:
                new = weight - shrinking * weight
            else:
                gradient = gradient + decay * weight
            new_m = m + share1 * (gradient - m)
            new_v = beta2 * v + share2 * gradient * gradient
            new = new - size * new_m / (new_v.sqrt() / root + eps)
            weight.copy_(torch.where(good, new, weight))
            m.copy_(torch.where(good, new_m, m))
            v.copy_(torch.where(good, new_v, v))
