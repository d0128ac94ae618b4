"""Totals of loss, distortion, rate and gradient norm over the steps of an epoch, kept on the device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from elboroom.distributed.processes import Workers
from elboroom.training.devices import works_apart

_NAMES = ("examples", "loss", "distortion", "rate", "grad_norms", "grad_norm")


class Sums(NamedTuple):
    """Of one batch: the loss per example, and sums of distortion and rate over the batch, in nats."""

    loss: Tensor
    distortion: Tensor
    rate: Tensor


class First(NamedTuple):
    """Distortion and rate in the first step, before any update; nats per example."""

    distortion: float
    rate: float


class Totals:
    """Adds up the sums of batches without waiting for the device.

    Parameters
    ----------
    workers : Workers
        The processes whose totals are summed, and the device.
    static : bool, optional
        Never read the device in :meth:`add`. By default this depends on the device.
    """

    def __init__(self, workers: Workers, *, static: bool | None = None):
        self._workers = workers
        device = workers.device
        self._static = works_apart(device) if static is None else static
        # A static buffer, as a captured step needs one.
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.values = torch.zeros(len(_NAMES), device=device, dtype=dtype)
        # The same numbers, which the host adds to without calling torch.
        self._on_host = None if self._static else self.values.numpy()

    def add(
        self, sums: Sums | tuple[float, ...], examples: int, norm: Tensor | None, bad: Tensor | bool
    ) -> None:
        """Include a batch of so many examples, unless its step is bad; ``norm`` is its gradient's.

        The sums may be numbers that the host has read already.
        """
        if not examples:
            return
        if self._on_host is not None:
            if not bad:
                loss, distortion, rate = map(float, sums)
                norms = [0, 0.0] if norm is None else [1, norm.item()]
                self._on_host += [examples, loss * examples, distortion, rate, *norms]
            return
        assert isinstance(sums, Sums)
        one = torch.ones_like(sums.loss)
        norms_there = [0 * one, 0 * one] if norm is None else [one, norm]
        there = torch.stack([examples * one, sums.loss * examples, sums.distortion, sums.rate, *norms_there])
        self.values += torch.where(bad, 0.0, there)  # type: ignore[arg-type]

    def read(self, *, everywhere: bool = True) -> dict[str, float]:
        """Number of examples and the totals by name. The host waits for the device here.

        With ``everywhere`` they are summed over all processes, all of which must call this.
        """
        values = self.summed() if everywhere else self.values
        return dict(zip(_NAMES, values.tolist(), strict=True))

    def first(self) -> First | None:
        """Means of distortion and rate, if a step was counted. The host waits for the device here."""
        sums = self.read()
        if not sums["examples"]:
            return None
        return First(sums["distortion"] / sums["examples"], sums["rate"] / sums["examples"])

    def means(self, *, everywhere: bool = True) -> dict[str, float | None]:
        """Means per example, and that of the gradient norms, None where none was measured."""
        sums = self.read(everywhere=everywhere)
        examples = max(sums["examples"], 1.0)
        return {
            **{name: sums[name] / examples for name in ("loss", "distortion", "rate")},
            "grad_norm": sums["grad_norm"] / sums["grad_norms"] if sums["grad_norms"] else None,
        }

    def summed(self) -> Tensor:
        """Totals over all processes, all of which must call this."""
        return self._workers.sum_(self.values.clone())

    def reset(self) -> None:
        """Start again from zero."""
        self.values.zero_()

    def load(self, values: Tensor) -> None:
        """Restore what :meth:`summed` returned; the first process continues with the totals of all."""
        self.values.copy_(values)
        if not self._workers.is_first:
            self.values.zero_()
