"""A graph that records and replays on the CPU what :class:`torch.cuda.CUDAGraph` records on a GPU.

What it emulates: recording computes nothing; a replay computes the recorded operations again on the same
memory, whatever Python objects have become of it; host values are what they were; random numbers continue
where torch's generator stands; reading a number on the host is an error.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

_aten = torch.ops.aten
_READS = {
    "aten::_local_scalar_dense",
    "aten::nonzero",
    "aten::is_nonzero",
    "aten::equal",
    "aten::masked_select",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::repeat_interleave",
    "aten::bincount",
}


class HostReadError(RuntimeError):
    """The host asked for a number of the device."""


class Recording(TorchDispatchMode):
    """A stand-in for a CUDA graph."""

    made = 0
    replays = 0

    def __init__(self) -> None:
        super().__init__()
        Recording.made += 1
        self.operations: list[tuple[Any, Any, Any, list[tuple[int, Tensor]]]] = []
        self._before: dict[int, tuple[Tensor, Tensor]] = {}
        self._own: set[int] = set()  # storages that the recording has allocated

    def capture_begin(self, pool: Any = None, capture_error_mode: str = "global") -> None:
        assert pool is None
        assert capture_error_mode == "thread_local"
        self._state = torch.get_rng_state()
        self.__enter__()

    def capture_end(self) -> None:
        if not hasattr(self, "_state"):
            raise RuntimeError("nothing is being recorded")
        self.__exit__(None, None, None)
        torch.set_rng_state(self._state)
        del self._state
        for storage, copy in self._before.values():  # nothing was computed
            storage.copy_(copy)
        self._before.clear()

    def replay(self) -> None:
        Recording.replays += 1
        with torch.no_grad():
            for function, args, kwargs, into in self.operations:
                found = tree_leaves(function(*args, **kwargs))
                for i, out in into:
                    out.copy_(found[i])

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function._schema.name in _READS:
            raise HostReadError(f"the host reads the device in {function._schema.name}")
        if function.namespace == "profiler" or function is _aten.lift_fresh.default:
            return function(*args, **kwargs)
        inputs = tree_map(_alias, (args, kwargs))
        for leaf in self._written(function, args, kwargs):
            self._keep(leaf)
        result = function(*args, **kwargs)
        if function.is_view:
            return result
        returns = function._schema.returns
        fresh = len(returns) != 1 or returns[0].alias_info is None
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        known = {leaf.untyped_storage()._cdata for leaf in given}
        into = []
        for i, leaf in enumerate(tree_leaves(result)):
            # A zero without memory, as autograd makes them, is the same in every replay.
            if not isinstance(leaf, Tensor) or leaf._is_zerotensor():
                continue
            if fresh and leaf.untyped_storage()._cdata not in known:
                into.append((i, _alias(leaf)))
                self._own.add(leaf.untyped_storage()._cdata)
        self.operations.append((function, *inputs, into))
        return result

    def _written(self, function: Any, args: Any, kwargs: Any) -> list[Tensor]:
        found: list[Tensor] = []
        for i, argument in enumerate(function._schema.arguments):
            # Batch normalisation writes these, which its schema does not say.
            writes = argument.name in ("running_mean", "running_var")
            if writes or (argument.alias_info is not None and argument.alias_info.is_write):
                value = kwargs.get(argument.name) if argument.kwarg_only or i >= len(args) else args[i]
                found += [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
        return found

    def _keep(self, tensor: Tensor) -> None:
        """Remember memory that was there before the recording, to restore it afterwards."""
        storage = tensor.untyped_storage()
        if storage._cdata not in self._own and storage._cdata not in self._before:
            whole = torch.empty(0, dtype=torch.uint8).set_(storage)
            self._before[storage._cdata] = (whole, whole.clone())


def _alias(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


class OneDevice(TorchDispatchMode):
    """Raises where an operation reads, makes or moves numbers on the host, for which a GPU would wait."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, Tensor) and leaf.numel() and leaf.device.type == "cpu":
                raise HostReadError(f"{function} works on the host")
        return result
