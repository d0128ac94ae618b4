"""Where the parts of a face belong in a crop, and how a photo is turned and scaled to bring them there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from elboroom.data.dataset import Array

Point = tuple[float, float]
Points = Mapping[str, Point]

PARTS = ("left_eye", "right_eye", "nose", "mouth")

# In fractions of a square crop, x to the right and y down, "left" as seen in the picture. Measured on sets of
# aligned faces: the centres of the dark spots in the mean picture, and for a person's nose and mouth the
# median of detected ones. A dog's nose lies where a person's mouth is, so that one can turn into the other.
TEMPLATES: dict[str, dict[str, Point]] = {
    "person": {
        "left_eye": (0.291, 0.286),
        "right_eye": (0.692, 0.286),
        "nose": (0.492, 0.520),
        "mouth": (0.491, 0.692),
    },
    "dog": {"left_eye": (0.314, 0.337), "right_eye": (0.688, 0.337), "nose": (0.500, 0.686)},
}

_FLAT = (
    0.15  # nose or mouth nearer to the line of the eyes than this many eye distances: no face seen from ahead
)
_ODD = 0.3  # largest mean distance of the parts from where they belong, in eye distances
_TURNED = 0.5  # eyes closer than this share of their distance in the template are of a head turned away
_LOW = 0.68  # noses lower than this, in eye distances, are those of dogs
_NEAR = 3.0  # eyes closer than this many pixels say too little about direction and size


class FaceError(ValueError):
    """A photo's landmarks cannot be those of a face that can be aligned; the text says why."""


def similarity(source: Array, target: Array) -> Array:
    """Fit the turn, uniform scale and shift that bring points closest to others in least squares.

    The closed form of Umeyama (1991, doi:10.1109/34.88573) for the plane without reflection: with points as
    centred complex numbers p, q, the turn and scale are ``Σ p̄ q / Σ |p|²``.

    Parameters
    ----------
    source, target : numpy.ndarray
        ``(n, 2)``, n of 2 or more, not all of `source` in one place.

    Returns
    -------
    numpy.ndarray
        ``(2, 3)``: ``[[a, -b, x], [b, a, y]]``, which takes a point ``(u, v, 1)`` of `source` to `target`.

    Raises
    ------
    FaceError
        If there are fewer than 2 points, or all are in one place.

    Examples
    --------
    >>> similarity(np.array([[0, 0], [1, 0]]), np.array([[5, 5], [5, 7]])).round(9) + 0.0
    array([[ 0., -2.,  5.],
           [ 2.,  0.,  5.]])
    """
    p, q = (np.asarray(points, dtype=np.float64) @ (1, 1j) for points in (source, target))
    if len(p) < 2:
        raise FaceError(f"{len(p)} landmarks say nothing of direction and size; at least 2 are needed")
    centred = p - p.mean()
    size = float(np.vdot(centred, centred).real)
    if not size > 1e-12 * max(1.0, float(np.abs(p).max()) ** 2):
        raise FaceError("has all landmarks in one place")
    turn = complex(np.vdot(centred, q - q.mean())) / size
    shift = complex(q.mean() - turn * p.mean())
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def apply(transform: Array, points: Array) -> Array:
    """Take points ``(n, 2)`` through a ``(2, 3)`` transform."""
    return np.asarray(points) @ transform[:, :2].T + transform[:, 2]


def inverted(transform: Array) -> Array:
    """Return the ``(2, 3)`` transform that undoes another."""
    back = np.linalg.inv(transform[:, :2])
    return np.column_stack([back, -back @ transform[:, 2]])


def placed(template: str, size: tuple[int, int]) -> dict[str, Point]:
    """Positions of a template's parts in pixels of a crop of ``(height, width)``.

    The template's square is as wide as the shorter side, in the middle of the crop.
    """
    height, width = size
    side = min(size)
    left, upper = (width - side) / 2, (height - side) / 2
    return {part: (left + x * side, upper + y * side) for part, (x, y) in TEMPLATES[template].items()}


def fit_face(points: Points, template: str, size: tuple[int, int]) -> Array:
    """Return the transform from a photo's pixels to those of a crop.

    Raises
    ------
    FaceError
        If the landmarks cannot be those of a face seen from ahead; the text says why.
    """
    target = placed(template, size)
    known = [part for part in PARTS if part in points and part in target]
    if not {"left_eye", "right_eye"} <= set(known):
        raise FaceError("has no landmarks for both eyes")
    _check_plausible(points)
    source = np.array([points[part] for part in known])
    wanted = np.array([target[part] for part in known])
    transform = similarity(source, wanted)
    apart = np.linalg.norm(wanted[1] - wanted[0])
    fitted = apply(transform, source)
    if np.linalg.norm(fitted[1] - fitted[0]) < _TURNED * apart:
        raise FaceError("has eyes so close that the head must be turned away")
    if np.linalg.norm(fitted - wanted, axis=1).mean() > _ODD * apart:
        raise FaceError("has landmarks that do not lie like those of a face seen from ahead")
    return transform


def _check_plausible(points: Points) -> None:
    left, right = (complex(*points[part]) for part in ("left_eye", "right_eye"))
    apart = abs(right - left)
    if apart < _NEAR:
        raise FaceError(f"has eyes {apart:.1f} pixels apart, which is too close to align")
    for part in ("nose", "mouth"):
        if part in points:
            below = ((complex(*points[part]) - left) / (right - left)).imag  # in eye distances
            if below < -_FLAT:
                raise FaceError(f"has its {part} above its eyes; left and right eye may be swapped")
            if below < _FLAT:
                raise FaceError(f"has its {part} on the line of its eyes")


def nearest_template(faces: Iterable[Points]) -> str:
    """Name the template for faces of one kind: "dog" if their noses lie low, else "person".

    Below the line of the eyes a nose lies 0.58 eye distances in people, and 0.93 in dogs, whose tilted heads
    bring that down to some 0.7 in the median. Without noses it is unknown.
    """
    depths = []
    for points in faces:
        if all(part in points for part in ("left_eye", "right_eye", "nose")):
            left, right, nose = (complex(*points[part]) for part in ("left_eye", "right_eye", "nose"))
            if abs(right - left) >= _NEAR:
                depths.append(((nose - left) / (right - left)).imag)
    return "dog" if depths and float(np.median(depths)) > _LOW else "person"


def outside(transform: Array, photo: tuple[int, int], size: tuple[int, int]) -> float:
    """Share of a crop of ``size = (height, width)`` that lies beyond a photo of ``(height, width)``."""
    steps = 32
    down, right = np.meshgrid(*((np.arange(steps) + 0.5) / steps * side for side in size), indexing="ij")
    found = apply(inverted(transform), np.column_stack([right.ravel(), down.ravel()]))
    inside = (found >= 0).all(axis=1) & (found[:, 0] <= photo[1]) & (found[:, 1] <= photo[0])
    return 1.0 - float(inside.mean())


def cut(image: Any, transform: Array, size: tuple[int, int]) -> Array:
    """Cut a face out of a photo without aliasing; beyond its edges it is mirrored and blurred.

    Parameters
    ----------
    image : PIL.Image.Image
        The upright photo, mode L or RGB.
    transform : numpy.ndarray
        ``(2, 3)``, from the photo's pixels to the crop's.
    size : (int, int)
        Height and width of the crop.

    Returns
    -------
    numpy.ndarray
        uint8 ``(h, w, c)``.
    """
    from PIL import Image

    height, width = size
    fine = np.diag([2.0, 2.0]) @ transform  # the crop is drawn at twice its size and then brought down
    back = inverted(fine)
    corners = apply(back, np.array([[0, 0], [2 * width, 0], [0, 2 * height], [2 * width, 2 * height]]))
    margin = 3.0 / min(1.0, float(np.hypot(*fine[:, 0])))
    low = np.floor(corners.min(axis=0) - margin).astype(int)
    high = np.ceil(corners.max(axis=0) + margin).astype(int)
    upper_left = np.clip(low, 0, np.array(image.size) - 1)
    lower_right = np.clip(high, upper_left + 1, image.size)
    part = image.crop((*upper_left.tolist(), *lower_right.tolist()))
    shrunk = np.maximum(1, np.rint(np.array(part.size) * min(1.0, float(np.hypot(*fine[:, 0])))))
    ratio = shrunk / part.size  # of each axis, as whole pixels do not keep the scale exactly
    if (ratio < 1).any():
        part = part.resize(tuple(shrunk.astype(int).tolist()), Image.Resampling.HAMMING)
    before = np.ceil((upper_left - low) * ratio).astype(int)
    after = np.ceil((high - lower_right) * ratio).astype(int)
    padded = _mirrored(part, before, after, 0.1 * min(size))
    matrix = ratio[:, None] * back  # from the large crop to the padded part
    matrix[:, 2] += before - upper_left * ratio
    large = padded.transform(
        (2 * width, 2 * height), Image.Transform.AFFINE, matrix.ravel().tolist(), Image.Resampling.BICUBIC
    )
    crop = large.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(crop, dtype=np.uint8).reshape(height, width, -1)


def _mirrored(image: Any, before: Array, after: Array, radius: float) -> Any:
    """Extend an image by (x, y) pixels before and after; the farther out, the more blurred it is.

    Black would be learnt as part of the face, drawn-out edges are streaks, and a sharp mirror image may hold
    a second mouth.
    """
    from PIL import Image, ImageFilter

    if not (before.any() or after.any()):
        return image
    pads = ((before[1], after[1]), (before[0], after[0]))
    pixels = np.asarray(image)
    padded = Image.fromarray(np.pad(pixels, (*pads, (0, 0))[: pixels.ndim], mode="symmetric"))
    # Zero within the image, and outside growing to full over three radii.
    ramps = [
        np.concatenate([np.arange(first, 0, -1), np.zeros(side), np.arange(1, last + 1)])
        for (first, last), side in zip(pads, pixels.shape, strict=False)
    ]
    away = np.maximum.outer(*ramps) / (3 * radius)
    mask = Image.fromarray((away.clip(0, 1) * 255).astype(np.uint8))
    return Image.composite(padded.filter(ImageFilter.GaussianBlur(radius)), padded, mask)
