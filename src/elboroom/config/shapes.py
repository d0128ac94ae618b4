"""What shapes of examples can be images."""

from __future__ import annotations

from collections.abc import Sequence

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
