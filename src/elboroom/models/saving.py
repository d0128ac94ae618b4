"""A model as one file: weights as safetensors, and its configuration and data range as JSON in the header."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elboroom.errors import UsageError
from elboroom.io.files import json_text
from elboroom.io.tensors import write_tensors

if TYPE_CHECKING:
    from elboroom.models.vae import VAE

FORMAT = 1
HEADER = "elboroom_model"
"""Key of the file's metadata that holds the JSON."""


def save_model(vae: VAE, path: str | os.PathLike[str]) -> None:
    """Write a model to a file, atomically; see :meth:`elboroom.VAE.save`.

    Raises
    ------
    UsageError
        If ``path`` is no path, a folder or a device, or its folder does not exist.
    FailureError
        If the file cannot be written.
    """
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"path = {path!r}: must be the name of a file, such as 'model.safetensors'")
    target = Path(path)
    if target.is_dir():
        raise UsageError(f"{target} is a folder; give a file, such as {target / 'model.safetensors'}")
    if not target.parent.is_dir():
        raise UsageError(f"cannot write {target}: there is no folder {target.parent}; create it first")
    facts: dict[str, Any] = {
        "format": FORMAT,
        "model": None if vae.config is None else vae.config.model_dump(mode="json"),
        "value_range": vae.value_range,
        "data_range": vae.data_range,
    }
    write_tensors(target, vae.state_dict(), {HEADER: json_text(facts)})
