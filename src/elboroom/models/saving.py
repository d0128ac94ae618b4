"""A model as one file: weights as safetensors, and its configuration and data range as JSON in the header."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from elboroom.config import ModelConfig
from elboroom.config.stored import stored_model
from elboroom.errors import FailureError, UsageError
from elboroom.io.files import json_text
from elboroom.io.tensors import first_unusable, misfit, read_tensors, write_tensors

if TYPE_CHECKING:
    from elboroom.models.vae import VAE

FORMAT = 1
HEADER = "elboroom_model"
"""Key of the file's metadata that holds the JSON."""


class _Header(NamedTuple):
    config: ModelConfig | None
    value_range: tuple[float, float]
    data_range: tuple[float, float] | None


class Saved(NamedTuple):
    """What a file of :meth:`elboroom.VAE.save` holds.

    Attributes
    ----------
    path : Path
        The file.
    weights : dict
        Tensors by name, all of them finite.
    config : ModelConfig or None
        None for a model that was composed in Python.
    value_range, data_range
        Those of the model.
    """

    path: Path
    weights: dict[str, Tensor]
    config: ModelConfig | None
    value_range: tuple[float, float]
    data_range: tuple[float, float] | None

    def fill(self, vae: VAE) -> VAE:
        """Give a model the weights and the ranges, and set it to evaluation mode.

        Raises
        ------
        UsageError
            If it has other tensors.
        """
        why = misfit(self.weights, vae.state_dict())
        if why is not None:
            raise UsageError(f"{self.path} does not fit the model: {why}")
        vae.load_state_dict(self.weights)
        vae.value_range, vae.data_range = self.value_range, self.data_range
        return vae.eval()


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


def read_saved(path: Path) -> Saved:
    """Read a file of :meth:`elboroom.VAE.save`, without executing code.

    Raises
    ------
    UsageError
        If it is no such file, is damaged, or was written by a newer version of elboroom.
    FailureError
        If the weights are not finite.
    """
    weights, metadata = read_tensors(path)
    header = _header(path, metadata)
    found = first_unusable(weights)
    if found is not None:
        raise FailureError(f"{path} has no usable model: {found}; train and save it again")
    return Saved(path, weights, *header)


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
        config = None if facts["model"] is None else ModelConfig(**stored_model(facts["model"]))
        data_range = None if facts["data_range"] is None else _pair(facts["data_range"])
        return _Header(config, _pair(facts["value_range"]), data_range)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} is damaged ({error}); save the model again") from None


def _pair(values: Sequence[float]) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)
