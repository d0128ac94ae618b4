"""What a user can do to a model from outside: hooks, replaced methods, frozen parameters.

Autograd and module calls honour all of it by themselves. The faster ways through a step pass over some
modules and write some gradients themselves; they must know when something acts there.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from elboroom.models.terms import Terms
from elboroom.objectives import Objective

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_gradient_hooks = attrgetter("_backward_hooks")
_accumulation_hooks = attrgetter("_post_accumulate_grad_hooks")
_requires_grad = attrgetter("requires_grad")
# torch keeps hooks for all modules in these, and never replaces them.
_GLOBAL: list[Mapping[Any, Any]] = [getattr(torch_module, f"_global{name}") for name in _HOOKS]

_METHODS: dict[type, frozenset[str]] = {}  # found by _methods, a slow search


def is_modified(module: nn.Module) -> bool:
    """Whether the module has hooks, a compiled call, or a method replaced on the instance."""
    own = module.__dict__
    return (
        any(own[name] for name in _HOOKS)
        or own.get("_compiled_call_impl") is not None
        or not _methods(type(module)).isdisjoint(own)
    )


def has_gradient_hooks(parameter: Tensor) -> bool:
    """Whether hooks look at the parameter's gradient, or at its accumulation."""
    return bool(_gradient_hooks(parameter) or _accumulation_hooks(parameter))


def acts_everywhere() -> bool:
    """Whether hooks for all modules, function modes or hooks on saved tensors are in force."""
    return any(_GLOBAL) or _modes()


def _methods(kind: type) -> frozenset[str]:
    if kind not in _METHODS:
        _METHODS[kind] = frozenset(name for name, _ in inspect.getmembers(kind, inspect.isfunction))
    return _METHODS[kind]


def _modes() -> bool:
    saved = torch._C._autograd._top_saved_tensors_default_hooks(False)
    return bool(torch._C._len_torch_function_stack()) or saved is not None


def call_objective(
    objective: Objective, terms: Terms, coefficients: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and unweighted penalties; with hooks or another ``forward``, by an ordinary module call."""
    same = type(objective).forward is Objective.forward
    if same and not is_modified(objective) and not acts_everywhere():
        return objective.parts(terms, coefficients)
    penalties: dict[str, Tensor] = {}
    own, parts = objective.__dict__.get("parts"), objective.parts

    def recorded(*arguments: Any) -> tuple[Tensor, dict[str, Tensor]]:
        loss, values = parts(*arguments)
        penalties.update(values)
        return loss, values

    objective.__dict__["parts"] = recorded
    try:
        return objective(terms, coefficients), penalties
    finally:
        if own is None:
            del objective.__dict__["parts"]
        else:
            objective.__dict__["parts"] = own


def has_accumulation_hooks(parameters: Iterable[Tensor]) -> bool:
    """Whether hooks on one of them wait for its ``grad``, which only ``backward`` sets."""
    return any(map(_accumulation_hooks, parameters))


def needs_backward(loss: Tensor, parameters: Iterable[Tensor]) -> bool:
    """Whether ``loss.backward()`` does more than compute gradients by some parameters.

    It does so for other tensors that gather a ``grad``, and for functions of one's own with a backward in
    Python, such as reentrant checkpoints (``torch.utils.checkpoint``), which call ``backward`` themselves.

    Examples
    --------
    >>> x, y = (torch.ones(1, requires_grad=True) for _ in range(2))
    >>> needs_backward(x * y, [x]), needs_backward(x * y, [x, y])
    (True, False)
    """
    known = set(map(id, parameters))
    ahead, seen = [loss.grad_fn], set()
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        own: Any = getattr(node, "_forward_cls", None)
        variable = getattr(node, "variable", None)
        foreign = own is not None and not own.__module__.startswith("elboroom.")
        if foreign or (variable is not None and id(variable) not in known):
            return True
        ahead += [following for following, _ in node.next_functions]
    return False


class Watch:
    """Notices at every step, in microseconds, when something begins to act on what is passed over.

    Parameters
    ----------
    modules : iterable of nn.Module
        Those whose call a step passes over; none of them modified so far.
    written : iterable of Tensor
        Parameters whose gradients do not go through autograd; none with hooks so far.
    parameters : iterable of Tensor
        All that might be trained: a change of ``requires_grad`` is noticed.

    Examples
    --------
    >>> layer = nn.Linear(1, 1)
    >>> watch = Watch([layer], [layer.weight], layer.parameters())
    >>> watch.is_disturbed()
    False
    >>> hook = layer.weight.register_hook(print)
    >>> watch.is_disturbed()
    True
    """

    def __init__(self, modules: Iterable[nn.Module], written: Iterable[Tensor], parameters: Iterable[Tensor]):
        own = [module.__dict__ for module in modules]
        self._hooks = [names[name] for names in own for name in _HOOKS] + (_GLOBAL if own else [])
        # A replaced method is one attribute more.
        self._attributes = own
        self._count = sum(map(len, own))
        self._written = list(written)
        self._parameters = list(parameters)
        self._trainable = list(map(_requires_grad, self._parameters))

    def is_disturbed(self) -> bool:
        """Whether anything has changed that matters."""
        return bool(
            any(self._hooks)
            or sum(map(len, self._attributes)) != self._count
            or any(map(_gradient_hooks, self._written))
            or any(map(_accumulation_hooks, self._written))
            or list(map(_requires_grad, self._parameters)) != self._trainable
            or (self._attributes and _modes())
        )


def watch(*models: nn.Module) -> Watch:
    """Notice whatever acts on any part of models."""
    modules = [module for model in models for module in model.modules()]
    parameters = [parameter for model in models for parameter in model.parameters()]
    return Watch(modules, parameters, parameters)


def hooks_of(*models: nn.Module) -> set[tuple[int, Any]]:
    """Identify all hooks and replaced methods of models, to tell whether there are others later."""
    return set(_identified(models))


def _identified(models: Iterable[nn.Module]) -> Iterator[tuple[int, Any]]:
    for hooks in _GLOBAL:
        yield from ((id(hooks), key) for key in hooks)
    for model in models:
        for module in model.modules():
            own = module.__dict__
            yield from ((id(own), (name, key)) for name in _HOOKS for key in own[name])
            yield from ((id(own), name) for name in _methods(type(module)).intersection(own))
        for parameter in model.parameters():
            for own_hooks in (_gradient_hooks(parameter), _accumulation_hooks(parameter)):
                yield from ((id(parameter), (id(own_hooks), key)) for key in own_hooks or ())
