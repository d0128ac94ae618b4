"""One step in stages: what a process computes by itself, and what all processes exchange in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from elboroom.data.batches import Rows
from elboroom.distributed.processes import Part
from elboroom.probability import Meter
from elboroom.training.step.accumulate import add_up
from elboroom.training.step.nonfinite import judge
from elboroom.training.step.totals import Sums

if TYPE_CHECKING:
    from elboroom.training.step.engine import Engine


class Stage(NamedTuple):
    """A part of a step, and whether this process computes it by itself, so that it can be recorded.

    Such a part can be repeated as long as none of its results has been used.
    """

    run: Callable[[], None]
    apart: bool


class Step:
    """The stages of a step of an engine, which are run in their order.

    Parameters
    ----------
    engine : Engine
        Its model is updated.
    rows, part
        The batch, or the part of it that this process computes.
    notes : tuple of float
        Numbers that are summed over all processes along with the gradients. A stage that is recorded does not
        read them.
    """

    def __init__(self, engine: Engine, rows: Rows, part: Part, notes: tuple[float, ...]):
        self._engine, self._rows, self._part, self.notes = engine, rows, part, notes
        # Results of one stage for the next. Where stages are recorded, these tensors stay where they are.
        self._sums: Sums | None = None
        self._loss: Tensor | None = None  # of the whole batch
        self._columns: dict[str, Meter] = {}
        self._measured: Sums | tuple[float, ...] = ()
        self._norm: Tensor | None = None
        self._bad: Tensor | bool = False

    def stages(self) -> list[Stage]:
        """One without other processes; else up to five, the second and the fourth with all of them."""
        if self._engine.workers.alone:
            return [Stage(self._all, True)]
        first = [Stage(self._differentiate, True), Stage(self._sum, False)]
        if not any(update.is_sharded for update in self._engine.updates):
            return [*first, Stage(self._rest, True)]
        return [*first, Stage(self._update, True), Stage(self._gather, False), Stage(self._count, True)]

    def _all(self) -> None:
        self._differentiate()
        self._rest()

    def _rest(self) -> None:
        self._update()
        self._count()

    def _differentiate(self) -> None:
        """Bring the gradients of the batch, or of this part of it, into the flat buffers."""
        engine, rows = self._engine, self._rows
        engine.paths.prepare(engine.steps)
        engine.kept.keep()
        for update in engine.moving:
            update.begin()
        engine.meters.begin()
        if len(rows) > engine.largest:
            sums = add_up(engine.backward, rows, self._part, engine.largest)
        else:
            sums = engine.backward(rows, self._part)
        for update in engine.moving:
            update.collect()
        self._sums, self._loss, self._columns = sums, sums.loss, engine.meters.held

    @torch.no_grad()
    def _sum(self) -> None:
        """Sum gradients, loss and notes over all processes."""
        engine, loss = self._engine, self._loss
        assert loss is not None
        numbers = [loss * self._part.weight, *(torch.full_like(loss, note) for note in self.notes)]
        summed = engine.update.sum_over_processes(numbers)
        for update in engine.moving[1:]:
            update.sum_over_processes()
        self._loss, engine.summed_notes = summed[0], summed[1:]

    @torch.no_grad()
    def _update(self) -> None:
        """Move the weights, unless the loss or a gradient is not finite."""
        engine, sums, loss = self._engine, self._sums, self._loss
        assert sums is not None
        assert loss is not None
        gradients = [total for update in engine.moving for total in update.totals()]
        self._measured, self._bad = judge(sums, [loss, *gradients], static=engine.static)
        self._norm = engine.update.norm_of(engine.steps)
        for update in engine.moving:
            update.apply(self._bad)

    def _gather(self) -> None:
        """Give all processes the weights that each of them has moved."""
        for update in self._engine.moving:
            update.gather()

    @torch.no_grad()
    def _count(self) -> None:
        """Add up what the step has measured."""
        engine, counted, bad = self._engine, self._part.counted, self._bad
        engine.skipped.note(bad, engine.steps)
        engine.average.update(bad)
        engine.kept.restore_if(bad)
        engine.totals.add(self._measured, counted, self._norm, bad)
        engine.meters.held = self._columns  # also if a recording that failed has added them
        engine.meters.add(counted, bad)
