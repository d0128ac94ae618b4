"""Train several models of one composition at once."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from elboroom.data.centre import stored_of
from elboroom.errors import reason_of
from elboroom.networks.recompute import recomputes
from elboroom.training.callbacks import Callback
from elboroom.training.loop import Training
from elboroom.training.order import epoch_order
from elboroom.training.signals import Stopped, StopRequest, stop_on_signal
from elboroom.training.step.interventions import hooks_of
from elboroom.training.step.optimizers import is_plain_adam
from elboroom.training.together.group import Group
from elboroom.training.together.member import Member
from elboroom.training.together.turns import Turn

History = list[dict[str, Any]]

# On a CPU, wider networks keep all cores busy by themselves: as traced, and compiled (benchmarks/seeds.py).
_MOST_WEIGHTS, _MOST_COMPILED = 50_000, 250_000
# Steps that repay tracing a batch size (two seconds), and compiling it (twenty).
_TRACED_FROM, _COMPILED_FROM = 1_000, 20_000
# Largest difference between batched and single gradients that rounding explains.
_TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2}
# Fields in which the trainings of a group may differ: they reach the step as numbers.
_FREE = {"training": {"seed"}, "objective": {"beta"}, "optimizer": {"lr"}}


def misfit(trainings: Sequence[Training]) -> str | None:
    """Say why some trainings cannot take their steps together; None if nothing speaks against it.

    They need engines of type :class:`~elboroom.training.together.member.Member`.
    """
    first = trainings[0]
    engines = [training.engine for training in trainings]
    if len(trainings) < 2:
        return "there is only one"
    if any(_composition(one) != _composition(first) for one in trainings):
        return "they differ in more than seed, beta and learning rate"
    if any(stored_of(one.data.x) is not stored_of(first.data.x) for one in trainings):
        return "they do not share their data"
    if any(engine.steps != engines[0].steps for engine in engines):
        return "they have not taken equally many steps"
    for engine in engines:
        reason = _misfit_of(engine)
        if reason is not None:
            return reason
    weights, most = (
        len(engines[0].update.flat.values[0]),
        _MOST_COMPILED if _compiles(first) else _MOST_WEIGHTS,
    )
    if first.engine.device.type == "cpu" and weights > most:
        return f"networks of {weights:,} weights keep a CPU busy by themselves; up to {most:,} are batched"
    return None


def _composition(training: Training) -> dict[str, Any]:
    config = training.config.model_dump()
    return {
        name: {key: value for key, value in section.items() if key not in _FREE.get(name, ())}
        for name, section in config.items()
    }


def _misfit_of(engine: Any) -> str | None:
    if not isinstance(engine, Member) or not engine.workers.alone:
        return "they are distributed over several processes"
    if len(engine.updates) > 1:
        return "a part is trained against the model"
    if hooks_of(engine.vae, engine.objective) or not engine.update.is_whole:
        return "hooks act on the model, or a part of it is frozen"
    if engine.divides_batches:
        return "their batches are divided (accumulate)"
    if recomputes(engine.vae):
        return "activations are recomputed (checkpoint_activations)"
    if engine.moves_buffers:
        return "the model has statistics that each batch changes, such as a codebook"
    if engine.average.weights is not None:
        return "a running average of the weights is kept"
    if not is_plain_adam(engine.update.optimizer) or len(engine.update.flat.values) > 1:
        return "only Adam and AdamW over float32 weights are batched"
    if not engine.batches.resident:
        return "the data are read from the disk"
    return None


def group_of(trainings: Sequence[Training], say: Callable[[str], None]) -> Group | str:
    """Make a group that takes the trainings' steps together, or say why there can be none.

    Its batched gradients were compared with those that each model finds alone.
    """
    reason = misfit(trainings)
    if reason is not None:
        return reason
    members = _members_of(trainings)
    for member in members[1:]:
        member.batches = members[0].batches  # one copy of the data
    for training in trainings:
        training.start()
    if too_short(trainings[0]):
        return f"fewer than {_TRACED_FROM:,} steps do not repay tracing the step"
    with members[0].same_noise(0):  # what tracing and the comparison draw is nobody's noise
        return _traced_group(trainings[0], members, say)


def _traced_group(training: Training, members: Sequence[Member], say: Callable[[str], None]) -> Group | str:
    """Trace the step and compare its gradients; the training stands for all of them."""
    sizes = _sizes(training)
    try:
        group = Group(members, list(sizes))
    except Exception as error:  # torch says in many ways what it cannot batch
        return f"their step cannot be batched ({reason_of(error)})"
    off, allowed = group.check(max(sizes)), _TOLERANCE[members[0].precision]
    if not off <= allowed:
        return f"batched gradients differ from single ones by {off:.1e} of their norm, more than {allowed:g}"
    if _compiles(training):
        say(f"compiling the step of {len(members)} runs; this takes some 20 seconds")
        failed = group.compile(max(sizes, key=lambda size: sizes[size]))
        if failed is not None:
            say(f"compiling failed ({failed}); the step runs as it is")
    return group


def too_short(training: Training) -> bool:
    """Whether a training has too few steps for tracing its step to pay."""
    return not _sizes(training)


def _compiles(training: Training) -> bool:
    """Whether compiling the step pays, and there is a compiler."""
    steps = max(_sizes(training).values(), default=0)
    return steps >= _COMPILED_FROM and (training.engine.device.type != "cpu" or bool(shutil.which("g++")))


def _sizes(training: Training) -> dict[int, int]:
    """Batch sizes that occur often enough to be traced, and in how many steps each does."""
    order = epoch_order(training.train_indices, training.config.training, training.epochs_done)
    epochs = training.config.training.epochs - training.epochs_done
    found = Counter(len(rows) for rows in order)
    return {size: n * epochs for size, n in found.items() if n * epochs >= _TRACED_FROM}


def train_together(
    trainings: Sequence[Training],
    group: Group,
    on_epochs: Sequence[Callback | None],
) -> list[History | Exception]:
    """Train up to the configured epochs, the steps of all trainings taken as one.

    Each training keeps its own order, noise, schedules, checkpoints and history, and ends with the weights
    that it would have alone, up to rounding.

    Parameters
    ----------
    trainings : sequence of Training
        Not begun, or all resumed from the same epoch.
    group : Group
        Of :func:`group_of`.
    on_epochs : sequence of callable or None
        For each training, what is called after each epoch.

    Returns
    -------
    list of (list of dict) or Exception
        The history of each training, or what ended it.

    Raises
    ------
    Stopped
        On Ctrl-C or SIGTERM, after every training has saved what it needs to be resumed.
    """
    with stop_on_signal() as request:
        turns = [
            _turn(training, group, on_epoch, request)
            for training, on_epoch in zip(trainings, on_epochs, strict=True)
        ]
        try:
            _take_turns(turns, _members_of(trainings), group)
        finally:
            for turn in turns:
                turn.end()
    for turn in turns:
        if isinstance(turn.error, Stopped):
            raise turn.error
        if isinstance(turn.error, BaseException) and not isinstance(turn.error, Exception):
            raise turn.error
    return [turn.error if isinstance(turn.error, Exception) else turn.result for turn in turns]


def _turn(training: Training, group: Group, on_epoch: Callback | None, request: StopRequest) -> Turn:
    (member,) = _members_of([training])
    turn = Turn(lambda: training.run(on_epoch, request), member.device)
    member.join(group.draws, turn.give_way)
    return turn


def _members_of(trainings: Sequence[Training]) -> list[Member]:
    return [training.engine for training in trainings if isinstance(training.engine, Member)]


def _take_turns(turns: Sequence[Turn], members: Sequence[Member], group: Group) -> None:
    while not all(turn.done for turn in turns):
        for turn, member in zip(turns, members, strict=True):
            if not member.queue:
                turn.resume()
        waiting = [member for turn, member in zip(turns, members, strict=True) if not turn.done]
        if waiting:
            group.advance(waiting)
