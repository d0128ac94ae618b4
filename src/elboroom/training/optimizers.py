"""Optimisers and learning-rate schedules of torch, by name."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer, lr_scheduler

from elboroom.config import OptimizerConfig
from elboroom.errors import UsageError, nearest

# These cannot be driven by one backward pass over dense gradients.
_UNFIT = {"LBFGS", "SparseAdam", "Optimizer"}
# These treat each number by itself, so all weights may be one long tensor.
_ELEMENTWISE = {
    *("adadelta", "adagrad", "adam", "adamax", "adamw", "asgd"),
    *("nadam", "radam", "rmsprop", "rprop", "sgd"),
}


def works_elementwise(config: OptimizerConfig) -> bool:
    """Whether the optimiser that ``config`` names gives the same for one long tensor as for its parts."""
    return config.optimizer.lower() in _ELEMENTWISE


def make_optimizer(
    parameters: Iterable[nn.Parameter], config: OptimizerConfig, device: torch.device
) -> Optimizer:
    """Build the optimiser that ``config`` names, in its fused form where torch has one.

    Raises
    ------
    UsageError
        If torch.optim has none of that name, or it does not take the options.
    """
    kinds = _classes(torch.optim, Optimizer, without=_UNFIT)
    kind = _find(config.optimizer, kinds, "optimizer")
    options = dict(config.optimizer_options)
    # One kernel for all parameters: about three times as fast as the loop over tensors.
    if "fused" in inspect.signature(kind).parameters and device.type in ("cpu", "cuda"):
        options.setdefault("fused", True)
    return _construct(kind, list(parameters), lr=config.lr, options=options, named="optimizer_options")


def make_lr_schedule(optimizer: Optimizer, config: OptimizerConfig, epochs: int) -> Any:
    """Build the learning-rate schedule that ``config`` names, or None; it is stepped once an epoch.

    Raises
    ------
    UsageError
        If torch has none of that name, or it does not take the options.
    """
    if config.lr_schedule is None:
        return None
    kinds = _classes(
        lr_scheduler, lr_scheduler.LRScheduler, without={"LRScheduler", "LambdaLR", "MultiplicativeLR"}
    )
    kind = _find(config.lr_schedule, kinds, "lr_schedule")
    options = dict(config.lr_schedule_options)
    _rehearse(kind, options, config, epochs)
    return _construct(kind, optimizer, options=options, named="lr_schedule_options")


def _rehearse(kind: type, options: dict[str, Any], config: OptimizerConfig, epochs: int) -> None:
    """Step a schedule through all epochs on a dummy: some options are found wrong only on the way."""
    dummy = make_optimizer([nn.Parameter(torch.zeros(1))], config, torch.device("cpu"))
    schedule = _construct(kind, dummy, options=options, named="lr_schedule_options")
    measure = [1.0] if issubclass(kind, lr_scheduler.ReduceLROnPlateau) else []
    try:
        for _ in range(epochs):
            dummy.step()
            schedule.step(*measure)
    except Exception as error:
        raise UsageError(_refusal(kind, "lr_schedule_options", options, error)) from None


def _classes(module: Any, base: type, without: set[str]) -> dict[str, type]:
    found = inspect.getmembers(module, lambda item: inspect.isclass(item) and issubclass(item, base))
    return {name: kind for name, kind in found if name not in without and not name.startswith("_")}


def _find(name: str, kinds: dict[str, type], field: str) -> type:
    by_lower_case = {known.lower(): kind for known, kind in kinds.items()}
    if name.lower() not in by_lower_case:
        raise UsageError(f"{field} = {name!r} is not one of torch's; {nearest(name, kinds)}")
    return by_lower_case[name.lower()]


def _construct(kind: type, *args: Any, options: dict[str, Any], named: str, **fixed: Any) -> Any:
    try:
        return kind(*args, **fixed, **options)
    except Exception as error:  # torch checks few of them itself
        raise UsageError(_refusal(kind, named, options, error)) from None


def _refusal(kind: type, named: str, options: dict[str, Any], error: Exception) -> str:
    shown = ", ".join(f"{key}={value!r}" for key, value in options.items() if key != "fused")
    unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if unknown:
        known = [
            name for name in inspect.signature(kind).parameters if name not in ("params", "lr", "optimizer")
        ]
        return f"{kind.__name__} has no option {unknown[1]!r}; {nearest(unknown[1], known)}"
    return f"{kind.__name__} does not take {named} = {shown or 'none'!r}: {' '.join(str(error).split())}"
