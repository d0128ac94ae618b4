"""Examples that the user names: an image file, or an index into a data set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elboroom.cli.console import console
from elboroom.cli.inputs.model import condition_vector, described, named_condition
from elboroom.cli.inputs.photos import named_photo, read_photo
from elboroom.cli.inputs.row_names import place_of, rows_moved
from elboroom.cli.inputs.run_data import seen_data
from elboroom.cli.options import Prepare
from elboroom.data import Dataset
from elboroom.errors import UsageError
from elboroom.evaluation.examples import examples_of, to_levels
from elboroom.models.conditioning import Examples
from elboroom.models.vae import VAE, Array
from elboroom.runs.run import Run

_INDEXED = re.compile(r"(?P<source>.+?)(:(?P<part>train|test|validation))?:(?P<index>-?\d+)")


def read_example(
    name: str, vae: VAE, run: Run, *, prepare: Prepare = "auto", label: str | None = None
) -> Array:
    """Read one example (*shape) in model units, from an image file or "SET:7", "SET:test:7", ":7".

    Parameters
    ----------
    name : str
        An image file, followed by ":2" for the second largest face; or a data set and an index into it or
        into one of its parts. Without a name, the data set is the run's own.
    vae, run
        The model, which sets shape and units, and the run, which has the data.
    prepare : {"auto", "faces", "crop", "none"}
        How image files are prepared; see `elboroom.cli.inputs.photos.read_photo`.
    label : str, optional
        The condition of an image, for a conditional model; an example of a data set has its own.

    Raises
    ------
    UsageError
        If there is no such file or example, its shape is not the model's, or its condition is unknown.
    """
    if name.startswith(":"):
        if run.config.data.source is None:
            raise UsageError(
                f"{name}: {run.path} does not record its data; name a data set, as in mnist{name}"
            )
        name = f"{run.config.data.source}{name}"
    indexed = _INDEXED.fullmatch(name)
    condition = named_condition(vae, label)
    if indexed and named_photo(name) is None:
        return _indexed_example(indexed, vae, run, condition)
    if vae.condition is not None and condition is None:
        raise UsageError(
            f"{name}: the model is conditional on {vae.condition.describe()}; give its condition with --label"
        )
    x = _image_example(name, vae, run, prepare)
    return x if condition is None else Examples(x, condition)


def _image_example(name: str, vae: VAE, run: Run, prepare: Prepare) -> NDArray[np.float32]:
    """Read an image file in model units."""
    if len(vae.shape) != 3:
        raise UsageError(
            f"{name}: the model takes {described(vae.shape)}, not images; give an example as SET:INDEX"
        )
    named = named_photo(name)
    if named is None:
        raise UsageError(
            f"no image at {name}; give an image file, or an example as SET:INDEX, such as mnist:7"
        )
    path, face = named
    photo = read_photo(path, vae.shape, run, prepare, face)
    if photo.how:
        console().print(f"{name}: {photo.how}")
    black, white = vae.value_range
    x = (black + photo.pixels / 255.0 * (white - black)).astype(np.float32)
    return to_levels(vae, x, run.config.data.binarize)


def _indexed_example(indexed: re.Match[str], vae: VAE, run: Run, condition: NDArray[Any] | None) -> Array:
    source, part, index = indexed["source"], indexed["part"] or "all", int(indexed["index"])
    data = seen_data(run, vae, source)
    chosen = data.indices(part)  # type: ignore[arg-type]
    if not 0 <= index < len(chosen):
        what = f"{part} examples" if part != "all" else "examples"
        raise UsageError(
            f"{indexed[0]}: {source} has {len(chosen):,} {what}; the index is 0 to {len(chosen) - 1}"
        )
    if rows_moved(data):
        console().print(f"{indexed[0]} is row {place_of(data, int(chosen[index]))} of {data.name}")
    if condition is not None:
        return Examples(data.values(chosen[index : index + 1])[0], condition)
    return example_of(vae, data, int(chosen[index]))


def example_of(vae: VAE, data: Dataset, row: int) -> Array:
    """Read one example (*shape) of a data set, its condition as a vector, as --label gives it."""
    example = examples_of(vae, data, np.array([row]))[0]
    if isinstance(example, Examples):
        return Examples(example.x, condition_vector(vae, example.condition))
    return example


def distinct_stems(names: Sequence[str]) -> list[str]:
    """Name the pictures of image files or of SET:INDEX, numbered where two have the same name."""
    result: list[str] = []
    for name in map(_stem, names):
        free, number = name, 1
        while free in result:
            number += 1
            free = f"{name}-{number}"
        result.append(free)
    return result


def _stem(name: str) -> str:
    photo = named_photo(name)
    if photo is None:
        return Path(name).name.replace(":", "-").strip("-")
    path, face = photo
    return path.stem if face is None else f"{path.stem}-{face + 1}"
