"""The training step over a batch, and the state between steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elboroom.config import Config
from elboroom.data.batches import Batches, Rows
from elboroom.distributed.processes import Part, Workers
from elboroom.models.terms import Terms
from elboroom.models.vae import VAE
from elboroom.objectives import Objective
from elboroom.training.devices import find_precision, works_apart
from elboroom.training.step.average import WeightAverage
from elboroom.training.step.buffers import KeptBuffers
from elboroom.training.step.capture import Capture
from elboroom.training.step.compiled import Compiled
from elboroom.training.step.graphs import Graph
from elboroom.training.step.interventions import call_objective
from elboroom.training.step.meters import Meters, columns
from elboroom.training.step.nonfinite import Finding, SkippedSteps, find_first
from elboroom.training.step.paths import Paths
from elboroom.training.step.stages import Step
from elboroom.training.step.totals import First, Sums, Totals
from elboroom.training.step.trainable import Trainable
from elboroom.training.step.update import Update

# Means by name; None if nothing was measured.
Means = dict[str, float | None]


class Engine:
    """Model, objective, optimiser and data on one device, and the step that joins them.

    Parameters
    ----------
    vae, objective
        Model and objective; both may have parameters.
    batches : Batches
        Data on the same device.
    config : Config
        Configuration, of which the optimizer and training sections are used.
    device : torch.device
        Device of all of these.
    workers : Workers, optional
        The processes that train together, each with its own engine.
    report : callable, optional
        Told in one line what the user should know.
    new_graph : callable, optional
        Makes an empty graph that records the step. By default a CUDA graph on a CUDA device, none elsewhere.

    Attributes
    ----------
    static : bool
        Whether a step reads nothing from the device, and everything that changes between steps from buffers
        there, so that it can be recorded once and replayed.
    """

    def __init__(
        self,
        vae: VAE,
        objective: Objective,
        batches: Batches,
        config: Config,
        device: torch.device,
        workers: Workers | None = None,
        report: Callable[[str], None] | None = None,
        *,
        new_graph: Callable[[], Graph] | None = None,
    ):
        self.static = new_graph is not None or works_apart(device)
        self.report = report or (lambda _line: None)
        self.vae = vae.to(device)
        self.objective = objective.to(device)
        self.batches = batches
        batches.condition_on(vae.condition)
        self.device = device
        self.workers = workers or Workers(device)
        self.workers.spread([*vae.state_dict().values(), *objective.state_dict().values()])
        self.trainable = Trainable(self.vae, self.objective, config, self.workers, static=self.static)
        self.precision = find_precision(
            config.training.precision, device, self.vae, config.training.batch_size
        )
        parameters = self.trainable.parameters
        self.paths = Paths(self.vae, self.objective, self.update, self.precision, parameters)
        self.divides_batches = config.training.accumulate > 1
        self.largest = -(-config.training.batch_size // self.workers.size)
        self.steps = 0
        self.first: First | None = None
        self.average = WeightAverage(list(vae.parameters()), config.training.ema, static=self.static)
        # A static buffer, as a captured step needs one.
        self._values = [math.nan] * len(objective.schedules)
        self.coefficients = torch.zeros(len(self._values), device=device)
        self._beta = self.coefficients[0]
        self.totals = Totals(self.workers, static=self.static)
        self.meters = Meters(self.workers)
        self.summed_notes = torch.zeros(0, device=device)
        self.skipped = SkippedSteps(device, static=self.static)
        self.kept = KeptBuffers(vae)
        self.moves_buffers = bool(self.kept.buffers)
        self.capture = Capture.of(self, config.training.capture, new_graph)
        self.compiled = Compiled(self, self.backward, config.training)

    @property
    def updates(self) -> list[Update]:
        """One for the model with what trains along with it, one for each part that trains against it."""
        return self.trainable.updates

    @property
    def moving(self) -> list[Update]:
        """Those that act in a step: parts that train against the model may be asleep."""
        return self.updates[:1] if self.objective.asleep else self.updates

    @property
    def update(self) -> Update:
        """That of the model."""
        return self.updates[0]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """What the model's optimiser moves."""
        return self.update.parameters

    def step(self, rows: Rows, part: Part | None = None, notes: tuple[float, ...] = ()) -> None:
        """Update the weights without waiting for the device.

        Parameters
        ----------
        rows : Rows
            A batch of :meth:`Batches.stream`.
        part : Part, optional
            Which part of the whole batch this is, if other processes have the rest.
        notes : tuple of float
            Numbers that are summed over all processes along with the gradients, into :attr:`summed_notes`.
        """
        self._prepare()
        part = part or Part(0, len(rows), len(rows), 1.0)
        self.compiled.take(rows, part, notes, self.capture or self)
        self.steps += 1
        if self.steps == 1:
            self.first = self.totals.first()

    def _prepare(self) -> None:
        """Write down on the device what the next step depends on besides its batch."""
        self._set_coefficients(self.steps)
        self.average.prepare(self.steps)
        for update in self.updates:
            update.prepare()
        if self.objective.follow_step(self.steps) or self.paths.is_disturbed():
            self.follow_model()

    def take(self, rows: Rows, part: Part, notes: tuple[float, ...]) -> None:
        """Take the step itself: all that is computed on the device, or exchanged with other processes."""
        for stage in Step(self, rows, part, notes).stages():
            stage.run()

    def synchronize(self) -> None:
        """Wait until all steps that were asked for are taken; here they always are."""

    def refresh(self) -> None:
        """Account for weights that something else has changed."""
        self.paths.refresh()

    def follow_model(self) -> None:
        """Adapt to hooks, replaced methods and parameters frozen or freed since the last step.

        Raises
        ------
        UsageError
            If all parameters are frozen, or have been replaced by others.
        """
        self.trainable.follow()
        self.paths.choose(self.update)
        if self.capture is not None:
            self.capture.look_again()
        self.compiled.follow()

    def backward(self, rows: Rows, part: Part) -> Sums:
        """Add the gradients of rows, which are a part of a batch, and return their sums."""
        with self.workers.noise_of(part):
            if self.paths.direct is not None:
                return self.paths.direct(self.batches.for_training(rows), self._beta, part.weight)
            with self.vae.lowered("bf16" if self.paths.autocast else "fp32"), self.paths.chains():
                x, condition = self.batches.for_training(rows), self.batches.conditions(rows)
                terms = self.vae(x, self.objective.num_samples, condition)
            loss, against = self.losses(terms, part.counted, self.meters)
        total = loss + torch.stack(against).sum() if against else loss
        self.paths.differentiate(total if part.weight == 1 else total * part.weight)
        with torch.no_grad():  # a bound may have computed neither
            return Sums(loss.detach(), terms.distortion.sum(), terms.rate.sum())

    def losses(self, terms: Terms, examples: int, meters: Meters) -> tuple[Tensor, list[Tensor]]:
        """Return the loss of the model and those of its opponents, and pass other columns to ``meters``."""
        loss, penalties = call_objective(self.objective, terms, self.coefficients)
        against = self.objective.own_losses(terms)
        meters.hold(columns(terms, penalties, against, examples))
        return loss, list(against.values())

    def _set_coefficients(self, step: int) -> None:
        for i, value in enumerate(self.objective.coefficients(step)):
            if value != self._values[i]:
                self.coefficients[i].fill_(value)
                self._values[i] = value

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the model the running average of its weights, if there is one, while the context lasts."""
        with self.average.applied():
            self.refresh()
            yield
        self.refresh()

    def means(self, *, everywhere: bool = True) -> Means:
        """Return means since :meth:`reset_meters`, per example in nats. The host waits for the device here.

        With ``everywhere`` they are over all processes, all of which must call this.
        """
        means = self.totals.means(everywhere=everywhere)
        norm, rate = means.pop("grad_norm"), means["rate"]
        assert rate is not None
        further = self.meters.means(everywhere=everywhere)
        return {**means, "rate_per_dim": rate / self.vae.latent_dim, "grad_norm": norm, **further}

    def largest_norm(self) -> float:
        """Return the largest norm of a weight tensor, inf from 1e19. The host waits for the device here."""
        squares = torch.stack([p.detach().float().square().sum() for p in self.parameters])
        return math.sqrt(squares.max().item())

    def reset_meters(self) -> None:
        """Start the means again."""
        self.totals.reset()
        self.meters.reset()
        self.skipped.reset()

    @contextmanager
    def same_noise(self, seed: int) -> Iterator[None]:
        """Draw from a seed while the context lasts, without a change to the random state of the training."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield

    def explain(self, indices: NDArray[np.int64]) -> Finding | None:
        """Run these examples again with the present weights and return what is not finite."""
        with self.same_noise(0):
            rows = torch.from_numpy(indices).to(self.device)
            x, condition = self.batches[rows], self.batches.conditions(rows)
            return find_first(self.vae, self.objective, x, self.coefficients, condition)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the model's optimiser."""
        return self.update.learning_rate

    @property
    def beta(self) -> float:
        """Weight of the rate in the next step."""
        return self.objective.coefficients(self.steps)[0]

    def lower_learning_rate(self, factor: float) -> None:
        """Multiply all learning rates."""
        for update in self.updates:
            update.lower_learning_rate(factor)

    def end_epoch(self, loss: float) -> None:
        """Step the learning-rate schedule; ``loss`` is for one that watches the loss."""
        self.update.end_epoch(loss, self.steps)

    def release(self) -> None:
        """Give each parameter its own storage again; no step may follow."""
        self.trainable.release()

    def settle(self) -> None:
        """Average running statistics over the processes, each of which has its own."""
        if not self.workers.alone:
            for buffer in self.kept.buffers:
                self.workers.sum_(buffer).div_(self.workers.size)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on, except data and random generators."""
        return {
            "steps": self.steps,
            "meters": self.totals.summed(),
            "further": self.meters.state_dict(),
            "skipped": self.skipped.counts[:3],
            "first": self.first,
            "compiled": self.compiled.decision,
            "model": dict(self.vae.state_dict()),
            "average": self.average.weights,
            "objective": dict(self.objective.state_dict()),
            **self.trainable.state_dict(),
        }

    def use_weights(self, state: dict[str, Any]) -> None:
        """Give the model the weights of a state, or their running average if there is one."""
        self.vae.load_state_dict(state["model"])
        if state["average"] is not None:
            self.average.copy_to_model(state["average"])
            self.refresh()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.steps = state["steps"]
        self.skipped.load(state["skipped"])
        self.skipped.set_clock(self.steps)
        self.totals.load(state["meters"])
        # Runs of earlier versions have neither "further" nor "first".
        self.meters.load_state_dict(state.get("further", {}))
        self.first = First(*state["first"]) if state.get("first") is not None else None
        self.vae.load_state_dict(state["model"])
        self.refresh()
        self.average.load(state["average"])
        self.objective.load_state_dict(state["objective"])
        self.trainable.load_state_dict(state)
        self.objective.follow_step(max(self.steps - 1, 0))
        self.compiled.load(state.get("compiled"))
        self.follow_model()
        if self.capture is not None:
            self.capture.forget()  # what it has recorded works on the optimisers' earlier state
