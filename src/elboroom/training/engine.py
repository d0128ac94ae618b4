"""One training step over a batch of indices, and the means it adds up on the device."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.config import Config, TrainingConfig
from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.model import VAE
from elboroom.objectives import Objective
from elboroom.training.optimizers import make_lr_schedule, make_optimizer

# A pass over all gradients costs as much as a small layer; without clipping, one in ten is enough.
_GRADIENT_NORM_EVERY = 10
_METERS = ("examples", "loss", "distortion", "rate", "grad_norms", "grad_norm")
_EVALUATION_BATCH = 1000
Means = dict[str, float]


def find_device(name: str) -> torch.device:
    """Resolve "auto", "cpu", "cuda", "cuda:1", "mps".

    Raises
    ------
    UsageError
        If the name is not a device, or the device is not there.
    """
    have = ["cpu"]
    have += [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    have += ["mps"] if torch.backends.mps.is_available() else []
    if name == "auto":
        return torch.device(have[1] if len(have) > 1 else "cpu")
    if name not in have and not (name == "cuda" and "cuda:0" in have):
        raise UsageError(
            f"device = {name!r} is not there; this machine has {', '.join(have)}, and auto chooses"
        )
    return torch.device(name)


def steps_per_epoch(examples: int, config: TrainingConfig) -> int:
    """Number of batches in an epoch; the last of a shuffled pass may be smaller."""
    return config.batches_per_epoch or math.ceil(examples / config.batch_size)


def epoch_order(indices: NDArray[np.int64], config: TrainingConfig, epoch: int) -> list[NDArray[np.int64]]:
    """Batches of one epoch, a function of seed and epoch alone, so that any epoch can be had again.

    Parameters
    ----------
    indices : array
        Of the training examples.
    config : TrainingConfig
        A shuffled pass in batches of ``batch_size``, or ``batches_per_epoch`` draws with replacement.
    epoch : int
        Counted from 0.
    """
    draw = np.random.default_rng([config.seed, epoch])
    if config.batches_per_epoch is not None:
        chosen = draw.integers(len(indices), size=(config.batches_per_epoch, config.batch_size))
        return list(indices[chosen])
    shuffled = draw.permutation(indices)
    return [
        shuffled[start : start + config.batch_size] for start in range(0, len(shuffled), config.batch_size)
    ]


class Engine:
    """Model, objective, optimiser and data on one device, and the step that joins them.

    Parameters
    ----------
    vae, objective
        What is trained; both may own parameters.
    batches : Batches
        Data on the same device.
    config : Config
        Its optimizer section.
    device : torch.device
        Where all of it is.
    """

    def __init__(
        self, vae: VAE, objective: Objective, batches: Batches, config: Config, device: torch.device
    ):
        self.vae = vae.to(device)
        self.objective = objective.to(device)
        self.batches = batches
        self.device = device
        self.clip = config.optimizer.clip
        self.parameters = [
            p for p in itertools.chain(vae.parameters(), objective.parameters()) if p.requires_grad
        ]
        self.optimizer = make_optimizer(self.parameters, config.optimizer, device)
        self.lr_schedule = make_lr_schedule(self.optimizer, config.optimizer, config.training.epochs)
        self.steps = 0
        self.ema = config.training.ema
        self.average = [p.detach().clone() for p in vae.parameters()] if self.ema is not None else None
        # Static buffers, so that the step may be captured: schedules write into one, means into the other.
        self._values = [math.nan] * len(objective.schedules)
        self.coefficients = torch.zeros(len(self._values), device=device)
        self.meters = torch.zeros(
            len(_METERS), device=device, dtype=torch.float32 if device.type == "mps" else torch.float64
        )

    def step(self, indices: Tensor) -> None:
        """Update the weights from examples ``indices`` (b,) on the device; the host waits for nothing."""
        self._set_coefficients(self.steps)
        terms = self.vae(self.batches.for_training(indices), self.objective.num_samples)
        loss = self.objective(terms, self.coefficients)
        self.optimizer.zero_grad()
        loss.backward()
        norm = self._gradient_norm()
        self.optimizer.step()
        with torch.no_grad():
            self._update_average()
            measured = [
                torch.full_like(loss, len(indices)),
                loss * len(indices),
                terms.distortion.sum(),
                terms.rate.sum(),
            ]
            measured += [torch.zeros_like(loss)] * 2 if norm is None else [torch.ones_like(loss), norm]
            self.meters += torch.stack(measured)
        self.steps += 1

    def _set_coefficients(self, step: int) -> None:
        for i, value in enumerate(self.objective.coefficients(step)):
            if value != self._values[i]:
                self.coefficients[i].fill_(value)
                self._values[i] = value

    def _gradient_norm(self) -> Tensor | None:
        if self.clip is not None:
            return torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        if self.steps % _GRADIENT_NORM_EVERY:
            return None
        return torch.nn.utils.get_total_norm(p.grad for p in self.parameters if p.grad is not None)

    def _update_average(self) -> None:
        if self.average is not None and self.ema is not None:
            # A young average forgets faster: the first steps are the worst.
            decay = min(self.ema, (1 + self.steps) / (10 + self.steps))
            torch._foreach_lerp_(self.average, list(self.vae.parameters()), 1 - decay)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """With a running average, let the model have its weights for a while."""
        if self.average is None:
            yield
            return
        own = [p.detach().clone() for p in self.vae.parameters()]
        self._set_weights(self.average)
        try:
            yield
        finally:
            self._set_weights(own)

    def _set_weights(self, weights: list[Tensor]) -> None:
        with torch.no_grad():
            torch._foreach_copy_(list(self.vae.parameters()), weights)

    def means(self) -> Means:
        """Means since :meth:`reset_meters`, per example in nats; here the host waits for the device."""
        sums = dict(zip(_METERS, self.meters.tolist(), strict=True))
        examples = max(sums["examples"], 1.0)
        rate = sums["rate"] / examples
        return {
            "loss": sums["loss"] / examples,
            "distortion": sums["distortion"] / examples,
            "rate": rate,
            "rate_per_dim": rate / self.vae.latent_dim,
            "grad_norm": sums["grad_norm"] / max(sums["grad_norms"], 1.0),
        }

    def largest_norm(self) -> float:
        """Largest norm of a tensor of weights, inf from 1e19 on; here the host waits for the device."""
        squares = torch.stack([p.detach().float().square().sum() for p in self.parameters])
        return math.sqrt(squares.max().item())

    def reset_meters(self) -> None:
        """Start new means."""
        self.meters.zero_()

    def measure(self, indices: NDArray[np.int64], seed: int) -> Means:
        """Means over held-out examples, with the same noise at every call; training's noise is left alone."""
        sums = torch.zeros(3, device=self.device, dtype=self.meters.dtype)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), self.averaged(), self.vae.at_rest():
            torch.manual_seed(seed)
            for start in range(0, len(indices), _EVALUATION_BATCH):
                batch = torch.from_numpy(indices[start : start + _EVALUATION_BATCH]).to(self.device)
                terms = self.vae(self.batches[batch], self.objective.num_samples)
                loss = self.objective(terms, self.coefficients)
                sums += torch.stack((loss * len(batch), terms.distortion.sum(), terms.rate.sum()))
        loss_, distortion, rate = (sums / len(indices)).tolist()
        return {
            "loss": loss_,
            "distortion": distortion,
            "rate": rate,
            "rate_per_dim": rate / self.vae.latent_dim,
            "elbo": -(distortion + rate),
        }

    @property
    def learning_rate(self) -> float:
        """Of the first parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def beta(self) -> float:
        """Weight of the rate in the next step."""
        return self.objective.coefficients(self.steps)[0]

    def end_epoch(self, loss: float) -> None:
        """Step the learning-rate schedule; one that follows a measure gets ``loss``."""
        if self.lr_schedule is None:
            return
        follows_a_measure = isinstance(self.lr_schedule, torch.optim.lr_scheduler.ReduceLROnPlateau)
        try:
            self.lr_schedule.step(*([loss] if follows_a_measure else []))
        except Exception as error:
            # Some options are wrong only at a later step: a cycle of 0 epochs, or fewer than there are.
            name = type(self.lr_schedule).__name__
            raise UsageError(
                f"{name} fails at step {self.steps}: {error}; change --lr-schedule-options"
            ) from None

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, but the data and the random generators."""
        return {
            "steps": self.steps,
            "meters": self.meters,
            "model": dict(self.vae.state_dict()),
            "average": self.average,
            "objective": dict(self.objective.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "lr_schedule": self.lr_schedule.state_dict() if self.lr_schedule is not None else None,
        }

    def use_weights(self, state: dict[str, Any]) -> None:
        """Leave the model with a state's weights, or with their running average if there is one."""
        self.vae.load_state_dict(state["model"])
        if state["average"] is not None:
            self._set_weights([weight.to(self.device) for weight in state["average"]])

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`state_dict` gave."""
        self.steps = state["steps"]
        self.meters.copy_(state["meters"])
        self.vae.load_state_dict(state["model"])
        self.average = None if state["average"] is None else [w.to(self.device) for w in state["average"]]
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.lr_schedule is not None and state["lr_schedule"] is not None:
            self.lr_schedule.load_state_dict(state["lr_schedule"])
