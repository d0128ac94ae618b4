"""Rooms: a coloured solid in a room, one image for each combination of six factors; no download.

In the manner of 3D Shapes (Burgess and Kim, 2018), but ray-traced by this file alone: a solid in the middle
of a room with a floor and two walls, seen from a camera that goes round it.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FACTORS = {"floor hue": 8, "wall hue": 8, "object hue": 8, "scale": 6, "shape": 4, "orientation": 15}
"""The factors, and how many values each has; the last one changes fastest from example to example."""

SHAPES = ("cube", "cylinder", "sphere", "capsule")

SIDE = 64
_RAYS = 2  # a pixel is the mean of so many rays along each side

_EYE = np.array([0.0, 1.9, -5.2])  # of a camera at orientation 0; the floor is y = 0
_LOOKS_AT = np.array([0.0, 0.75, 0.0])
_FOCUS = 1.75
_WALLS = 3.0  # distance of the two back walls from the middle
_LIGHT = np.array([-0.45, 0.8, -0.4]) / np.linalg.norm([-0.45, 0.8, -0.4])
_FAR = 1e9

Floats = NDArray[np.float64]


class Surface(NamedTuple):
    """What rays meet: how far away, and the direction that faces out, (rays,) and (rays, 3)."""

    distance: Floats
    normal: Floats


def hue(index: int, of: int) -> Floats:
    """Return one of ``of`` evenly spaced colours, red first, as (3,) from 0 to 1."""
    return np.array(colorsys.hsv_to_rgb(index / of, 0.85, 1.0))


def draw_all(out: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw every combination into an array (184320, 64, 64, 3)."""
    sizes = tuple(FACTORS.values())
    images = out.reshape(*sizes, SIDE, SIDE, 3)
    for pose in np.ndindex(*sizes[3:]):
        layers = trace(*pose)
        for hues in np.ndindex(*sizes[:3]):
            images[hues + pose] = paint(layers, *hues)
    return out


def paint(layers: Floats, floor: int, wall: int, solid: int) -> NDArray[np.uint8]:
    """Give a traced room its colours.

    Parameters
    ----------
    layers : numpy.ndarray
        The brightness of floor, walls, solid and highlight in each pixel, (4, 64, 64); see `trace`.
    floor, wall, solid : int
        Hues, counted from 0.

    Returns
    -------
    numpy.ndarray
        uint8 (64, 64, 3).
    """
    sizes = (FACTORS["floor hue"], FACTORS["wall hue"], FACTORS["object hue"])
    colours = [hue(index, of) for index, of in zip((floor, wall, solid), sizes, strict=True)]
    light = np.einsum("khw,kc->hwc", layers, np.stack([*colours, np.ones(3)]))
    return np.asarray(np.rint(255 * np.clip(light, 0, 1)), np.uint8)


def trace(scale: int, shape: int, orientation: int) -> Floats:
    """Follow the camera's rays into the room.

    Parameters
    ----------
    scale, shape, orientation : int
        Values of these factors, counted from 0.

    Returns
    -------
    numpy.ndarray
        How bright floor, walls, solid and its highlight are in each pixel, float64 (4, 64, 64).
    """
    angle = np.deg2rad(np.linspace(-30, 30, FACTORS["orientation"])[orientation])
    size = np.linspace(0.7, 1.15, FACTORS["scale"])[scale]
    eye, rays = _camera(angle)
    solid = _SOLIDS[SHAPES[shape]](eye, rays, size)
    floor = np.where(rays[:, 1] < 0, -eye[1] / np.minimum(rays[:, 1], -1e-12), _FAR)
    walls = _walls(eye, rays)
    nearest = np.stack([floor, walls.distance, solid.distance]).argmin(0)
    met = eye + floor[:, None] * rays
    blocked = _SOLIDS[SHAPES[shape]](met + 1e-6 * _LIGHT, np.broadcast_to(_LIGHT, rays.shape), size)
    shade = np.where(blocked.distance < _FAR, 0.35, 0.8)  # the solid's shadow on the floor
    lit = np.clip((solid.normal @ _LIGHT), 0, 1)
    halfway = _LIGHT - rays
    halfway /= np.linalg.norm(halfway, axis=1, keepdims=True)
    shine = 0.35 * np.clip((solid.normal * halfway).sum(1), 0, 1) ** 40
    layers = np.stack(
        [
            (nearest == 0) * shade,
            (nearest == 1) * np.where(walls.normal[:, 0] > 0, 0.72, 0.58),
            (nearest == 2) * (0.3 + 0.65 * lit),
            (nearest == 2) * shine,
        ]
    )
    return layers.reshape(4, SIDE, _RAYS, SIDE, _RAYS).mean((2, 4))


def _camera(angle: float) -> tuple[Floats, Floats]:
    """Return where the camera is, turned about the middle of the room, and its rays of length 1."""
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    eye = turn @ _EYE
    ahead = _LOOKS_AT - eye
    ahead /= np.linalg.norm(ahead)
    right = np.cross([0.0, 1.0, 0.0], ahead)
    right /= np.linalg.norm(right)
    up = np.cross(ahead, right)
    grid = (np.arange(SIDE * _RAYS) + 0.5) / (SIDE * _RAYS) * 2 - 1
    y, x = np.meshgrid(-grid, grid, indexing="ij")
    rays = x.reshape(-1, 1) * right + y.reshape(-1, 1) * up + _FOCUS * ahead
    return eye, rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _walls(eye: Floats, rays: Floats) -> Surface:
    """Two walls that meet in a corner behind the solid."""
    normals = np.array([[np.sqrt(0.5), 0, -np.sqrt(0.5)], [-np.sqrt(0.5), 0, -np.sqrt(0.5)]])
    away = []
    for normal in normals:
        along = rays @ normal
        distance = (-_WALLS - eye @ normal) / np.where(np.abs(along) < 1e-12, 1e-12, along)
        away.append(np.where((distance > 0) & (along < 0), distance, _FAR))
    which = np.argmin(away, 0)
    return Surface(np.min(away, 0), normals[which])


def _sphere(eye: Floats, rays: Floats, radius: float, height: float | None = None) -> Surface:
    """A ball that lies on the floor, or whose centre is at a height."""
    centre = np.array([0, radius if height is None else height, 0])
    from_centre = np.broadcast_to(eye - centre, rays.shape)
    along = (rays * from_centre).sum(1)
    root = along**2 - (from_centre**2).sum(1) + radius**2
    distance = _ahead(-along - np.sqrt(np.maximum(root, 0)), root >= 0)
    normal = (from_centre + distance[:, None] * rays) / radius
    return Surface(distance, normal)


def _tube(eye: Floats, rays: Floats, radius: float, bottom: float, top: float) -> Surface:
    """The mantle of an upright cylinder."""
    start = np.broadcast_to(eye, rays.shape)
    a = rays[:, 0] ** 2 + rays[:, 2] ** 2
    b = rays[:, 0] * start[:, 0] + rays[:, 2] * start[:, 2]
    root = b**2 - a * (start[:, 0] ** 2 + start[:, 2] ** 2 - radius**2)
    distance = (-b - np.sqrt(np.maximum(root, 0))) / np.maximum(a, 1e-12)
    height = start[:, 1] + distance * rays[:, 1]
    distance = _ahead(distance, (root >= 0) & (height >= bottom) & (height <= top))
    met = start + distance[:, None] * rays
    return Surface(distance, np.stack([met[:, 0], np.zeros(len(rays)), met[:, 2]], 1) / radius)


def _lid(eye: Floats, rays: Floats, radius: float, height: float) -> Surface:
    """The disc on top of a cylinder."""
    start = np.broadcast_to(eye, rays.shape)
    down = np.where(np.abs(rays[:, 1]) < 1e-12, 1e-12, rays[:, 1])
    distance = (height - start[:, 1]) / down
    met = start + distance[:, None] * rays
    distance = _ahead(distance, met[:, 0] ** 2 + met[:, 2] ** 2 <= radius**2)
    return Surface(distance, np.broadcast_to(np.array([0.0, 1.0, 0.0]), rays.shape))


def _cube(eye: Floats, rays: Floats, size: float) -> Surface:
    """A cube that stands on the floor, by the slabs between its faces."""
    half = 0.85 * size
    low, high = np.array([-half, 0, -half]), np.array([half, 2 * half, half])
    safe = np.where(np.abs(rays) < 1e-12, 1e-12, rays)
    first, second = (low - eye) / safe, (high - eye) / safe
    enter, leave = np.minimum(first, second), np.maximum(first, second)
    face = enter.argmax(1)
    distance = _ahead(enter.max(1), enter.max(1) <= leave.min(1))
    normal = np.zeros(rays.shape)
    at = np.arange(len(rays))
    normal[at, face] = -np.sign(rays[at, face])
    return Surface(distance, normal)


def _cylinder(eye: Floats, rays: Floats, size: float) -> Surface:
    radius = 0.85 * size
    return _first(_tube(eye, rays, radius, 0, 2 * radius), _lid(eye, rays, radius, 2 * radius))


def _capsule(eye: Floats, rays: Floats, size: float) -> Surface:
    radius, top = 0.62 * size, 1.7 * size
    body = _tube(eye, rays, radius, radius, top)
    ends = (_sphere(eye, rays, radius), _sphere(eye, rays, radius, top))
    return _first(body, *ends)


def _first(*surfaces: Surface) -> Surface:
    """Return what each ray meets first."""
    distances = np.stack([surface.distance for surface in surfaces])
    which = distances.argmin(0)
    normals = np.stack([surface.normal for surface in surfaces])
    return Surface(distances.min(0), normals[which, np.arange(len(which))])


def _ahead(distance: Floats, met: NDArray[np.bool_]) -> Floats:
    """Return the distance where a ray meets a surface in front of it, else one that is out of the room."""
    return np.where(met & (distance > 1e-9), distance, _FAR)


_SOLIDS: dict[str, Callable[[Floats, Floats, float], Surface]] = {
    "cube": _cube,
    "cylinder": _cylinder,
    "sphere": _sphere,
    "capsule": _capsule,
}
