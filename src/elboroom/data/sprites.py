"""dSprites from its geometry: white shapes on black, every combination of five factors; no download.

The shapes' sizes were measured on published images of the set (Matthey et al., 2017, Apache-2.0), which this
drawing reproduces but for about one pixel in 60,000; ``tests/data/test_sprites.py`` compares them.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

FACTORS = {"shape": 3, "scale": 6, "orientation": 40, "x": 32, "y": 32}
"""The factors, and how many values each has; the last one changes fastest from example to example."""

SHAPES = ("square", "ellipse", "heart")

SIDE = 64
_HALF_SIDE = 9.6  # of the square, in pixels at scale 1
_HALF_AXES = (12.76, 7.22)
# The heart's radius over its angle from the notch, 0 to half a turn, as Chebyshev coefficients.
_HEART = (
    *(8.01563, -0.50565, -0.5993, 2.53783, -0.28387, 0.06789, 0.15589, 0.15505, 0.01045, 0.01154),
    *(0.04819, 0.03267, 0.00459, 0.01248, 0.01597, 0.00772, 0.00643, 0.00169, 0.00578),
)
_WINDOW = 14  # pixels from the centre beyond which no shape reaches

Floats = NDArray[np.float64]


def draw_all(out: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw every combination into an array ``(737280, 64, 64, 1)``, as 0 and 1."""
    positions = FACTORS["x"] * FACTORS["y"]
    poses = np.ndindex(FACTORS["shape"], FACTORS["scale"], FACTORS["orientation"])
    for number, pose in enumerate(poses):
        images = draw_places(*pose).reshape(positions, SIDE, SIDE)
        out[number * positions : (number + 1) * positions, ..., 0] = images
    return out


def draw_places(shape: int, scale: int, orientation: int) -> NDArray[np.uint8]:
    """Draw one shape of one size and orientation at all places.

    Parameters
    ----------
    shape, scale, orientation : int
        Values of these factors, counted from 0.

    Returns
    -------
    numpy.ndarray
        uint8 (32, 32, 64, 64): by x, y, row and column; 1 inside of the shape.
    """
    size = 0.5 + 0.1 * scale
    angle = 2 * np.pi * orientation / (FACTORS["orientation"] - 1)
    centres = 15.5 + 32 * np.arange(FACTORS["x"]) / (FACTORS["x"] - 1)
    firsts = np.ceil(centres - _WINDOW).astype(int)
    window = np.arange(2 * _WINDOW)
    from_centre = firsts[:, None] + window - centres[:, None]  # (32, 28), of columns and of rows alike
    dx, dy = from_centre[:, None, None, :], from_centre[None, :, :, None]
    inside = _inside(SHAPES[shape], dx / size, dy / size, angle)
    images = np.zeros((FACTORS["x"], FACTORS["y"], SIDE, SIDE), np.uint8)
    for i, left in enumerate(firsts):
        for j, top in enumerate(firsts):
            images[i, j, top : top + len(window), left : left + len(window)] = inside[i, j]
    return images


def _inside(shape: str, dx: Floats, dy: Floats, angle: float) -> NDArray[np.bool_]:
    """Which offsets from the centre, right and down, in units of the scale, lie inside of a turned shape."""
    along = dx * np.cos(angle) - dy * np.sin(angle)
    across = dx * np.sin(angle) + dy * np.cos(angle)
    if shape == "square":
        return (np.abs(along) <= _HALF_SIDE) & (np.abs(across) <= _HALF_SIDE)
    if shape == "ellipse":
        return (along / _HALF_AXES[0]) ** 2 + (across / _HALF_AXES[1]) ** 2 <= 1
    from_notch = np.abs(np.arctan2(along, -across)) / np.pi
    return np.asarray(along**2 + across**2 <= chebyshev.chebval(2 * from_notch - 1, _HEART) ** 2)
