"""What can differ between a photo and those a model has learned: qualities, and changes that match them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter

from elboroom.evaluation.cosine_spectrum import FINE, band

Floats = NDArray[np.float64]
Picture = Callable[[Floats], Floats]

SHADING = 0.125  # of the highest frequency that pixels can hold: below it lies shading
_HALVINGS = 20
_WIDEST_BLUR = 8.0  # standard deviation, in pixels


class Placement(NamedTuple):
    """How a picture is moved: down and to the right in pixels, turned clockwise in degrees, and enlarged."""

    down: float = 0.0
    right: float = 0.0
    turn: float = 0.0
    scale: float = 1.0

    def describe(self) -> str:
        """Say it in words.

        Examples
        --------
        >>> Placement(down=-2.0, scale=1.1).describe(), Placement().describe()
        ('moved up by 2 px, enlarged by 10 %', 'left where it is')
        """
        words = []
        for name, other, by in (("down", "up", self.down), ("right", "left", self.right)):
            words += [f"{name if by > 0 else other} by {abs(by):.3g} px"] if by else []
        parts = ["moved " + " and ".join(words)] if words else []
        if self.turn:
            sense = "clockwise" if self.turn > 0 else "anticlockwise"
            parts.append(f"turned {sense} by {abs(self.turn):.3g}°")
        if self.scale != 1:
            size = "enlarged" if self.scale > 1 else "made smaller"
            parts.append(f"{size} by {100 * abs(self.scale - 1):.0f} %")
        return ", ".join(parts) or "left where it is"

    def turned(self) -> Floats:
        """Matrix of the turn: rows run down, so that it turns what is seen clockwise."""
        angle = np.deg2rad(self.turn)
        return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])

    def undone(self) -> Placement:
        """The placement that takes it back.

        Examples
        --------
        >>> Placement(down=3.0, scale=2.0).undone()
        Placement(down=-1.5, right=0.0, turn=0.0, scale=0.5)
        """
        down, right = -self.turned().T @ np.array([self.down, self.right]) / self.scale
        return Placement(float(down), float(right) + 0.0, 0.0 - self.turn, 1 / self.scale)


def brightness(pictures: Floats) -> Floats:
    """Mean of each picture, (n,), of pictures (n, h, w, c) in [0, 1]."""
    return np.asarray(pictures.mean((1, 2, 3)))


def contrast(pictures: Floats) -> Floats:
    """Standard deviation of each picture's pixels about the mean of their channel, (n,)."""
    return np.sqrt(_variance(pictures))


def saturation(pictures: Floats) -> Floats:
    """Mean standard deviation of a pixel's channels, (n,): 0 if they are grey."""
    return np.asarray(pictures.std(3).mean((1, 2)))


def fine_detail(pictures: Floats) -> Floats:
    """Share of each picture's variance in the upper half of its cosine spectrum, (n,)."""
    return _energy(pictures, pictures, FINE, np.inf)


def unexplained(pictures: Floats, others: Floats) -> Floats:
    """Squared error of others as a share of each picture's variance, (n,): 1 for its mean colour."""
    return np.asarray(np.square(pictures - others).mean((1, 2, 3)) / _variance(pictures))


def unexplained_shading(pictures: Floats, others: Floats) -> Floats:
    """The part of `unexplained` in the lowest eighth of the spectrum, the mean included, (n,)."""
    return _energy(pictures - others, pictures, -1.0, SHADING)


def unexplained_detail(pictures: Floats, others: Floats) -> Floats:
    """The rest of `unexplained`, (n,): that of all finer than shading."""
    return _energy(pictures - others, pictures, SHADING, np.inf)


@dataclass(frozen=True)
class Way:
    """A change of a picture (h, w, c), and how what a model makes of it is taken back."""

    what: str
    forward: Picture
    back: Picture

    def then(self, other: Way) -> Way:
        """Both changes, one after the other."""
        return Way(
            f"{self.what}; {other.what}",
            lambda x: other.forward(self.forward(x)),
            lambda x: self.back(other.back(x)),
        )


def with_brightness(picture: Floats, target: float) -> Way:
    """Add a constant, so that the mean is the target."""
    by = target - float(picture.mean())
    return Way(
        _from_to("brightness", picture.mean(), target), lambda x: np.clip(x + by, 0, 1), lambda x: x - by
    )


def with_contrast(picture: Floats, target: float, mean: float) -> Way:
    """Stretch and shift, so that the standard deviation is the target, and the mean is as given."""
    found, middle = float(contrast(picture[None])[0]), float(picture.mean())
    return Way(
        f"{_from_to('contrast', found, target)}, {_from_to('brightness', middle, mean)}",
        lambda x: np.clip(mean + (x - middle) * (target / found), 0, 1),
        lambda x: middle + (x - mean) * (found / target),
    )


def with_saturation(picture: Floats, target: float) -> Way:
    """Stretch colours about their greys; a picture without colour stays grey."""
    found = float(saturation(picture[None])[0])
    by = target / found if found > 0 and target > 0 else 1.0
    return Way(
        _from_to("saturation", found, target),
        lambda x: np.clip(_stretched(x, by), 0, 1),
        lambda x: _stretched(x, 1 / by),
    )


def softened(picture: Floats, target: float) -> Way:
    """Blur until the share of fine detail has come down to the target; what is lost is not given back."""
    low, high = 0.0, _WIDEST_BLUR
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        enough = fine_detail(_blurred(picture, middle)[None])[0] <= target
        low, high = (low, middle) if enough else (middle, high)
    found = fine_detail(picture[None])[0]
    return Way(_from_to("fine detail", found, target), lambda x: _blurred(x, high), lambda x: x)


def moved(placement: Placement) -> Way:
    """Move, turn and enlarge."""
    return Way(placement.describe(), lambda x: placed(x, placement), lambda x: placed(x, placement.undone()))


def placed(picture: Floats, placement: Placement) -> Floats:
    """Move a picture (h, w, c), interpolated between pixels and mirrored at its edges."""
    # From where each pixel comes.
    turn = placement.turned().T / placement.scale
    middle = (np.array(picture.shape[:2]) - 1) / 2
    offset = middle - turn @ (middle + np.array([placement.down, placement.right]))
    channels = np.moveaxis(picture, 2, 0)
    return np.stack([affine_transform(one, turn, offset, order=1, mode="mirror") for one in channels], 2)


def _from_to(name: str, found: float, target: float) -> str:
    return f"{name} from {found:.3g} to {target:.3g}"


def _stretched(x: Floats, by: float) -> Floats:
    grey = x.mean(2, keepdims=True)
    return np.asarray(grey + (x - grey) * by)


def _variance(pictures: Floats) -> Floats:
    return np.asarray(pictures.var((1, 2)).mean(1))


def _blurred(picture: Floats, sigma: float) -> Floats:
    return np.asarray(gaussian_filter(picture, (sigma, sigma, 0), mode="mirror"))


def _energy(residuals: Floats, pictures: Floats, low: float, high: float) -> Floats:
    """Mean square of a band of the residuals' spectrum, over the variance of the pictures."""
    _, height, width, _ = residuals.shape
    spectrum = band(residuals, low, high)
    return np.asarray(np.square(spectrum).mean(2).sum(1) / (height * width) / _variance(pictures))
