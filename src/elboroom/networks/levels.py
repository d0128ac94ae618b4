"""The plan of a convolutional network: which grids, how many channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from elboroom.errors import UsageError

# Grids are halved down to about this side, from which a linear layer reads the code.
_SMALLEST_SIDE = 4
# Channels double with each halving up to this many times the first level's; beyond, each level would
# have four times the weights of the one before.
_MOST_WIDTHS = 8
# Channels of the first level for images of up to so many pixels: most of a step's time goes there.
_WIDTHS = ((48 * 48, 32), (160 * 160, 24), (math.inf, 16))


class Level(NamedTuple):
    """One resolution of a network: its grid, and the factor by which it is coarser than the last."""

    height: int
    width: int
    channels: int
    stride: tuple[int, int]

    @property
    def numbers(self) -> int:
        """Of its features for one image."""
        return self.height * self.width * self.channels


def _halves(height: int, width: int) -> tuple[int, int]:
    return math.ceil(height / 2), math.ceil(width / 2)


def _strides(height: int, width: int) -> tuple[int, int]:
    """Halve the sides that stay ≥ 4 by it; if none does, every side that can be halved at all.

    So a long side catches up with a short one: 17×40 becomes 9×20, 5×10, 5×5.
    """
    roomy = [half >= _SMALLEST_SIDE for half in _halves(height, width)]
    halved = roomy if any(roomy) else [side > 1 for side in (height, width)]
    return 1 + halved[0], 1 + halved[1]


def plan_levels(
    shape: Sequence[int], *, width: int | None = None, levels: int | None = None
) -> tuple[Level, ...]:
    """Grids and channels of the levels of a network, finest first.

    Parameters
    ----------
    shape : tuple of int
        Of one image, (h, w, c).
    width : int, optional
        Channels of the first level; they double with each up to eight times. If not given: 32, but 24
        for images of more than 48×48 pixels and 16 for more than 160×160.
    levels : int, optional
        How often the image is halved, rounding up; 0 works at its full size. If not given, until the
        sides are about 4.

    Raises
    ------
    UsageError
        If the shape is not that of an image, or a level finds nothing left to halve.

    Examples
    --------
    >>> [(level.height, level.width, level.channels) for level in plan_levels((65, 33, 1), width=8)]
    [(33, 17, 8), (17, 9, 16), (9, 5, 32), (5, 5, 64)]
    """
    if len(shape) != 3 or min(shape) < 1:
        raise UsageError(
            f"a convolutional network takes images (h, w, c) and got examples of shape {tuple(shape)}; "
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
                f"conv_levels = {levels}: level {len(plan) + 1} would halve {height}×{across}, which a "
                f"{shape[0]}×{shape[1]} image has become by then; use at most {len(plan)}"
            )
        height, across = math.ceil(height / down), math.ceil(across / right)
        channels = width * min(2 ** len(plan), _MOST_WIDTHS)
        plan.append(Level(height, across, channels, (down, right)))
    return tuple(plan) or (Level(height, across, width, (1, 1)),)


def check_count(name: str, value: int | None, least: int) -> None:
    """Refuse a count below ``least``."""
    if value is not None and value < least:
        raise UsageError(f"{name} = {value}: at least {least} is needed")
