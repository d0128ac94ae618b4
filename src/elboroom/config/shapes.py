"""What shapes of examples can be images, and how sizes of images are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator

COLOURS = 4
"""Channels of red, green, blue and alpha; images of more have bands, such as those of a satellite."""


def channels_are_last(shape: Sequence[int]) -> bool:
    """Whether the last axis of images (h, w, c) can be their channels.

    Up to four channels always can; more only if they are fewer than rows and columns, so that the axes of
    (c, h, w) are not mistaken for them.

    Examples
    --------
    >>> channels_are_last((32, 32, 13)), channels_are_last((3, 32, 32)), channels_are_last((13, 32, 32))
    (True, False, False)
    """
    height, width, channels = shape
    return channels <= COLOURS or channels < min(height, width)


class Sides(NamedTuple):
    """Height and width of an image in pixels."""

    height: int
    width: int

    def __str__(self) -> str:
        return str(self.height) if self.height == self.width else f"{self.height}x{self.width}"


_SPARE = 9 / 8  # of images over crops of them: 288 for 256, as is usual
_LONGEST = 4096  # pixels of a side


def read_size(value: object) -> Sides | int | None:
    """Read the size of an image: one number for both sides, (height, width), or such as "192x256".

    Examples
    --------
    >>> read_size("256"), str(read_size("192x256")), read_size([64, 64])
    (256, '192x256', 64)
    """
    if value is None:
        return None
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+)\s*(?:[x×,]\s*(\d+)\s*)?", value)
        value = tuple(int(side[:9]) for side in found.groups() if side is not None) if found else ()
    sides = tuple(value) if isinstance(value, tuple | list) else (value,)
    if not 1 <= len(sides) <= 2 or not all(type(side) is int and 1 <= side <= _LONGEST for side in sides):
        raise ValueError(
            f"must be a number of pixels, 1 to {_LONGEST:,}, or HEIGHTxWIDTH for images that are not square, "
            "such as 192x256"
        )
    height, width = sides[0], sides[-1]
    return height if height == width else Sides(height, width)


Size = Annotated[int | Sides | None, BeforeValidator(read_size)]
"""Type of a field that holds the size of an image, if it holds one."""


def sides_of(size: int | Sequence[int]) -> Sides:
    """Height and width of what `read_size` reads.

    Examples
    --------
    >>> sides_of(64), sides_of((192, 256))
    (Sides(height=64, width=64), Sides(height=192, width=256))
    """
    return Sides(size, size) if isinstance(size, int) else Sides(*size)


def with_spare(size: int | Sequence[int]) -> Sides:
    """Height and width of images that crops of a size are usually taken from.

    Examples
    --------
    >>> with_spare(256)
    Sides(height=288, width=288)
    """
    height, width = sides_of(size)
    return Sides(round(_SPARE * height), round(_SPARE * width))
