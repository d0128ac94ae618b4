"""PyTorch's optimisers by name, and the look-up and construction of PyTorch classes with options."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from elboroom.config import OptimizerConfig
from elboroom.errors import UsageError, nearest

KERNELS: dict[type, Callable[..., Any]] = {Adam: torch._fused_adam_, AdamW: torch._fused_adamw_}
# These need more than one backward pass, or sparse gradients.
_UNFIT = {"LBFGS", "SparseAdam", "Optimizer"}
# These treat each weight separately, so that all weights can be one long tensor.
_ELEMENTWISE = {
    *("adadelta", "adagrad", "adam", "adamax", "adamw", "asgd"),
    *("nadam", "radam", "rmsprop", "rprop", "sgd"),
}

# Of drop_denormals: the least eps for it, and the smallest normal float32.
_LEAST_EPS, _LEAST_NORMAL = 1e-11, torch.finfo(torch.float32).tiny


def works_elementwise(config: OptimizerConfig) -> bool:
    """Whether the optimiser gives the same result for one long tensor as for its parts."""
    return config.optimizer.lower() in _ELEMENTWISE


def make_optimizer(
    parameters: Iterable[nn.Parameter], config: OptimizerConfig, device: torch.device
) -> Optimizer:
    """Build the optimiser that ``config`` names, in its fused form where torch has one.

    Raises
    ------
    UsageError
        If torch.optim has no optimiser of that name, or it does not accept the options.
    """
    kinds = classes(torch.optim, Optimizer, without=_UNFIT)
    kind = find(config.optimizer, kinds, "optimizer")
    options = dict(config.optimizer_options)
    # A single kernel for all parameters is about three times as fast as a loop over tensors.
    if "fused" in inspect.signature(kind).parameters and device.type in ("cpu", "cuda"):
        options.setdefault("fused", True)
    return construct(kind, list(parameters), lr=config.lr, options=options, named="optimizer_options")


def is_plain_adam(optimizer: Optimizer) -> bool:
    """Whether it is a fused Adam or AdamW without special options.

    Examples
    --------
    >>> p = nn.Parameter(torch.zeros(3))
    >>> is_plain_adam(Adam([p], fused=True)), is_plain_adam(Adam([p], fused=True, amsgrad=True))
    (True, False)
    """
    group = optimizer.param_groups[0]
    special = any(
        group.get(name) for name in ("amsgrad", "maximize", "capturable", "differentiable", "foreach")
    )
    return type(optimizer) in KERNELS and not special and bool(group.get("fused"))


def adam_state(optimizer: Optimizer) -> dict[str, Tensor]:
    """State of an Adam or AdamW over one buffer; where there is none yet, as the optimiser itself begins."""
    (parameter,) = optimizer.param_groups[0]["params"]
    state: dict[str, Tensor] = optimizer.state[parameter]
    if not state:
        device = parameter.device
        state["step"] = torch.zeros((), dtype=torch.float32, device=device)
        state["exp_avg"] = torch.zeros_like(parameter, requires_grad=False)
        state["exp_avg_sq"] = torch.zeros_like(parameter, requires_grad=False)
    return state


def step_adam(optimizer: Optimizer) -> bool:
    """Step a fused Adam or AdamW of one tensor, if it is one: what its own ``step`` calls, and nothing else.

    On a small net the bookkeeping around that call takes as long as the update.
    """
    group = optimizer.param_groups[0]
    kernel = KERNELS.get(type(optimizer))
    special = any(group.get(name) for name in ("amsgrad", "maximize", "differentiable", "foreach"))
    if kernel is None or special or not group.get("fused") or len(group["params"]) != 1:
        return False
    state, found_inf = adam_state(optimizer), getattr(optimizer, "found_inf", None)
    (parameter,) = group["params"]
    steps = [state["step"]]
    with torch.no_grad():
        torch._foreach_add_(steps, 1)
        kernel(
            [parameter],
            [parameter.grad],
            [state["exp_avg"]],
            [state["exp_avg_sq"]],
            [],
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
            found_inf=found_inf,
        )
        if found_inf is not None:
            torch._foreach_sub_(steps, [found_inf])
    return True


def steps_taken(optimizer: Optimizer) -> int:
    """Number of steps by its state; 0 if it does not count them."""
    return max((int(state.get("step", 0)) for state in optimizer.state.values()), default=0)


def drop_denormals(optimizer: Optimizer) -> None:
    """Set moments of an Adam to 0 that are below the smallest normal float32.

    The moments of a weight whose gradient is 0 decay to the last such number, where rounding holds them, and
    a processor computes with it several times as slowly. No weight notices: the update is 10⁻²⁷ of the
    learning rate at most, and ``eps`` far above the root of such a second moment.
    """
    if float(optimizer.param_groups[0].get("eps", 0.0)) < _LEAST_EPS:
        return
    states = [state for state in optimizer.state.values() if "exp_avg_sq" in state]
    for state in states:
        for moment in (state["exp_avg"], state["exp_avg_sq"]):
            if moment.dtype == torch.float32:
                torch.ops.aten.hardshrink.out(moment, _LEAST_NORMAL, out=moment)


def classes(module: Any, base: type, without: set[str]) -> dict[str, type]:
    """Return the public subclasses of ``base`` in a module, by name."""
    found = inspect.getmembers(module, lambda item: inspect.isclass(item) and issubclass(item, base))
    return {name: kind for name, kind in found if name not in without and not name.startswith("_")}


def find(name: str, kinds: dict[str, type], field: str) -> type:
    """Look up a class by its name in any capitalisation; ``field`` is the option that names it."""
    by_lower_case = {known.lower(): kind for known, kind in kinds.items()}
    if name.lower() not in by_lower_case:
        raise UsageError(f"{field} = {name!r} is not one of torch's; {nearest(name, kinds)}")
    return by_lower_case[name.lower()]


def construct(kind: type, *args: Any, options: dict[str, Any], named: str, **fixed: Any) -> Any:
    """Construct an object with the options that a user gave in the field ``named``."""
    try:
        return kind(*args, **fixed, **options)
    except Exception as error:  # torch checks few of them itself
        raise UsageError(refusal(kind, named, options, error)) from None


def refusal(kind: type, named: str, options: dict[str, Any], error: Exception) -> str:
    """Return the message for options that PyTorch does not accept."""
    shown = ", ".join(f"{key}={value!r}" for key, value in options.items() if key != "fused")
    unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if unknown:
        known = [
            name for name in inspect.signature(kind).parameters if name not in ("params", "lr", "optimizer")
        ]
        return f"{kind.__name__} has no option {unknown[1]!r}; {nearest(unknown[1], known)}"
    return f"{kind.__name__} does not take {named} = {shown or 'none'!r}: {' '.join(str(error).split())}"
