"""Means that a run's history holds beside loss, distortion and rate: of layers, codebooks, penalties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from elboroom.distributed.processes import Workers
from elboroom.models.terms import Terms
from elboroom.probability import Meter


def columns(
    terms: Terms, penalties: Mapping[str, Tensor], own_losses: Mapping[str, Tensor], examples: int
) -> dict[str, Meter]:
    """What a batch adds to the history: its terms' meters, ``penalty_NAME``, an opponent's ``loss_NAME``.

    A penalty and a loss are means over the batch, and so weigh as many ``examples`` as it has.
    """
    found = terms.meters
    found |= {f"penalty_{name}": Meter(value * examples) for name, value in penalties.items()}
    return found | {f"loss_{name}": Meter(value * examples) for name, value in own_losses.items()}


class Meters:
    """Totals of what each batch offers, added up on the device.

    What there is to add up is known from the first batch on; from then on it is one static buffer, so that
    the step may be captured. Without anything to add up nothing is done.

    Parameters
    ----------
    workers : Workers
        The processes whose totals are summed, and the device.

    Examples
    --------
    >>> meters = Meters(Workers(torch.device("cpu")))
    >>> for nats in (3.0, 9.0):
    ...     meters.hold({"rate_1": Meter(torch.tensor(nats))})
    ...     meters.add(examples=2)
    >>> meters.means()
    {'rate_1': 3.0}
    """

    def __init__(self, workers: Workers):
        self._workers = workers
        device = workers.device
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self._sums = torch.zeros(0, device=device, dtype=dtype)  # examples, then all totals side by side
        self._known: dict[str, tuple[torch.Size, Callable[[Tensor, Tensor], Tensor]]] = {}
        self._held: Mapping[str, Meter] = {}
        self._loaded: Mapping[str, Any] = {}

    def hold(self, found: Mapping[str, Meter]) -> None:
        """Keep a batch's until :meth:`add` says whether it counts."""
        self._held = {name: Meter(meter.total.detach(), meter.read) for name, meter in found.items()}

    def add(self, examples: int, bad: Tensor | bool = False) -> None:
        """Take in what is held, of so many examples; of none, or from a bad step, it is left out."""
        held, self._held = self._held, {}
        if not held:
            return
        if not self._known:
            self._lay_out(held)
        if not examples or bad is True:
            return
        totals = [meter.total.flatten().to(self._sums) for meter in held.values()]
        batch = torch.cat([torch.full_like(self._sums[:1], examples), *totals])
        self._sums += batch if bad is False else torch.where(bad, 0.0, batch)

    def means(self, *, everywhere: bool = True) -> dict[str, float]:
        """Columns of the history; here the host waits for the device.

        With ``everywhere`` all processes must ask, and get those of all of them.
        """
        if not self._known:
            return {}
        examples, totals = self._split(self._summed() if everywhere else self._sums)
        counted = examples.clamp(min=1)
        return {name: self._known[name][1](total, counted).item() for name, total in totals.items()}

    def reset(self) -> None:
        """Start anew."""
        self._sums.zero_()
        self._loaded = {}

    def state_dict(self) -> dict[str, Any]:
        """Totals over all processes, which must all ask."""
        if not self._known:
            return dict(self._loaded)
        examples, totals = self._split(self._summed())
        return {"examples": examples, "totals": totals}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what :meth:`state_dict` gave."""
        self._loaded = state if self._workers.is_first else {}  # the first has what all had
        if self._known:
            self._restore()

    def _lay_out(self, found: Mapping[str, Meter]) -> None:
        self._known = {name: (meter.total.shape, meter.read) for name, meter in found.items()}
        self._sums = self._sums.new_zeros(1 + sum(meter.total.numel() for meter in found.values()))
        self._restore()

    def _restore(self) -> None:
        self._sums.zero_()
        if self._loaded:
            examples, totals = self._split(self._sums)
            examples.copy_(self._loaded["examples"])
            for name, total in totals.items():
                total.copy_(self._loaded["totals"][name])
        self._loaded = {}

    def _summed(self) -> Tensor:
        return self._workers.sum_(self._sums.clone())

    def _split(self, sums: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Views of the examples, (), and of each total."""
        shapes = [shape for shape, _ in self._known.values()]
        parts = sums[1:].split([shape.numel() for shape in shapes])  # type: ignore[no-untyped-call]
        totals = (part.view(shape) for part, shape in zip(parts, shapes, strict=True))
        return sums[0], dict(zip(self._known, totals, strict=True))
