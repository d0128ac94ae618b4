"""A model as a folder to share, and on the Hugging Face hub; see the methods of :class:`elboroom.VAE`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elboroom.config import ModelConfig
from elboroom.errors import UsageError, shortened
from elboroom.hub import fetched, push, write_folder
from elboroom.models.saving import Saved, read_saved, save_model

if TYPE_CHECKING:
    from elboroom.models.vae import VAE


def save_folder(vae: VAE, folder: str | os.PathLike[str], run: Any, license: str | None) -> None:
    """Write a folder to share; see :meth:`elboroom.VAE.save_pretrained`."""
    write_folder(Path(folder), partial(save_model, vae), _config(vae), run=_folder_of(run), license=license)


def push_model(vae: VAE, repo: str, run: Any, license: str | None, **options: Any) -> str:
    """Upload a model; see :meth:`elboroom.VAE.push_to_hub`."""
    save = partial(save_model, vae)
    return push(repo, save, _config(vae), run=_folder_of(run), license=license, **options)


def load_shared(source: str | os.PathLike[str], revision: str | None = None) -> Saved:
    """Read a shared model, with its configuration.

    Raises
    ------
    UsageError
        If there is none, it is damaged, or it was composed in Python.
    FailureError
        If the hub does not answer, and the cache does not have it.
    """
    saved = read_saved(fetched(source, revision))
    if saved.config is None:
        raise UsageError(f"{source} contains a model that was composed in Python, which has no configuration")
    return saved


def _config(vae: VAE) -> ModelConfig:
    if vae.config is None:
        raise UsageError(
            "this model was composed in Python, and others could not build it again; share its weights with "
            "vae.save(path) and the code that composes it"
        )
    return vae.config


def _folder_of(run: Any) -> Path | None:
    if run is None:
        return None
    path = getattr(run, "path", run)
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"run = {shortened(run)}: must be a Run or the folder of one")
    return Path(path)
