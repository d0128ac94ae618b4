"""The step compiled by Inductor where that pays, and ordinary steps everywhere else."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch

from elboroom.config import TrainingConfig
from elboroom.data.batches import Rows
from elboroom.data.cache import cache_dir
from elboroom.distributed.processes import Part
from elboroom.errors import reason_of
from elboroom.training.progress import words
from elboroom.training.step.compilable import (
    composition,
    difference,
    foreign_part,
    misfit,
    random_operation,
)
from elboroom.training.step.interventions import Watch, watch
from elboroom.training.step.totals import Sums
from elboroom.training.step.tracing import LossOfBatch
from elboroom.training.step.update import GRADIENT_NORM_EVERY
from elboroom.training.step.whole import WholeStep

if TYPE_CHECKING:
    from elboroom.training.step.capture import Capture
    from elboroom.training.step.engine import Engine

Mode = Literal["auto", "on", "off"]
Backward = Callable[[Rows, Part], Sums]

# Steps after which "auto" decides, and compiled steps after which it decides again.
_TIMED = 50
_TRIED = 20
# Share of the time of the steps to come that compiling saves at least, where it pays (docs/performance.md).
_SAVED = 0.1
# Seconds that compiling takes: in any case, and for each operation of the step.
_SECONDS, _SECONDS_EACH = 4.0, 0.03
# What is to be saved, as a multiple of what compiling takes.
_WORTH = 2.0


def inductor(whole: WholeStep) -> Callable[..., Any]:
    """Compile a step with Inductor; the work is done at the first call."""
    # Its default folder is shared with others; what is read from it is run.
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_dir() / "compiled"))
    # The inputs are always the same tensors, or others like them; guards would look at each of them.
    options: dict[str, Any] = {
        "guard_filter_fn": lambda entries: [False] * len(entries),
        "cpp.threads": torch.get_num_threads(),
    }
    return torch.compile(whole.graph, fullgraph=True, dynamic=False, options=options)


class Compiled:
    """Takes steps by a compiled function, once it is decided that this pays.

    Parameters
    ----------
    engine : Engine
        The engine whose steps are taken.
    backward : callable
        Adds the gradients of rows, which are a part of a batch, and returns their sums: an ordinary step.
    config : TrainingConfig
        Has the size of a usual batch; others take ordinary steps. ``compile="auto"`` compiles where the
        time that is saved clearly exceeds that of compiling, or where a resumed run had done so.

    Attributes
    ----------
    mode : {"auto", "on", "off"}
        What is wanted.
    total : int
        Steps of the whole training, which decides what pays.
    decision : (bool, int) or None
        Whether steps are compiled, and the number of steps of the training for which this was decided; None
        while that is open.
    is_news : bool
        Whether the decision is newer than the last checkpoint, which should know it.
    """

    def __init__(self, engine: Engine, backward: Backward, config: TrainingConfig):
        self._engine, self._backward = engine, backward
        self.mode: Mode = config.compile
        if self.mode == "auto" and engine.device.type != "cpu":
            self.mode = "off"
        self._size = config.step_size
        self.is_news = False
        self.decision: tuple[bool, int] | None = None
        self.total = 0
        self._whole: WholeStep | None = None
        self._watch: Watch | None = None
        self._composition: dict[str, Any] = {}
        self._tried = self._stale = False
        self._ordinary: list[float] = []
        self._taken: list[float] = []

    def load(self, decision: Sequence[Any] | None) -> None:
        """Adopt the decision of a checkpoint, unless it has been made already."""
        if self.decision is None and decision is not None:
            self.decision = bool(decision[0]), int(decision[1])

    def take(self, rows: Rows, part: Part, notes: tuple[float, ...], ordinary: Engine | Capture) -> None:
        """Take a step, compiled or by the ``take`` of what takes ordinary steps."""
        usual = self.mode != "off" and part.total == self._size
        if usual and self._whole is None and self._is_due():
            self._compile(rows)
        started = time.perf_counter()
        if usual and self._whole is not None and not self._is_disturbed():
            self._step(self._whole, rows, part)
            self._judge(time.perf_counter() - started)
            return
        if self._stale:  # ordinary steps have copies of the weights
            self._engine.refresh()
            self._stale = False
        ordinary.take(rows, part, notes)
        if usual and self.decision is None and len(self._ordinary) < _TIMED:
            self._ordinary.append(time.perf_counter() - started)

    def follow(self) -> None:
        """Leave the compiled step if the model is not as it was when it was traced."""
        if self._whole is not None and self._composition != self._now():
            self._stop("the model was changed")

    def _step(self, whole: WholeStep, rows: Rows, part: Part) -> None:
        engine = self._engine
        result = whole(rows)
        bad = not math.isfinite(result.total)
        norm = (
            result.norm if engine.update.clip is not None or not engine.steps % GRADIENT_NORM_EVERY else None
        )
        with torch.no_grad():
            engine.skipped.note(bad, engine.steps)
            engine.average.update(bad)
            engine.totals.add(result.sums, part.counted, norm, bad)
            engine.meters.begin()
            engine.meters.hold(result.meters)
            engine.meters.add(part.counted, bad)
        self._stale = True

    def _is_due(self) -> bool:
        """Whether to compile now, as far as time decides."""
        if self.decision is not None and not self.decision[0] and self.decision[1] != self.total:
            self.decision = None  # it did not pay in a training of another length
        if not self._engine.steps:  # the first step shows which parameters have a gradient
            return False
        if self.mode == "on":
            return not self._tried
        if self.decision is not None:
            return self.decision[0]
        if len(self._ordinary) < _TIMED:
            return False
        due = self._saved() > _WORTH * _SECONDS
        if not due:
            self.decision = (False, self.total)
        return due

    def _saved(self) -> float:
        """Seconds that compiled steps would save at least."""
        if not self._ordinary:
            return math.inf
        return _SAVED * statistics.median(self._ordinary) * (self.total - self._engine.steps)

    def _compile(self, rows: Rows) -> None:
        """Trace, compile and check the step; if anything speaks against it, say so, and do without."""
        resumed, self.decision = self.decision is not None, (False, self.total)
        self._tried = self.is_news = True
        try:
            whole, seconds = self._made(rows, in_any_case=self.mode == "on" or resumed)
        except _UnfitError as error:
            self._engine.report(f"the step is not compiled: {error}")
            return
        self._whole = whole
        self.decision = (True, self.total)
        self._watch = watch(self._engine.vae, self._engine.objective)
        self._composition = self._now()
        self._taken = []
        self._engine.report(f"the step is compiled, which took {words(seconds)}")

    def _made(self, rows: Rows, *, in_any_case: bool) -> tuple[WholeStep, float]:
        """Return the compiled step, and the seconds that it took.

        Raises
        ------
        _UnfitError
            If it does not pay, cannot be compiled, or computes something else.
        """
        engine, started = self._engine, time.perf_counter()
        reason = misfit(engine)
        if reason is None and self.mode == "auto":
            reason = foreign_part(engine)
        if reason is not None:
            raise _UnfitError(reason)
        whole = self._traced(rows)
        seconds = _SECONDS + _SECONDS_EACH * len(whole.graph.graph.nodes)
        saved = self._saved()
        if not in_any_case and saved < _WORTH * seconds:
            raise _UnfitError(f"it would take about {words(seconds)}, and save {words(saved)}")
        self._engine.report(
            f"compiling the step, which takes about {words(seconds)}, and less if it was compiled before"
        )
        try:
            whole.run = inductor(whole)
            found = difference(engine, self._backward, whole, rows)
        except Exception as error:  # compilers fail in many ways
            raise _UnfitError(f"compiling failed ({reason_of(error)})") from error
        finally:
            engine.update.begin()
        if found is not None:
            raise _UnfitError(found)
        return whole, time.perf_counter() - started

    def _traced(self, rows: Rows) -> WholeStep:
        engine, before = self._engine, self._now()
        loss = LossOfBatch(engine.vae, engine.objective, engine.batches, engine.precision)
        try:
            whole = WholeStep(loss, engine.update, engine.paths.covered, rows, engine.coefficients)
        except Exception as error:  # torch says in many ways what it cannot trace
            raise _UnfitError(f"it cannot be traced ({reason_of(error)})") from error
        own = random_operation(whole.graph)
        if own is not None:
            raise _UnfitError(f"{own} draws random numbers of its own")
        changed = [name for name, value in self._now().items() if before.get(name) != value]
        if changed:
            raise _UnfitError(f"a forward pass changes {changed[0].partition('.')[2]}")
        return whole

    def _judge(self, seconds: float) -> None:
        """After some compiled steps, return to ordinary ones if they were not slower."""
        if self.mode != "auto" or not self._ordinary or len(self._taken) >= _TRIED:
            return
        self._taken.append(seconds)
        if len(self._taken) == _TRIED:
            now, before = (1e3 * statistics.median(each) for each in (self._taken, self._ordinary))
            if now > before:
                self._stop(f"it took {now:.3g} ms, and takes {before:.3g} ms otherwise")
            else:
                self._engine.report(f"a step took {before:.3g} ms, and takes {now:.3g} ms compiled")

    def _is_disturbed(self) -> bool:
        if self._watch is None or not self._watch.is_disturbed():
            return False
        self._stop("hooks, replaced methods or frozen parameters act on the model")
        return True

    def _stop(self, reason: str) -> None:
        self._whole = None
        self.decision = (False, self.total)
        self.is_news = True
        self._engine.report(f"the step is no longer compiled: {reason}")

    def _now(self) -> dict[str, Any]:
        return composition(self._engine.vae, self._engine.objective)


class _UnfitError(Exception):
    """Says why a step is not compiled."""
