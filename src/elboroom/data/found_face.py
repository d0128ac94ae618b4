"""What face detectors are asked and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from elboroom.data.face_geometry import Point
from elboroom.data.landmarks import Landmarks

LOOKED_AT = 640
"""Longest side of the picture that is searched first, in pixels."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class FoundFace:
    """A face that a detector found: its box ``(x, y, width, height)`` and its landmarks."""

    box: Box
    landmarks: Landmarks

    def moved(self, move: Callable[[float, float], Point]) -> FoundFace:
        """Return it with every place taken through a function of x and y."""
        x, y, width, height = self.box
        corners = move(x, y), move(x + width, y + height)
        (left, right), (upper, lower) = (sorted(values) for values in zip(*corners, strict=True))
        points = {part: move(*point) for part, point in self.landmarks.points.items()}
        return FoundFace((left, upper, right - left, lower - upper), Landmarks(points, self.landmarks.source))


def largest_first(faces: Iterable[FoundFace]) -> list[FoundFace]:
    """Sort faces by the areas of their boxes, the largest first."""
    return sorted(faces, key=lambda face: -face.box[2] * face.box[3])


@dataclass(frozen=True)
class Attempt:
    """One search of a picture: scaled to a longest side, for faces of at least this share of the shorter.

    With `strict`, for a search that may well be in vain, only faces count that are certain.
    """

    side: int
    least: float
    strict: bool = False
