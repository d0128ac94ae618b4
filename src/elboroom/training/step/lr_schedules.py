"""PyTorch's learning-rate schedules by name; their length follows the epochs unless it is given."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler

from elboroom.config import OptimizerConfig
from elboroom.errors import UsageError
from elboroom.training.step.optimizers import classes, construct, find, make_optimizer, refusal

# Option with the length of a schedule that ends; PyTorch's own default, if there is one, is 5 epochs.
_LENGTH = {
    "CosineAnnealingLR": "T_max",
    "OneCycleLR": "total_steps",
    "LinearLR": "total_iters",
    "PolynomialLR": "total_iters",
}
_OPTIONS = "lr_schedule_options"
# Wrong options show within a few epochs; those that do not are reported in the epoch in which they do.
_REHEARSED = 1000


class LearningRates:
    """The schedule that a configuration names, stepped once per epoch.

    Parameters
    ----------
    optimizer : Optimizer
        Optimiser whose learning rate it sets.
    config : OptimizerConfig
        Configuration that names the schedule.
    epochs : int
        Epochs of the whole training.

    Attributes
    ----------
    schedule : LRScheduler or None
        The schedule of PyTorch.
    length : int or None
        Number of epochs it follows because no length was given; None if it has no length, or a given one.

    Raises
    ------
    UsageError
        If PyTorch has no schedule of that name, or it does not accept the options.

    Examples
    --------
    >>> config = OptimizerConfig(lr=1.0, lr_schedule="CosineAnnealingLR")
    >>> optimizer = make_optimizer([nn.Parameter(torch.zeros(1))], config, torch.device("cpu"))
    >>> LearningRates(optimizer, config, epochs=30).schedule.T_max
    30
    """

    def __init__(self, optimizer: Optimizer, config: OptimizerConfig, epochs: int):
        self.schedule: Any = None
        self.length: int | None = None
        self._optimizer, self._config, self._epochs = optimizer, config, epochs
        if config.lr_schedule is None:
            return
        kind, options = _chosen(config, epochs)
        rehearse(config, epochs)
        self.schedule = construct(kind, optimizer, options=options, named=_OPTIONS)
        if _length_option(kind, config) is not None:
            self.length = epochs

    def step(self, loss: float, step: int) -> None:
        """Advance to the next epoch; ``loss`` is for a schedule that watches the loss."""
        if self.schedule is None:
            return
        try:
            with warnings.catch_warnings():
                # Some optimisers are stepped by a kernel of their own, which torch's schedules do not see.
                warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)
                self.schedule.step(*([loss] if _follows_a_measure(type(self.schedule)) else []))
        except Exception as error:
            name = type(self.schedule).__name__
            raise UsageError(f"{name} fails at step {step}: {error}; change lr_schedule_options=") from None

    def scale(self, factor: float) -> None:
        """Multiply the learning rate, now and in the rest of the schedule."""
        for group in self._optimizer.param_groups:
            for name in ("lr", "initial_lr", "max_lr", "min_lr"):
                if name in group:
                    group[name] = group[name] * factor
        for name in ("base_lrs", "max_lrs"):
            if hasattr(self.schedule, name):
                setattr(self.schedule, name, [lr * factor for lr in getattr(self.schedule, name)])

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the schedule, and the number of epochs that it follows."""
        state = self.schedule.state_dict() if self.schedule is not None else None
        return {"lr_schedule": state, "lr_length": self.length}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, after the state of the optimiser.

        If the number of epochs has changed, a schedule that follows it is adapted: it continues with the
        learning rate that a schedule of the new length has in this epoch.
        """
        if self.schedule is None or state["lr_schedule"] is None:
            return
        before = state.get("lr_length")  # runs of earlier versions have none, and keep torch's length
        fresh = self.schedule.base_lrs if hasattr(self.schedule, "base_lrs") else []
        self.schedule.load_state_dict(state["lr_schedule"])
        if before is None:
            self.length = None
        elif before != self.length:
            self._adapt_length(self.schedule.base_lrs[0] / fresh[0])

    def _adapt_length(self, lowered: float) -> None:
        """Take the state that a schedule of the new length would have now."""
        rehearsal = _Rehearsal(self._config, self._epochs)
        for _ in range(self.schedule.last_epoch):
            rehearsal.schedule.step()
        self.schedule.load_state_dict(rehearsal.schedule.state_dict())
        group = rehearsal.optimizer.param_groups[0]
        for own in self._optimizer.param_groups:
            own.update({name: value for name, value in group.items() if name != "params"})
        self.scale(lowered)


def rehearse(config: OptimizerConfig, epochs: int) -> list[float]:
    """Return the learning rate of each epoch, up to the first 1,000, by stepping the schedule on a dummy.

    Some options fail only after some epochs. A schedule that watches the loss sees no progress.

    Raises
    ------
    UsageError
        If PyTorch does not accept the options.

    Examples
    --------
    >>> rehearse(OptimizerConfig(lr=1.0, lr_schedule="PolynomialLR"), 4)
    [1.0, 0.75, 0.5, 0.25]
    """
    kind, options = _chosen(config, epochs)
    total = options.get("total_steps")
    if kind is lr_scheduler.OneCycleLR and isinstance(total, int) and total < epochs:
        raise UsageError(
            f"OneCycleLR with total_steps = {total} ends before the {epochs} epochs of the training; leave "
            "total_steps out and it follows the epochs"
        )
    rehearsal = _Rehearsal(config, epochs)
    measure = [1.0] if _follows_a_measure(kind) else []
    rates = []
    try:
        for _ in range(min(epochs, _REHEARSED)):
            rates.append(float(rehearsal.optimizer.param_groups[0]["lr"]))
            rehearsal.schedule.step(*measure)
    except Exception as error:
        raise UsageError(refusal(kind, _OPTIONS, options, error)) from None
    return rates


class _Rehearsal:
    """The schedule with the same options, on a dummy optimiser."""

    def __init__(self, config: OptimizerConfig, epochs: int):
        kind, options = _chosen(config, epochs)
        self.optimizer = make_optimizer([nn.Parameter(torch.zeros(1))], config, torch.device("cpu"))
        self.schedule = construct(kind, self.optimizer, options=options, named=_OPTIONS)
        self.optimizer.step()  # PyTorch warns if the schedule is stepped first


def _chosen(config: OptimizerConfig, epochs: int) -> tuple[type, dict[str, Any]]:
    """Return class and options, with the length filled in."""
    assert config.lr_schedule is not None
    without = {"LRScheduler", "LambdaLR", "MultiplicativeLR"}
    kind = find(
        config.lr_schedule, classes(lr_scheduler, lr_scheduler.LRScheduler, without=without), "lr_schedule"
    )
    options = dict(config.lr_schedule_options)
    if kind is lr_scheduler.OneCycleLR:
        options.setdefault("max_lr", config.lr)
    missing = _length_option(kind, config)
    return kind, options if missing is None else {**options, missing: epochs}


def _length_option(kind: type, config: OptimizerConfig) -> str | None:
    """Return the option that follows the number of epochs, if any."""
    name, given = _LENGTH.get(kind.__name__), config.lr_schedule_options
    if name in given or (kind is lr_scheduler.OneCycleLR and {"epochs", "steps_per_epoch"} & set(given)):
        return None
    return name


def _follows_a_measure(kind: type) -> bool:
    return issubclass(kind, lr_scheduler.ReduceLROnPlateau)


def lr_warnings(config: OptimizerConfig, epochs: int) -> list[str]:
    """Return warnings about a learning-rate schedule over so many epochs, one sentence each.

    Examples
    --------
    >>> config = OptimizerConfig(lr_schedule="CosineAnnealingLR", lr_schedule_options={"T_max": 60})
    >>> print(*lr_warnings(config, 120))
    CosineAnnealingLR with T_max = 60 raises the learning rate again after epoch 61 of 120; leave T_max out \
and the schedule follows the number of epochs
    """
    if config.lr_schedule is None:
        return []
    kind, options = _chosen(config, epochs)
    rates = rehearse(config, epochs)
    name = kind.__name__
    given = _given_length(kind, options) if _length_option(kind, config) is None else None
    found = []
    if given is not None and given[1] > epochs:
        option, length = given
        found.append(
            f"{name} with {option} = {options.get(option, length)} takes {length:,} epochs, and training "
            f"ends after {epochs:,}, at learning rate {rates[-1]:.3g}{_remedy(name)}"
        )
    elif kind is lr_scheduler.CosineAnnealingLR and given is not None and epochs > given[1] + 1:
        found.append(
            f"{name} with T_max = {given[1]} raises the learning rate again after epoch {given[1] + 1} of "
            f"{epochs}{_remedy(name)}"
        )
    elif not _follows_a_measure(kind) and epochs > 1 and len(set(rates)) == 1 and len(rates) == epochs:
        found.append(f"{name} never changes the learning rate in {epochs} epochs")
    idle = [epoch for epoch, rate in enumerate(rates, 1) if rate == 0]
    if idle and not found:
        found.append(f"{name} makes the learning rate 0 in {_epochs(idle)}, where nothing is learned")
    return found


def _given_length(kind: type, options: dict[str, Any]) -> tuple[str, int] | None:
    """Return the length option and the epochs of a schedule, or of its first cycle."""
    if kind is lr_scheduler.OneCycleLR and "total_steps" not in options:
        return "epochs", int(options.get("epochs", 1)) * int(options.get("steps_per_epoch", 1))
    if kind is lr_scheduler.CyclicLR:
        up = int(options.get("step_size_up", 2000))
        return "step_size_up", up + int(options.get("step_size_down") or up)
    option = {"CosineAnnealingWarmRestarts": "T_0", "ConstantLR": "total_iters"}.get(
        kind.__name__, _LENGTH.get(kind.__name__)
    )
    return (option, int(options[option])) if option in options else None


def _remedy(name: str) -> str:
    option = _LENGTH.get(name)
    return "" if option is None else f"; leave {option} out and the schedule follows the number of epochs"


def _epochs(numbers: Sequence[int]) -> str:
    one = len(numbers) == 1
    return f"epoch {numbers[0]}" if one else f"{len(numbers)} epochs from epoch {numbers[0]} on"
