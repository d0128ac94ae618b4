"""Weights of networks that others have trained, from files that the user names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from elboroom.errors import UsageError
from elboroom.io.files import explain_reading
from elboroom.io.tensors import first_unusable, read_tensors


def sha256_of(paths: Sequence[str]) -> tuple[str, ...]:
    """SHA-256 of each file, as ``sha256sum`` prints it.

    Raises
    ------
    UsageError
        If one is missing, or is no safetensors file by its name.
    """
    found = []
    for path in map(Path, paths):
        if path.suffix != ".safetensors":
            raise UsageError(
                f"{path}: weights are read from .safetensors only, as other kinds of files can run code; "
                'convert it once: python -c "import torch; from safetensors.torch import save_file; '
                f"save_file(torch.load('{path}', weights_only=True), '{path.with_suffix('.safetensors')}')\""
            )
        if not path.is_file():
            raise UsageError(f"there is no file {path}; give the file of weights where it is now")
        with explain_reading(path), path.open("rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
    return tuple(found)


def read_weights(paths: Sequence[str], expected: Sequence[str] = ()) -> dict[str, Tensor]:
    """Read the tensors of safetensors files into one mapping.

    Parameters
    ----------
    paths : sequence of str
        Files, no two of which have a tensor of one name.
    expected : sequence of str
        SHA-256 of each file; anything goes if it is empty.

    Raises
    ------
    UsageError
        If a file is of another kind, missing, damaged or another one than expected, if two of them have a
        tensor of one name, or if a number is not finite.
    """
    found = sha256_of(paths)
    if expected and len(expected) != len(paths):
        raise UsageError(f"{len(expected)} SHA-256 for {len(paths)} files of weights; give one for each file")
    for path, own, wanted in zip(paths, found, expected, strict=False):
        if own != wanted.lower():
            raise UsageError(
                f"{path} has SHA-256 {own}, and {wanted} is expected: it is another file, or damaged; "
                "give the file that belongs to it"
            )
    tensors: dict[str, Tensor] = {}
    for path in paths:
        more = read_tensors(Path(path))[0]
        for name in tensors.keys() & more.keys():
            raise UsageError(f"{path} has {name}, as another file of weights has; give only one of them")
        tensors |= more
    bad = first_unusable(tensors)
    if bad is not None:
        raise UsageError(f"{' and '.join(paths)}: {bad}; give an intact file of weights")
    return tensors
