"""The network of published Fréchet distances, from a file of its weights."""

from __future__ import annotations

from pathlib import Path

from elboroom.errors import UsageError
from elboroom.evaluation.inception import Inception
from elboroom.io.tensors import fingerprint, read_tensors


def read_inception(path: Path) -> Inception:
    """Read Inception's weights from a safetensors file.

    Raises
    ------
    UsageError
        If it is another kind of file, or holds other weights.
    """
    path = path.expanduser()
    if path.suffix != ".safetensors":
        raise UsageError(
            f"--features {path}: give Inception's weights as .safetensors; files of other kinds can run "
            "code when they are read (docs/measures.md has the line that converts the published one)"
        )
    weights = read_tensors(path)[0]
    try:
        return Inception(weights, fingerprint(weights))
    except UsageError as error:
        raise UsageError(f"--features {path}: {error}") from None
