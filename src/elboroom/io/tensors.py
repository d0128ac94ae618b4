"""Tensors in safetensors files, written atomically, with a SHA-256 that is checked on reading."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from elboroom.errors import FailureError, UsageError
from elboroom.io.files import explain_reading, json_text, write_atomic

_DIGEST = "sha256"


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors and text to a safetensors file, atomically, with a SHA-256 over all of it."""
    write_atomic(path, tensors_content(tensors, metadata))


def tensors_content(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> Callable[[Path], None]:
    """Return a function that fills a safetensors file, for :func:`write_atomic` and :func:`whole_file`."""
    own: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        kept = tensor.detach().cpu().contiguous()
        # Weights may be shared between layers; the file format wants each for itself.
        own[name] = kept.clone() if kept.untyped_storage().data_ptr() in seen else kept
        seen.add(kept.untyped_storage().data_ptr())
    text = dict(metadata or {})
    text[_DIGEST] = _digest(own, text)

    def fill(path: Path) -> None:
        try:
            save_file(own, path, text)
        except SafetensorError as error:
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from None

    return fill


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file and its metadata, and check its SHA-256 if it contains one.

    Raises
    ------
    UsageError
        If it is cut short, any of its bits has flipped, or it is not a safetensors file.
    FailureError
        If it may not be read, or does not fit into memory.
    """
    if path.is_dir():
        raise _damaged(path, "it is a folder")
    with explain_reading(path), path.open("rb"):  # the library below does not tell damage from permissions
        check_fits(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    stored = metadata.pop(_DIGEST, None)
    # A digest under another name is ours with a bit flipped in the name.
    lost = stored is None and any(re.fullmatch("[0-9a-f]{64}", value) for value in metadata.values())
    if lost or (stored is not None and stored != _digest(tensors, metadata)):
        raise _damaged(path, "its SHA-256 is not the one it was written with")
    return tensors, metadata


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, dtypes, shapes and values, the same on every device."""
    return _digest({name: tensor.detach().cpu() for name, tensor in tensors.items()}, {})


def first_unusable(tensors: Mapping[str, Tensor]) -> str | None:
    """Name the first tensor that cannot be computed with; None if there is none.

    That is one that holds a nan or an infinity, or numbers whose squares overflow in float32.

    Examples
    --------
    >>> first_unusable({"weight": torch.tensor([1.0, torch.nan]), "steps": torch.tensor([2])})
    '1 of the 2 numbers of weight is not finite'
    >>> first_unusable({"weight": torch.tensor([1.0, 1e25])})
    'the numbers of weight are as large as 1e+25'
    """
    found: list[str] = []
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or bool(torch.isfinite(tensor.float().square().sum())):
            continue
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            are = "is" if bad == 1 else "are"
            found.append(f"{bad:,} of the {tensor.numel():,} numbers of {name} {are} not finite")
        else:
            found.append(f"the numbers of {name} are as large as {tensor.abs().max().item():.3g}")
    others = f", and likewise {len(found) - 1} other tensors" if len(found) > 1 else ""
    return f"{found[0]}{others}" if found else None


def check_fits(path: Path) -> None:
    """Refuse a file that is larger than the free memory; its header cannot state more than the file holds.

    Raises
    ------
    FailureError
        With both sizes.
    """
    size, free = path.stat().st_size, psutil.virtual_memory().available
    if size > free:
        raise FailureError(
            f"{path} contains {size / 1e9:,.1f} GB of tensors, and {free / 1e9:,.1f} GB of memory are free; "
            "close other programs, or read it on a larger machine"
        )


def misfit(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """Describe how tensors differ from a model's: the first that differs, and how many; None if they fit.

    Examples
    --------
    >>> misfit({"a": torch.zeros(2), "c": torch.zeros(1)}, {"a": torch.zeros(3), "b": torch.zeros(1)})
    'a is (2,) and the model takes (3,); in all 3 tensors differ'
    """
    different = [name for name in wanted if name not in found or not _alike(found[name], wanted[name])]
    different += [name for name in found if name not in wanted]
    if not different:
        return None
    first = different[0]
    if first not in found:
        what = f"it has no {first}"
    elif first not in wanted:
        what = f"it has {first}, and the model has not"
    else:
        own, kind = tuple(found[first].shape), str(found[first].dtype).removeprefix("torch.")
        kind = f" {kind}" if own == tuple(wanted[first].shape) else ""
        what = f"{first} is {own}{kind} and the model takes {tuple(wanted[first].shape)}"
    more = f"; in all {len(different):,} tensors differ" if len(different) > 1 else ""
    return what + more


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.is_floating_point() == other.is_floating_point()


def _damaged(path: Path, how: str) -> UsageError:
    return UsageError(f"{path} is damaged or cut short ({how}): restore it from a copy or train again")


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """SHA-256 over text, names, dtypes, shapes and values."""
    digest = hashlib.sha256(json_text(sorted(metadata.items())).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json_text([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
