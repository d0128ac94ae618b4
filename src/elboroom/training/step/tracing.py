"""A model's loss as a function of tensors alone: what tracing, batching and compiling a step begin from.

Tracing happens below Python: whatever classes a model is composed of, the result is the list of the
operations that they call. Noise is an input of the graph, so that it comes from the generator from which an
ordinary step draws it, in the same order.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from elboroom.data.batches import Batches
from elboroom.distributed.noise import Distribution, from_generator, noise_from
from elboroom.models.inference import Precision
from elboroom.models.vae import VAE
from elboroom.objectives import Objective
from elboroom.training.step.meters import columns


@contextmanager
def uncollected() -> Iterator[None]:
    """Search for no reference cycles meanwhile: a trace makes many objects and keeps nearly all of them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@dataclass(frozen=True)
class Draw:
    """One draw of noise in a step: its distribution and its shape for one model."""

    distribution: Distribution
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def take(self) -> Tensor:
        """Draw from torch's generator."""
        return from_generator(
            self.distribution, self.shape, torch.empty((), dtype=self.dtype, device=self.device)
        )


class LossOfBatch(nn.Module):
    """Model and objective as one module: from a batch as stored to the loss.

    Parameters
    ----------
    vae, objective
        What is trained.
    batches : Batches
        Turns examples as they are stored into what the model sees.
    precision : {"fp32", "bf16"}
        Of the products.
    """

    def __init__(self, vae: VAE, objective: Objective, batches: Batches, precision: str):
        super().__init__()
        self.vae: VAE = vae
        self.objective: Objective = objective
        self.batches: Batches = batches
        self.reads: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
        self.precision: Precision = "bf16" if precision == "bf16" else "fp32"

    def forward(self, x: Tensor, condition: Tensor | None, coefficients: Tensor) -> tuple[Tensor, Any]:
        """Return the loss, and (distortion, rate, totals of further columns), sums over the batch in nats."""
        with self.vae.lowered(self.precision):
            terms = self.vae(self.batches.for_training(x), self.objective.num_samples, condition)
        loss, penalties = self.objective.parts(terms, coefficients)
        meters = columns(terms, penalties, {}, len(x))
        self.reads = {name: meter.read for name, meter in meters.items()}
        totals = {name: meter.total.detach() for name, meter in meters.items()}
        return loss, (terms.distortion.detach().sum(), terms.rate.detach().sum(), totals)

    def given(
        self,
        numbers: Mapping[str, Tensor],
        x: Tensor,
        condition: Tensor | None,
        coefficients: Tensor,
        noise: Sequence[Tensor],
    ) -> tuple[Tensor, Any]:
        """As :meth:`forward`, with parameters and buffers by name, and noise in the order of the draws."""
        supply = iter(noise)
        with noise_from(lambda _distribution, _shape, _like: next(supply)):
            found: tuple[Tensor, Any] = functional_call(self, dict(numbers), (x, condition, coefficients))
            return found

    def draws(self, x: Tensor, condition: Tensor | None, coefficients: Tensor) -> list[Draw]:
        """Compute the loss of a batch, and write down the noise that it asks for."""
        found: list[Draw] = []

        def note(distribution: Distribution, shape: tuple[int, ...], like: Tensor) -> Tensor:
            found.append(Draw(distribution, tuple(shape), like.dtype, like.device))
            return from_generator(distribution, shape, like)

        devices = [coefficients.device] if coefficients.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), noise_from(note), torch.no_grad():
            self(x, condition, coefficients)
        return found

    def untrained(self, trained: set[nn.Parameter]) -> dict[str, Tensor]:
        """Parameters that are not trained, and buffers, by name."""
        kept = {name: p.detach() for name, p in self.named_parameters() if p not in trained}
        return kept | dict(self.named_buffers())
