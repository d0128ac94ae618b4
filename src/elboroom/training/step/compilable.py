"""Which steps can be compiled, and whether what was compiled computes the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Hashable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from elboroom.data.batches import Rows
from elboroom.distributed.noise import noise_from
from elboroom.distributed.processes import Part
from elboroom.networks.recompute import recomputes
from elboroom.training.step.interventions import acts_everywhere, has_gradient_hooks, is_modified
from elboroom.training.step.optimizers import is_plain_adam
from elboroom.training.step.totals import Sums
from elboroom.training.step.whole import WholeStep

if TYPE_CHECKING:
    from elboroom.training.step.engine import Engine

# Largest difference from ordinary gradients that rounding explains, relative to their norm.
_TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2}
# Largest difference of a single weight or moment from what Adam makes of the gradient, in float32.
_ROUNDING = 1e-5
_OWN = ("elboroom.", "torch.nn.")


def misfit(engine: Engine) -> str | None:
    """Say why the step of an engine cannot be compiled; None if nothing speaks against it."""
    update, models = engine.update, (engine.vae, engine.objective)
    if engine.device.type != "cpu":
        return f"only steps on the CPU are compiled, and the device is {engine.device}"
    if not engine.workers.alone:
        return "several processes train together"
    if engine.divides_batches:
        return "accumulate divides each batch"
    if recomputes(engine.vae):
        return "activations are recomputed (checkpoint_activations), and a compiled step would keep them"
    if len(engine.updates) > 1:
        return "a critic trains against the model"
    if not is_plain_adam(update.optimizer):
        return "the optimiser is not Adam or AdamW without further options"
    if not update.is_whole or len(update.flat.values) > 1:
        return "not all parameters are trained in every step, or not all have one dtype"
    if engine.moves_buffers:
        return "a batch changes buffers of the model, such as running means or a codebook"
    modules = chain.from_iterable(model.modules() for model in models)
    parameters = chain.from_iterable(model.parameters() for model in models)
    if acts_everywhere() or any(map(is_modified, modules)) or any(map(has_gradient_hooks, parameters)):
        return "hooks or replaced methods act on the model"
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        return "there is no C++ compiler (g++, or the one that CXX names)"
    return None


def foreign_part(engine: Engine) -> str | None:
    """Name a part that comes with neither elboroom nor PyTorch: it may hide numbers from a trace."""
    objective = engine.objective
    parts: Iterator[Any] = chain(engine.vae.modules(), objective.modules())
    for part in chain(parts, [objective.bound], objective.penalties.values()):
        kind = part if hasattr(part, "__module__") and not isinstance(part, nn.Module) else type(part)
        if not f"{kind.__module__}.".startswith(_OWN):
            name = getattr(kind, "__qualname__", type(part).__qualname__)
            return f"{name} is not a part of elboroom; compile = 'on' compiles it all the same"
    return None


def composition(*models: nn.Module) -> dict[str, Hashable]:
    """What a trace takes as constant: modules, parameters and plain attributes, by name."""
    found: dict[str, Hashable] = {}
    for i, model in enumerate(models):
        for prefix, module in model.named_modules():
            own = module.__dict__
            members = chain.from_iterable(
                own[name].items() for name in ("_parameters", "_buffers", "_modules")
            )
            plain = ((name, value) for name, value in own.items() if not name.startswith("_"))
            for name, value in chain(members, plain):
                constant = isinstance(value, int | float | str | None)
                found[f"{i}.{prefix}.{name}"] = (type(value), value) if constant else id(value)
    return found


def random_operation(graph: fx.GraphModule) -> str | None:
    """Name an operation that draws random numbers by itself, whose compiled form would draw others."""
    for node in graph.graph.nodes:
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            return str(node.target)
    return None


def difference(
    engine: Engine, backward: Callable[[Rows, Part], Sums], whole: WholeStep, rows: Rows
) -> str | None:
    """Take one compiled step, compare it with an ordinary one, and undo it; say how they differ too much.

    From moments of 0, the first moment after a step is a multiple of the gradient.
    """
    weights, first, second, count = whole.state()
    kept = [each.clone() for each in (*weights, *first, *second, count)]
    with engine.same_noise(0):
        noise = [draw.take() for draw in whole.draws]
    loss, expected = _ordinary(engine, backward, rows, noise)
    settings = whole.settings()._replace(weight_decay=0.0, clip=torch.inf)
    lr, beta1, beta2, eps = settings[:4]
    try:
        for moment in (*first, *second, count):
            moment.zero_()
        result = whole.given(rows, noise, settings)
        gradient = torch.cat([m.flatten() for m in first]) / (1 - beta1)
        norm = torch.linalg.vector_norm(expected)
        off = float(torch.linalg.vector_norm(gradient - expected) / norm.clamp(min=1e-12))
        loss_off = abs(float(result.sums.loss) / loss - 1)
        moved = torch.cat([(w - old).flatten() for w, old in zip(weights, kept, strict=False)])
        squares = torch.cat([v.flatten() for v in second]) / (1 - beta2)
    finally:
        for each, old in zip((*weights, *first, *second, count), kept, strict=True):
            each.copy_(old)
    allowed = _TOLERANCE[engine.precision]
    if not (off <= allowed and loss_off <= allowed):
        return (
            f"gradients differ from ordinary ones by {off:.1e} of their norm, and the loss by {loss_off:.1e}"
        )
    step = -lr * gradient / (gradient.abs() + eps)
    scale = 1e-6 + max(float(old.abs().max()) for old in kept[: len(weights)])
    if not _close(squares, gradient.square(), _ROUNDING * float(gradient.square().max())):
        return "the second moments are not those of Adam"
    if not _close(moved, step, _ROUNDING * max(lr, scale)):
        return "the weights are not those of Adam"
    return None


def _close(one: Tensor, other: Tensor, allowed: float) -> bool:
    return float((one - other).abs().max()) <= allowed


def _ordinary(
    engine: Engine, backward: Callable[[Rows, Part], Sums], rows: Rows, noise: list[Tensor]
) -> tuple[float, Tensor]:
    """Loss and gradients, in the order of the parameters, of a step that is not compiled."""
    supply = iter(noise)
    engine.meters.begin()
    engine.update.begin()
    engine.refresh()
    with noise_from(lambda _distribution, _shape, _like: next(supply)):
        sums = backward(rows, Part(0, len(rows), len(rows), 1.0))
    engine.update.collect()
    engine.meters.begin()
    flat = engine.update.flat
    return float(sums.loss), torch.cat([flat.gradient(p).float().flatten() for p in flat.parameters])
