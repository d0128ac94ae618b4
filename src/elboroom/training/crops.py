"""Crops of training images: what the model sees of them, and what cannot be cropped."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from elboroom.config import Config
from elboroom.config.shapes import sides_of, with_spare
from elboroom.data import Dataset
from elboroom.data.centre import Centred, stored_of
from elboroom.data.rows import Array
from elboroom.errors import UsageError


def as_crops(data: Dataset, config: Config) -> Dataset:
    """Show the centre crops of images, where a model is trained on random crops of them.

    Raises
    ------
    UsageError
        If there are no images, or smaller ones.
    """
    size, x = config.data.random_crop, stored_of(data.x)
    if size is None:
        return data if data.x is x else replace(data, x=x)
    if not data.is_image:
        raise UsageError(f"random_crop = {size} crops images, and {data.name} contains none; leave it out")
    sides, (height, width) = sides_of(size), x.shape[1:3]
    if height < sides.height or width < sides.width:
        raise UsageError(
            f"random_crop = {size} is larger than the images of {data.name}, which are {height}×{width} as "
            f"they are read; read them larger, such as with size = {with_spare(size)}, or take smaller crops"
        )
    if data.shape[:2] == sides:
        return data
    share = 100 * sides.height * sides.width / (height * width)
    note = (
        f"training takes random crops of {sides.height}×{sides.width}, {share:.2g} % of each image of "
        f"{height}×{width}; everything else sees the centre crops"
    )
    return replace(data, x=cast(Array, Centred(x, sides)), notes=(*data.notes, note))


def check_shift(data: Dataset, crop: int) -> None:
    """Refuse a margin that an image cannot be reflected into."""
    if not data.is_image:
        raise UsageError(f"crop moves images, and {data.name} contains none; leave it out")
    if crop >= min(data.shape[:2]):
        raise UsageError(
            f"crop = {crop} reflects so many pixels at each side of images of {data.shape[0]}×"
            f"{data.shape[1]}; take at most {min(data.shape[:2]) - 1}, or random_crop = SIZE to cut "
            "smaller images from larger ones"
        )
