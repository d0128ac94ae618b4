"""The step as a graph: recorded once for each size of batch, then replayed without Python.

A small net's step consists of a hundred kernels of two microseconds each, and Python takes ten times as long
to start them. A replay starts all of them in one call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from elboroom.data.batches import Rows, Streamed
from elboroom.distributed.processes import Part
from elboroom.errors import reason_of
from elboroom.training.step.graphs import Graph, Recorder
from elboroom.training.step.interventions import acts_everywhere, has_gradient_hooks, is_modified, watch
from elboroom.training.step.stages import Step

if TYPE_CHECKING:
    from elboroom.training.step.engine import Engine

# Steps before the first recording: libraries choose their kernels, the optimiser makes its state, parts that
# start from the first batch do so.
WARM_UP = 3
# Sizes of batches that are recorded; steps of further ones are taken as they are.
_MOST_GRAPHS = 8


class _Recorded(NamedTuple):
    """A step, the batch that it reads, and its stages: graphs, and what is called between them."""

    step: Step
    rows: Rows
    stages: list[Callable[[], None]]


class Capture:
    """Takes the steps of an engine by replaying a graph, where that computes the same.

    The first steps, and the first of each further size of batch, are taken as they are. Where the step cannot
    be recorded, all are; the engine's ``report`` is then called once with the reason.

    Parameters
    ----------
    engine : Engine
        Its step is static.
    new_graph : callable
        Makes an empty graph.

    Attributes
    ----------
    reason : str or None
        Why steps are taken without a graph at present; None if they are not.
    seconds : float
        What recording has cost so far.
    """

    def __init__(self, engine: Engine, new_graph: Callable[[], Graph]):
        self._engine = engine
        self._recorder = Recorder(engine.device, new_graph)
        self._recorded: dict[Hashable, _Recorded] = {}
        self._seen: dict[Hashable, int] = {}
        self._failure: str | None = None
        self.reason: str | None = None
        self._reported: set[str] = set()
        self.seconds = 0.0
        self._models = (engine.vae, engine.objective)
        self._structure: list[Any] = []  # as it was when a graph was recorded
        self._look()

    @classmethod
    def of(cls, engine: Engine, wish: str, new_graph: Callable[[], Graph] | None = None) -> Capture | None:
        """Make one where a graph is wished for, "auto" or "off", and the device knows graphs."""
        if new_graph is None and engine.device.type == "cuda":
            new_graph = torch.cuda.CUDAGraph
        return None if new_graph is None or wish == "off" else cls(engine, new_graph)

    @property
    def graphs(self) -> int:
        """Number of graphs that are in use."""
        return len(self._recorded)

    def take(self, rows: Rows, part: Part, notes: tuple[float, ...]) -> None:
        """Take a step: replay its graph, or record it first, or take it as it is."""
        if self.reason is None and self._watch.is_disturbed():
            self.forget()
        key = (_layout(rows), part, len(notes))
        found = self._recorded.get(key)
        if found is not None:
            _fill(found.rows, rows)
            found.step.notes = notes
            for run in found.stages:
                run()
            return
        if self.reason is None and self._is_warm(key):
            self._record(key, rows, part, notes)
            self._report()
            return
        self._seen[key] = self._seen.get(key, 0) + 1
        before = self._structure_now() if self.reason is None and self._is_warm(key) else None
        with self._recorder.aside():
            self._engine.take(rows, part, notes)
        if before is not None and before != self._structure_now():
            self._fail("a step changes an attribute of the model, which a replay would not do")
        self._report()

    def _report(self) -> None:
        if self.reason is not None and self.reason not in self._reported:
            self._reported.add(self.reason)
            self._engine.report(f"steps are taken without a CUDA graph: {self.reason}")

    def look_again(self) -> None:
        """Forget all graphs if something has changed that they do not read from the device."""
        changed = bool(self._recorded) and self._structure != self._structure_now()
        if changed or self.reason is not None:
            self.forget()

    def forget(self) -> None:
        """Record anew, after steps that are taken as they are."""
        self._recorded.clear()
        self._seen.clear()
        self._look()

    def _look(self) -> None:
        self._watch = watch(*self._models)
        self.reason = self._failure or self._obstacle()

    def _obstacle(self) -> str | None:
        """Why a step cannot be replayed, as far as that can be known without recording it."""
        engine = self._engine
        for update in engine.updates:
            if not update.is_recordable:
                name = type(update.optimizer).__name__
                return f"{name} in this form reads the host; Adam, AdamW and SGD in their fused form do not"
        if any(map(_is_acted_on, self._models)) or acts_everywhere():
            return "hooks or replaced methods act on the model, which a replay would not call"
        return None

    def _is_warm(self, key: Hashable) -> bool:
        wanted = 1 if self._recorded else WARM_UP
        return self._seen.get(key, 0) >= wanted and len(self._recorded) < _MOST_GRAPHS

    def _record(self, key: Hashable, rows: Rows, part: Part, notes: tuple[float, ...]) -> None:
        """Take a step and record what this process computes by itself, between sums over all processes."""
        began, own = time.perf_counter(), _copy(rows)
        step, stages = Step(self._engine, own, part, notes), []
        self._structure = self._structure_now()
        for stage in step.stages():
            run = self._recorded_stage(stage.run) if stage.apart and self.reason is None else None
            if run is not None:
                run()
            else:
                with self._recorder.aside():
                    stage.run()
            stages.append(run or stage.run)
        if self.reason is None:
            self._recorded[key] = _Recorded(step, own, stages)
        self.seconds += time.perf_counter() - began

    def _recorded_stage(self, run: Callable[[], None]) -> Callable[[], None] | None:
        """Record a stage and return what replays it; None if that fails."""
        try:
            with self._engine.workers.silent():
                return self._recorder.record(run).replay
        except Exception as error:  # whatever CUDA or the model does not allow
            self._fail(reason_of(error).split(". ")[0])
            return None

    def _fail(self, reason: str) -> None:
        self._recorded.clear()
        self._failure = self.reason = reason

    def _structure_now(self) -> list[Any]:
        """All that a recording takes from the host: settings, and which tensors there are."""
        found: list[Any] = []
        for model in self._models:
            found += [(id(m), type(m), *_plain(m.__dict__)) for m in model.modules()]
            found += [(id(t), t.data_ptr()) for t in (*model.parameters(), *model.buffers())]
        for update in self._engine.updates:
            settings = update.optimizer.param_groups[0].items()
            found.append({name: value for name, value in settings if name not in ("params", "lr")})
        return found


def _plain(attributes: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    """Attributes of a module that are numbers and the like, and the identities of others."""
    for name, value in attributes.items():
        if isinstance(value, (bool, int, float, str, tuple, type(None))):
            yield name, value
        elif not name.startswith("_"):
            yield name, id(value)


def _is_acted_on(model: nn.Module) -> bool:
    return any(map(is_modified, model.modules())) or any(map(has_gradient_hooks, model.parameters()))


def _layout(rows: Rows) -> Hashable:
    if isinstance(rows, Streamed):
        return _layout(rows.x), _layout(rows.rows)
    return rows.shape, rows.dtype


def _copy(rows: Rows) -> Rows:
    if isinstance(rows, Streamed):
        return Streamed(rows.x.clone(), rows.rows.clone())
    return rows.clone()


def _fill(own: Rows, rows: Rows) -> None:
    if isinstance(own, Streamed):
        assert isinstance(rows, Streamed)
        own.x.copy_(rows.x)
        own.rows.copy_(rows.rows)
    else:
        assert isinstance(rows, Tensor)
        own.copy_(rows)
