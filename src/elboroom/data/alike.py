"""Other data than a run was trained on, in the form of its examples: faces, size, white and range alike."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import cast

import numpy as np

from elboroom.data.dataset import Dataset
from elboroom.data.faces.photo_folder import load_photos
from elboroom.data.formats import IMAGE_FOLDER, Options, recognise
from elboroom.data.images import WHITE
from elboroom.data.loading import as_path, load
from elboroom.data.memory import require_memory
from elboroom.data.preparation import PhotoSteps, Preparation, Range
from elboroom.data.rows import chunks

Shape = tuple[int, int, int]


def load_alike(
    source: str | os.PathLike[str],
    made: Preparation,
    shape: tuple[int, ...] | None,
    options: Options,
    *,
    faces: bool = False,
) -> Dataset:
    """Load data for a model that was trained on examples of this preparation and shape.

    In a folder of photos, faces are found and cut out if those of the training examples were. Image files of
    other sizes are cropped and resized, the white of 16-bit files is that of the training images, and where
    training examples were floats, black and white get the values that they have there. For a model of crops
    they get the size of the images that its crops were cut from, unless they have the size of a crop.

    Parameters
    ----------
    source : str or path-like
        As in `elboroom.data.load_data`.
    made : Preparation
        How the training examples were made.
    shape : tuple of int, optional
        Of one example; any if missing.
    options : Options
        What the run asked for when it loaded its own data.
    faces : bool
        Whether faces are to be found in photos where `made` does not say how training examples were made.

    Raises
    ------
    UsageError
        If the data cannot be loaded.
    """
    white = max((each.white for _, each in made.by_label), default=WHITE)
    options = replace(options, white=white if white < WHITE else None)
    if not is_images(shape):
        return load(source, options)
    height, width, channels = cast(Shape, shape)
    height, width = made.stored or (height, width)
    if faces and not made.by_label:
        made = replace(made, kind="faces", by_label=(("", PhotoSteps("detect", (height, width), channels)),))
    path = as_path(os.fspath(source))
    if made.kind == "faces" and path is not None and recognise(path) is IMAGE_FOLDER:
        photos = load_photos(path, made, (height, width, channels), strict=options.strict)
        return in_range(photos, made.value_range)
    data = load(source, options)
    if not of_files(data):
        return data
    if data.shape not in (shape, (height, width, channels)):
        data = load(source, replace(options, size=(height, width), channels=channels))
    return in_range(data, made.value_range)


def of_files(data: Dataset) -> bool:
    """Whether data were decoded from a folder or shards of image files."""
    return data.preparation is not None and data.preparation.kind == "folder"


def is_images(shape: tuple[int, ...] | None) -> bool:
    """Whether examples of a shape are images that files can hold."""
    return shape is not None and shape[2:] in ((1,), (3,))


def in_range(data: Dataset, wanted: Range) -> Dataset:
    """Give black and white of 8-bit images their values in the training examples, if those are floats.

    Examples
    --------
    >>> data = Dataset("a", np.array([0, 255], np.uint8).reshape(2, 1, 1, 1), np.zeros(2), scale=255)
    >>> in_range(data, (-1.0, 1.0)).x.ravel().tolist()
    [-1.0, 1.0]
    """
    low, high = wanted
    if low == 0 and high <= 1:  # as 8-bit training examples have it, whatever their scale
        return data
    require_memory(
        4 * data.x.size, f"{data.name}: 8-bit values are brought to [{low:g}, {high:g}]", data.name
    )
    x, start = np.empty(data.x.shape, np.float32), 0
    for part in chunks(data.x):
        x[start : start + len(part)] = low + part / 255.0 * (high - low)
        start += len(part)
    return replace(data, x=x, scale=1.0)
