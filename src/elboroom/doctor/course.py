"""Diseases that show in the course of the training: learning rates, schedules, weights, overfitting."""

from __future__ import annotations

import math

import numpy as np

from elboroom.doctor.chart import Chart
from elboroom.doctor.finding import Finding
from elboroom.objectives.choice import ramp_warnings
from elboroom.training.step.lr_schedules import lr_warnings

_USUAL_LR = 1e-3
_LAST = 0.2  # share of the epochs at the end that is looked at
_STEEP = 0.1  # share of the whole fall that is too much for them
_FEWEST = 5  # epochs that tell a course
_RISE = 0.3  # of the whole fall
_WORSE = 0.1  # of the whole fall, on validation examples
_EXPLODED = 5.0
_FEW_NATS = 0.005  # of a number of an example: smaller differences are not worth a word


def not_finite(chart: Chart) -> Finding | None:
    """Weights that cannot be computed with, or a training that diverged."""
    if chart.unusable is None:
        return None
    return Finding(chart.unusable, {"lr": chart.config.optimizer.lr}, *_slower(chart))


def lr_too_high(chart: Chart) -> Finding | None:
    """A loss that jumps or rises, steps that were skipped, a rate that had to be lowered."""
    config, history = chart.config, chart.history
    if not history or chart.unusable is not None or _has_critic(chart):
        return None
    skipped = history[-1].get("skipped_steps") or 0
    if skipped:
        said = f"the gradients of {skipped:,} step{'' if skipped == 1 else 's'} were not finite"
        return Finding(said, {"skipped_steps": skipped}, *_slower(chart))
    now = history[-1].get("learning_rate", config.optimizer.lr)
    if config.optimizer.lr_schedule is None and now < config.optimizer.lr * 0.99:
        said = (
            f"training diverged and went on with learning rate {now:.3g} in place of {config.optimizer.lr:g}"
        )
        return Finding(said, {"lr": config.optimizer.lr, "lr_at_end": now}, *_slower(chart))
    losses = chart.losses()
    if len(losses) < 2:
        return None
    fall = max(losses[0] - min(losses), _little(chart))
    if losses[0] > _EXPLODED * max(abs(loss) for loss in losses[1:]) and config.optimizer.lr > _USUAL_LR:
        said = f"the loss was {losses[0]:.3g} nats in the first epoch and {losses[-1]:.3g} in the last"
        return Finding(said, {"first": losses[0], "last": losses[-1]}, *_slower(chart))
    lowest = np.minimum.accumulate(losses)
    rises = np.asarray(losses) - lowest
    worst = int(rises.argmax())
    if rises[worst] > _RISE * fall and len(losses) >= _FEWEST:
        said = f"the loss rose from {lowest[worst]:.4g} to {losses[worst]:.4g} nats within training"
        return Finding(said, {"from": float(lowest[worst]), "to": losses[worst]}, *_slower(chart))
    return None


def lr_too_low(chart: Chart) -> Finding | None:
    """A loss that still falls steeply at the end."""
    losses, lr = chart.losses(), chart.config.optimizer.lr
    if len(losses) < _FEWEST or chart.unusable is not None or _has_critic(chart):
        return None
    last = max(1, round(_LAST * len(losses)))
    whole, end = losses[0] - losses[-1], losses[-1 - last] - losses[-1]
    if whole < _little(chart) or end < _STEEP * whole or lr >= _USUAL_LR:
        return None
    epochs = "epoch" if last == 1 else f"{last} epochs"
    said = (
        f"the loss fell by {end:.3g} nats in the last {epochs}, {end / whole:.0%} of its whole fall, at "
        f"learning rate {lr:g}"
    )
    change = {"lr": min(_USUAL_LR, 100 * lr)}
    return Finding(said, {"fall_at_end": end, "fall": whole, "lr": lr}, change, "learns faster")


def schedule(chart: Chart) -> Finding | None:
    """A ramp or a learning-rate schedule that does not fit the length of the training."""
    config = chart.config
    epochs = config.training.epochs
    ramps = ramp_warnings(config.objective, epochs)
    if ramps:
        objective = config.objective
        delay = objective.beta_delay if objective.beta_schedule in ("delayed", "sigmoid") else 0.0
        ends = [delay + objective.beta_ramp] if objective.beta_schedule != "constant" else []
        if objective.beta_schedule == "cyclical" and objective.beta_ramp <= epochs:
            ends = [objective.beta_period * math.ceil(epochs / objective.beta_period)]
        ends += [objective.penalty_ramp]
        ends += [objective.capacity_ramp] if objective.bound == "capacity" else []
        longer = math.ceil(max(ends))
        said = ramps[0].split("; ")[0]
        return Finding(said, {"epochs": epochs, "needed": longer}, {"epochs": longer}, "lets it end")
    rates = lr_warnings(config.optimizer, epochs)
    if not rates:
        return None
    said = rates[0].split("; ")[0]
    change: dict[str, object] = {"lr_schedule_options": {}}
    if not config.optimizer.lr_schedule_options:
        change = {"lr_schedule": "CosineAnnealingLR"}
    return Finding(said, {"epochs": epochs}, change, "makes it follow the number of epochs")


def overfit(chart: Chart) -> Finding | None:
    """A validation loss that rises while the training loss falls."""
    train, val = chart.losses(), chart.losses(held_out=True)
    if len(val) < _FEWEST or len(train) != len(val):
        return None
    best = int(np.argmin(val))
    rise, fall = val[-1] - val[best], val[0] - val[best]
    if rise < max(_WORSE * fall, _little(chart)) or train[-1] >= train[best]:
        return None
    row = chart.history[-1]
    distortion = row["val_distortion"] - row["distortion"]
    rate = row["val_rate"] - row["rate"]
    part = "decoder" if distortion >= rate else "encoder"
    said = (
        f"since epoch {best + 1 + len(chart.history) - len(val)} the loss of the training examples fell from "
        f"{train[best]:.4g} to {train[-1]:.4g} nats, and that of the validation examples rose from "
        f"{val[best]:.4g} to {val[-1]:.4g}; the {part} has most of the gap"
    )
    numbers = {"rise": rise, "gap_distortion": distortion, "gap_rate": rate}
    return Finding(
        said,
        numbers,
        {"patience": max(2, len(chart.history) // 20)},
        "stops when the validation examples gain no more (the weights kept are those of the best epoch)",
    )


def _slower(chart: Chart) -> tuple[dict[str, object], str]:
    lr = chart.config.optimizer.lr
    return {"lr": _USUAL_LR if lr > 2 * _USUAL_LR else lr / 10}, "takes smaller steps"


def _little(chart: Chart) -> float:
    """A difference of losses that says nothing, in nats."""
    return _FEW_NATS * math.prod(chart.shape or (1,))


def _has_critic(chart: Chart) -> bool:
    return any("critic" in name for name in chart.config.objective.penalties)
