"""Checkpoint files: a tree of dicts, lists, numbers and tensors as one safetensors file, without pickle."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from elboroom.errors import UsageError
from elboroom.io.files import json_text, write_atomic
from elboroom.io.tensors import read_tensors, tensors_content

_TENSOR = "__tensor__"
_ITEMS = "__items__"
_FLOAT = "__float__"


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a tree atomically: its tensors as tensors, everything else as JSON in the file's header."""
    write_atomic(path, state_content(state))


def state_content(state: dict[str, Any]) -> Callable[[Path], None]:
    """Make the content of a checkpoint file, for :func:`elboroom.io.files.whole_file`.

    Raises
    ------
    TypeError
        If the tree holds anything but dicts, lists, tuples, numbers, strings, None and tensors.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = _flatten(state, tensors, "")
    return tensors_content(tensors, {"state": json_text(skeleton)})


def load_state(path: Path) -> dict[str, Any]:
    """Read what :func:`save_state` wrote, bit for bit; tuples become lists.

    Raises
    ------
    UsageError
        If the file is missing, damaged or not a checkpoint.
    """
    if not path.exists():
        raise UsageError(f"no checkpoint at {path}: the run cannot be resumed")
    tensors, metadata = read_tensors(path)
    if "state" not in metadata:
        raise UsageError(f"{path} is not a checkpoint of elboroom")
    try:
        state = _unflatten(json.loads(metadata["state"]), tensors)
    except (
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
    ) as error:  # only in a file of an early version, which has no checksum
        raise UsageError(f"{path} is damaged or cut short ({error}): restore it from a copy") from None
    assert isinstance(state, dict)
    return state


def copy_state(tree: Any) -> Any:
    """Copy a tree into main memory; later changes of the original's tensors do not affect the copy."""
    if isinstance(tree, Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, dict):
        return {key: copy_state(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [copy_state(value) for value in tree]
    return tree


def _flatten(tree: Any, tensors: dict[str, Tensor], name: str) -> Any:
    if isinstance(tree, Tensor):
        while name in tensors:  # a key may contain a slash
            name += "'"
        tensors[name] = tree
        return {_TENSOR: name}
    if isinstance(tree, dict):
        if all(isinstance(key, str) for key in tree):
            return {key: _flatten(value, tensors, f"{name}/{key}".lstrip("/")) for key, value in tree.items()}
        # Optimisers number their parameters, and JSON has no integer keys.
        return {_ITEMS: [[key, _flatten(value, tensors, f"{name}/{key}")] for key, value in tree.items()]}
    if isinstance(tree, list | tuple):
        return [_flatten(value, tensors, f"{name}/{i}") for i, value in enumerate(tree)]
    if isinstance(tree, float) and not math.isfinite(
        tree
    ):  # such as the best value of ReduceLROnPlateau before the first epoch
        return {_FLOAT: str(float(tree))}
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"a checkpoint cannot hold {type(tree).__name__} at {name}")


def _unflatten(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, dict):
        if _TENSOR in tree:
            return tensors[tree[_TENSOR]]
        if _FLOAT in tree:
            return float(tree[_FLOAT])
        if _ITEMS in tree:
            return {key: _unflatten(value, tensors) for key, value in tree[_ITEMS]}
        return {key: _unflatten(value, tensors) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_unflatten(value, tensors) for value in tree]
    return tree


def random_state(device: torch.device) -> dict[str, Tensor]:
    """State of the random generators of training."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Restore the random generators; a state from another kind of device restores that of the CPU only."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
