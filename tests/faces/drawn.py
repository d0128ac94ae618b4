"""Drawn photos whose landmarks are known, and where their dots went."""

import csv

import numpy as np
from PIL import Image, ImageDraw

from elboroom.data.face_geometry import PARTS, placed
from elboroom.data.landmarks import COLUMNS

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
