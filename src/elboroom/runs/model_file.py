"""Loading of a model that was saved as one file, without a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from elboroom.config import ModelConfig
from elboroom.errors import FailureError, UsageError, is_lack
from elboroom.io.tensors import first_unusable, misfit, read_tensors
from elboroom.models.saving import FORMAT, HEADER
from elboroom.models.vae import VAE


class _Header(NamedTuple):
    config: ModelConfig | None
    value_range: tuple[float, float]
    data_range: tuple[float, float] | None


def load_model(path: Path, into: VAE | None = None) -> VAE:
    """Load a file of :meth:`elboroom.VAE.save`, on the CPU and in evaluation mode."""
    weights, metadata = read_tensors(path)
    header = _header(path, metadata)
    found = first_unusable(weights)
    if found is not None:
        raise FailureError(f"{path} has no usable model: {found}; train and save it again")
    if into is None and header.config is None:
        raise UsageError(
            f"{path} contains a model that was composed in Python; build it again and pass it as in "
            "elboroom.load(path, into=vae)"
        )
    vae = into or built(path, header.config)
    why = misfit(weights, vae.state_dict())
    if why is not None:
        raise UsageError(f"{path} does not fit the model: {why}")
    vae.load_state_dict(weights)
    vae.value_range, vae.data_range = header.value_range, header.data_range
    return vae.eval()


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


def _header(path: Path, metadata: Mapping[str, str]) -> _Header:
    if HEADER not in metadata:
        raise UsageError(f"{path} was not written by VAE.save; give such a file, or the folder of a run")
    try:
        facts = json.loads(metadata[HEADER])
        newer = facts["format"] > FORMAT
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is damaged ({error}); save the model again") from None
    if newer:
        raise UsageError(
            f"{path} has format {facts['format']}, and this version of elboroom reads formats up to "
            f"{FORMAT}; upgrade elboroom"
        )
    try:
        config = None if facts["model"] is None else ModelConfig(**facts["model"])
        data_range = None if facts["data_range"] is None else _pair(facts["data_range"])
        return _Header(config, _pair(facts["value_range"]), data_range)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is damaged ({error}); save the model again") from None


def _pair(values: Sequence[float]) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)
