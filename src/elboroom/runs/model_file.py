"""Loading of a model that was saved as one file, without a run."""

from __future__ import annotations

from pathlib import Path

from elboroom.config import ModelConfig
from elboroom.errors import FailureError, UsageError, is_lack
from elboroom.models.saving import read_saved
from elboroom.models.vae import VAE


def load_model(path: Path, into: VAE | None = None) -> VAE:
    """Load a file of :meth:`elboroom.VAE.save`, on the CPU and in evaluation mode."""
    saved = read_saved(path)
    if into is None and saved.config is None:
        raise UsageError(
            f"{path} contains a model that was composed in Python; build it again and pass it as in "
            "elboroom.load(path, into=vae)"
        )
    return saved.fill(into or built(path, saved.config))


def built(path: Path, config: ModelConfig | None) -> VAE:
    """Build the model that ``path`` describes.

    Raises
    ------
    FailureError
        If it does not fit into memory.
    """
    try:
        return VAE.build(config)
    except (MemoryError, RuntimeError) as error:
        if not is_lack(error):
            raise
    raise FailureError(f"the model that {path} describes does not fit into memory")
