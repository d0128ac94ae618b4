"""An engine whose steps wait until they can be taken together with those of other engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from elboroom.data.batches import Rows
from elboroom.distributed.noise import noise_from
from elboroom.distributed.processes import Part
from elboroom.probability import Meter
from elboroom.training.step.engine import Engine, Means
from elboroom.training.step.interventions import Watch, watch
from elboroom.training.step.totals import Sums
from elboroom.training.step.tracing import Draw
from elboroom.training.step.update import GRADIENT_NORM_EVERY


class Pending(NamedTuple):
    """A step that was asked for and not taken yet: its number, the rows of its batch, and its noise."""

    number: int
    rows: Tensor
    noise: list[Tensor]


class Member(Engine):
    """An engine that queues its steps once it has joined a group.

    The loop around it sees no difference: before anything reads what the steps change, :meth:`synchronize`
    has them taken. The noise of a step is drawn when the step is queued, as if it were taken then.

    Attributes
    ----------
    queue : list of Pending
        Steps that were asked for.
    """

    def __init__(self, *args: Any, **options: Any):
        self.queue: list[Pending] = []
        self._draws: Callable[[int], list[Draw]] | None = None
        self._wait: Callable[[], None] = lambda: None
        self._watch: Watch | None = None
        super().__init__(*args, **options)
        self.compiled.mode = "off"  # that of the group is compiled

    def join(self, draws: Callable[[int], list[Draw]], wait: Callable[[], None]) -> None:
        """Queue steps from now on.

        Parameters
        ----------
        draws : callable
            Batch size → the noise that a step needs.
        wait : callable
            Returns when some queued steps may have been taken.
        """
        self._draws, self._wait = draws, wait
        self.capture = None  # a step's noise comes from the queue
        self._watch = watch(self.vae, self.objective)

    @property
    def is_as_joined(self) -> bool:
        """Whether nothing has begun to act on the model from outside: no hook, nothing frozen or freed."""
        return self._watch is not None and not self._watch.is_disturbed()

    def step(self, rows: Rows, part: Part | None = None, notes: tuple[float, ...] = ()) -> None:
        """Queue a step; outside a group, take it immediately."""
        if self._draws is None:
            super().step(rows, part, notes)
            return
        assert isinstance(rows, Tensor)
        noise = [draw.take() for draw in self._draws(len(rows))]
        self.queue.append(Pending(self.steps, rows, noise))
        self.steps += 1

    def step_alone(self, pending: Pending) -> None:
        """Take a queued step alone."""
        supply = iter(pending.noise)
        later, self.steps = self.steps, pending.number
        with noise_from(lambda _distribution, _shape, _like: next(supply)):
            super().step(pending.rows)
        self.steps = later

    def take_note(
        self,
        number: int,
        examples: int,
        sums: Sums,
        norm: Tensor,
        meters: Mapping[str, Meter],
        *,
        good: bool,
    ) -> None:
        """Count a step that was taken with others', as the engine's own step counts itself."""
        self._set_coefficients(number)  # validation weighs with those of the last step
        self.skipped.note(not good, number)
        measured = self.update.clip is not None or not number % GRADIENT_NORM_EVERY
        self.totals.add(sums, examples, norm if measured else None, not good)
        self.meters.begin()
        self.meters.hold(meters)
        self.meters.add(examples, not good)
        if number == 0:
            self.first = self.totals.first()

    def gradient_of(self, pending: Pending) -> Tensor:
        """Gradients (P,) of a batch, found without the others; nothing is changed."""
        supply = iter(pending.noise)
        self._set_coefficients(pending.number)
        self.update.begin()
        with noise_from(lambda _distribution, _shape, _like: next(supply)):
            self.backward(pending.rows, Part(0, len(pending.rows), len(pending.rows), 1.0))
        self.update.collect()
        return self.update.flat.gradients[0].float().clone()

    def synchronize(self) -> None:
        """Have all queued steps taken."""
        while self.queue:
            self._wait()

    def means(self, *, everywhere: bool = True) -> Means:
        """Means since :meth:`reset_meters`, queued steps included."""
        self.synchronize()
        return super().means(everywhere=everywhere)

    def largest_norm(self) -> float:
        """Largest norm of a tensor of weights, after all queued steps."""
        self.synchronize()
        return super().largest_norm()

    def settle(self) -> None:
        """Have all queued steps taken."""
        self.synchronize()
        super().settle()

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, after all queued steps."""
        self.synchronize()
        return super().state_dict()
