"""The levels of a convolutional network: their grids and channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from elboroom.errors import UsageError

# Grids are halved down to about this side, from which a linear layer reads the code.
_SMALLEST_SIDE = 4
# Channels double with each halving up to this multiple of the first level's. Without a limit each level would
# have four times the weights of the level before.
_MOST_WIDTHS = 8
# Pixels of an image up to which → channels of the first level, which takes most of a step's time.
_WIDTHS = ((48 * 48, 32), (160 * 160, 24), (math.inf, 16))


class Level(NamedTuple):
    """One resolution of a network: its grid, and by how much it is coarser than the finer one."""

    height: int
    width: int
    channels: int
    stride: tuple[int, int]

    @property
    def numbers(self) -> int:
        """How many numbers its features of one image are."""
        return self.height * self.width * self.channels


def _halves(height: int, width: int) -> tuple[int, int]:
    return math.ceil(height / 2), math.ceil(width / 2)


def _strides(height: int, width: int) -> tuple[int, int]:
    """Halve the sides that then are still at least 4; if neither is, each side that can be halved at all.

    A long side thus catches up with a short one: 17×40 becomes 9×20, 5×10, 5×5.
    """
    roomy = [half >= _SMALLEST_SIDE for half in _halves(height, width)]
    halved = roomy if any(roomy) else [side > 1 for side in (height, width)]
    return 1 + halved[0], 1 + halved[1]


def plan_levels(
    shape: Sequence[int], *, width: int | None = None, levels: int | None = None
) -> tuple[Level, ...]:
    """Choose the grids and channels of a network's levels, finest first.

    Parameters
    ----------
    shape : tuple of int
        Shape of one image, (h, w, c).
    width : int, optional
        Channels of the first level; they double at each level, up to eight times as many. Default: 32, but 24
        for images of more than 48×48 pixels and 16 for more than 160×160.
    levels : int, optional
        How often the image is halved, rounding up; 0 stays at full size. Default: until the
        sides are about 4.

    Raises
    ------
    UsageError
        If the shape is not that of an image, or there are more levels than it can be halved.

    Examples
    --------
    >>> [(level.height, level.width, level.channels) for level in plan_levels((65, 33, 1), width=8)]
    [(33, 17, 8), (17, 9, 16), (9, 5, 32), (5, 5, 64)]
    """
    if len(shape) != 3 or min(shape) < 1:
        raise UsageError(
            f"got examples of shape {tuple(shape)}, and a convolutional network takes images (h, w, c); "
            "use network = 'mlp' for rows"
        )
    check_count("conv_width", width, 1)
    check_count("conv_levels", levels, 0)
    height, across, _ = shape
    if width is None:
        width = next(channels for size, channels in _WIDTHS if height * across <= size)
    plan: list[Level] = []
    while len(plan) < levels if levels is not None else max(_halves(height, across)) >= _SMALLEST_SIDE:
        down, right = _strides(height, across)
        if (down, right) == (1, 1):
            raise UsageError(
                f"conv_levels = {levels}: level {len(plan) + 1} would halve {height}×{across}, which is all "
                f"that is left of a {shape[0]}×{shape[1]} image; use at most {len(plan)}"
            )
        height, across = math.ceil(height / down), math.ceil(across / right)
        channels = width * min(2 ** len(plan), _MOST_WIDTHS)
        plan.append(Level(height, across, channels, (down, right)))
    return tuple(plan) or (Level(height, across, width, (1, 1)),)


def check_count(name: str, value: int | None, least: int) -> None:
    """Refuse a count below ``least``."""
    if value is not None and value < least:
        raise UsageError(f"{name} = {value}: at least {least} is needed")
