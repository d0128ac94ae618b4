"""Drawn photos whose landmarks are known, and where their dots went."""

import csv

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from elboroom.data.faces.geometry import PARTS, placed
from elboroom.data.faces.landmarks import COLUMNS

COLOURS = {"left_eye": (255, 0, 0), "right_eye": (0, 255, 0), "nose": (0, 0, 255), "mouth": (255, 255, 0)}


def turned(angle, scale, centre, template="person", side=64):
    """Landmarks of a face of `side · scale` pixels turned by `angle` degrees about its middle at `centre`."""
    turn = scale * np.exp(1j * np.deg2rad(angle))
    middle = side / 2 * (1 + 1j)
    found = {}
    for part, (x, y) in placed(template, (side, side)).items():
        place = (complex(x, y) - middle) * turn + complex(*centre)
        found[part] = (place.real, place.imag)
    return found


def dotted(points, size=(300, 260), radius=6, background=(90, 90, 90)):
    """A photo of `size = (width, height)` with a coloured dot on every landmark, drawn fine and shrunk."""
    fine = 4
    image = Image.new("RGB", (size[0] * fine, size[1] * fine), background)
    draw = ImageDraw.Draw(image)
    for part, (x, y) in points.items():
        box = [fine * (x - radius), fine * (y - radius), fine * (x + radius), fine * (y + radius)]
        draw.ellipse(box, fill=COLOURS[part])
    return image.resize(size, Image.Resampling.BOX)


def dots(crop):
    """Where the coloured dots are in an RGB crop: their centres of weight in pixels."""
    rows, columns = np.mgrid[: crop.shape[0], : crop.shape[1]] + 0.5
    found = {}
    for part, colour in COLOURS.items():
        off = np.abs(crop.astype(int) - np.array(colour)).sum(axis=2)
        weight = np.clip(200 - off, 0, None)
        if weight.sum():
            found[part] = ((weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum())
    return found


EYES = np.array([[0.39, 0.457], [0.61, 0.457]])  # centres of the drawn face's eyes, in fractions of its side


def portrait(side):
    """A drawn face, `(side, side)`, that OpenCV takes for one; it fills two thirds of the picture."""
    full = 4 * side
    image = Image.new("RGB", (full, full), (120, 140, 120))
    draw = ImageDraw.Draw(image)

    def oval(x, y, across, down, colour):
        draw.ellipse(
            [full * (x - across), full * (y - down), full * (x + across), full * (y + down)], fill=colour
        )

    hair, skin, mouth = (60, 40, 30), (214, 176, 150), (150, 70, 70)
    oval(0.5, 0.47, 0.34, 0.42, hair)
    oval(0.5, 0.52, 0.28, 0.36, skin)
    oval(0.5, 0.25, 0.26, 0.10, hair)
    for x, y in EYES:
        oval(x, y, 0.065, 0.045, (150, 112, 95))
        oval(x, y, 0.05, 0.026, (240, 236, 230))
        oval(x, y, 0.024, 0.026, (50, 35, 30))
        brow = [full * (x - 0.07), full * (y - 0.072), full * (x + 0.07), full * (y - 0.007)]
        draw.arc(brow, 200, 340, fill=hair, width=round(0.018 * full))
    draw.polygon(
        [(0.5 * full, 0.46 * full), (0.455 * full, 0.62 * full), (0.545 * full, 0.62 * full)], (200, 160, 135)
    )
    for x in (0.475, 0.525):
        oval(x, 0.625, 0.014, 0.009, (120, 80, 70))
    oval(0.5, 0.72, 0.095, 0.025, mouth)
    draw.line([(0.41 * full, 0.72 * full), (0.59 * full, 0.72 * full)], (100, 40, 40), round(0.008 * full))
    return image.filter(ImageFilter.GaussianBlur(0.006 * full)).resize((side, side), Image.Resampling.BOX)


def crowd(size, *faces):
    """A photo of `size = (width, height)` with drawn faces `(side, x, y)` before a soft background."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 200, (size[1] // 100 + 2, size[0] // 100 + 2, 3), dtype=np.uint8)
    photo = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    for side, x, y in faces:
        mask = Image.new("L", (side, side))
        ImageDraw.Draw(mask).ellipse([0.16 * side, 0.05 * side, 0.84 * side, 0.89 * side], fill=255)
        photo.paste(portrait(side), (x, y), mask)
    return photo


def write_landmarks(folder, faces, name="landmarks.csv"):
    """A landmarks file of `faces = {file: points}`."""
    with (folder / name).open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("file", *COLUMNS))
        for photo, points in faces.items():
            table.writerow((photo, *(v for part in PARTS for v in points.get(part, ("", "")))))


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
