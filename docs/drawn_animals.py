"""Small generated drawings of people's and dogs' faces, for the tutorial that works without photos."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_SIDE, _SCALE = 32, 4  # drawn four times as large and reduced, for smooth edges


def person(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one person: an oval face with hair, eyes and a mouth, each a little different."""
    image = Image.new("L", (_SIDE * _SCALE,) * 2, int(rng.integers(170, 200)))
    pen = ImageDraw.Draw(image)
    skin, hair = int(rng.integers(190, 240)), int(rng.integers(20, 110))
    wide, tall = rng.uniform(30, 36), rng.uniform(38, 44)
    _oval(pen, 64, 60, wide + 6, tall + 4, hair)
    _oval(pen, 64, 70, wide, tall, skin)
    for side in (-1, 1):
        _oval(pen, 64 + side * rng.uniform(12, 15), 62, 4, 4, 30)
    smile = rng.uniform(2, 8)
    pen.arc((50, 78 - smile, 78, 90 + smile), 20, 160, fill=60, width=4)
    pen.line((64, 64, 64, 76), fill=skin - 50, width=3)
    return _reduced(image)


def dog(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one dog: hanging or standing ears, a muzzle and a black nose, each a little different."""
    image = Image.new("L", (_SIDE * _SCALE,) * 2, int(rng.integers(170, 200)))
    pen = ImageDraw.Draw(image)
    fur = int(rng.integers(70, 150))
    muzzle = min(240, fur + int(rng.integers(50, 90)))
    _oval(pen, 64, 64, rng.uniform(34, 40), rng.uniform(36, 42), fur)
    droop = rng.uniform(-20, 22)
    for side in (-1, 1):
        _oval(pen, 64 + side * 38, 50 + droop, 11, 24, fur - 45)
        _oval(pen, 64 + side * rng.uniform(14, 17), 54, 5, 5, 15)
    _oval(pen, 64, 84, rng.uniform(18, 22), rng.uniform(15, 19), muzzle)
    _oval(pen, 64, 76, 8, 6, 10)
    pen.line((64, 80, 64, 92), fill=30, width=3)
    return _reduced(image)


def drawn(n: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw n people and n dogs: images (2n, 32, 32, 1) and labels (2n,), 0 a person and 1 a dog."""
    rng = np.random.default_rng(seed)
    images = np.stack([*(person(rng) for _ in range(n)), *(dog(rng) for _ in range(n))])
    return images, np.repeat(np.array([0, 1]), n)


def _oval(pen: ImageDraw.ImageDraw, x: float, y: float, wide: float, tall: float, grey: int) -> None:
    pen.ellipse((x - wide, y - tall, x + wide, y + tall), fill=grey)


def _reduced(image: Image.Image) -> NDArray[np.uint8]:
    small = image.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return np.asarray(small, dtype=np.uint8)[..., None]
