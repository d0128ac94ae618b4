"""Additional means in the history: rates of layers, codebook perplexities, penalties, critics' losses."""

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
    """Return a batch's columns: the meters of its terms, ``penalty_NAME``, and ``loss_NAME`` of opponents.

    Penalties and losses are means over the batch, and are weighted by its number of ``examples``.
    """
    found = terms.meters
    found |= {f"penalty_{name}": Meter(value * examples) for name, value in penalties.items()}
    return found | {f"loss_{name}": Meter(value * examples) for name, value in own_losses.items()}


class Meters:
    """Totals of the columns of each batch, added up on the device.

    The first batch decides which columns there are. From then on they are one static buffer, as a captured
    step needs. Without columns nothing is done.

    Parameters
    ----------
    workers : Workers
        The processes whose totals are summed, and their device.

    Attributes
    ----------
    held : dict of str to Meter
        Columns that :meth:`hold` keeps for :meth:`add`.

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
        self.held: dict[str, Meter] = {}
        self._loaded: Mapping[str, Any] = {}

    def begin(self) -> None:
        """Begin a batch: forget what was kept of one that was not added."""
        self.held = {}

    def hold(self, found: Mapping[str, Meter]) -> None:
        """Keep the columns of a batch, or of a piece of it, until :meth:`add` decides whether they count."""
        for name, meter in found.items():
            total = meter.total.detach()
            if name in self.held:
                total = self.held[name].total + total
            self.held[name] = Meter(total, meter.read)

    def add(self, examples: int, bad: Tensor | bool = False) -> None:
        """Add what :meth:`hold` has kept, unless there are no examples or the step is bad."""
        held, self.held = self.held, {}
        if not held:
            return
        if not self._known:
            self._lay_out(held)
        if not examples or bad is True:
            return
        # The examples make all of them float64.
        totals = [meter.total.flatten() for meter in held.values()]
        batch = torch.cat([self._sums.new_full((1,), examples), *totals])
        self._sums += batch if bad is False else torch.where(bad, 0.0, batch)

    def means(self, *, everywhere: bool = True) -> dict[str, float]:
        """Return the means by column. The host waits for the device here.

        With ``everywhere`` they are over all processes, all of which must call this.
        """
        if not self._known:
            return {}
        examples, totals = self._split(self._summed() if everywhere else self._sums)
        counted = examples.clamp(min=1)
        return {name: self._known[name][1](total, counted).item() for name, total in totals.items()}

    def reset(self) -> None:
        """Start again from zero."""
        self._sums.zero_()
        self._loaded = {}

    def state_dict(self) -> dict[str, Any]:
        """Return totals over all processes, all of which must call this."""
        if not self._known:
            return dict(self._loaded)
        examples, totals = self._split(self._summed())
        return {"examples": examples, "totals": totals}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._loaded = (
            state if self._workers.is_first else {}
        )  # the first process continues with the totals of all
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
