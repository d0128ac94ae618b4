"""Searches that face detectors make, and the faces that they return."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from elboroom.data.faces.geometry import Point
from elboroom.data.faces.landmarks import Landmarks

LOOKED_AT = 640
"""Longest side of the picture that is searched first, in pixels."""
SAME = 0.3
"""Boxes that overlap more than this are of one face."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class FoundFace:
    """A face that a detector found: its box ``(x, y, width, height)`` and its landmarks."""

    box: Box
    landmarks: Landmarks

    @property
    def area(self) -> float:
        """Of the box."""
        return self.box[2] * self.box[3]

    def moved(self, move: Callable[[float, float], Point]) -> FoundFace:
        """Return it with every place taken through a function of x and y."""
        x, y, width, height = self.box
        corners = move(x, y), move(x + width, y + height)
        (left, right), (upper, lower) = (sorted(values) for values in zip(*corners, strict=True))
        points = {part: move(*point) for part, point in self.landmarks.points.items()}
        return FoundFace((left, upper, right - left, lower - upper), Landmarks(points, self.landmarks.source))


def overlap(box: Box, other: Box) -> float:
    """Share of the area that two boxes cover together which they have in common.

    Examples
    --------
    >>> overlap((0, 0, 2, 2), (1, 0, 2, 2))
    0.333...
    """
    across = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    down = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    both = max(0.0, across) * max(0.0, down)
    return both / (box[2] * box[3] + other[2] * other[3] - both)


def largest_first(faces: Iterable[FoundFace]) -> list[FoundFace]:
    """Sort faces by the areas of their boxes, the largest first."""
    return sorted(faces, key=lambda face: -face.area)


@dataclass(frozen=True)
class Attempt:
    """One search of a picture: scaled to a longest side, for faces of at least this share of the shorter.

    With `strict`, for a search that may well be in vain, only faces count that are certain.
    """

    side: int
    least: float
    strict: bool = False
