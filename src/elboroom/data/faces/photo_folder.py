"""Folders of photos, each prepared as the photos were that a run's faces were cut out of."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from elboroom.data import image_tree, images
from elboroom.data.cache import cached, forget_others, reserve
from elboroom.data.dataset import Array, Dataset, Skipped, refuse_skipped
from elboroom.data.faces.prepared_photo import prepare_as_any, white_of_photo
from elboroom.data.folder import keep_good
from elboroom.data.preparation import PhotoSteps, Preparation
from elboroom.errors import UsageError
from elboroom.io.files import json_text

_VERSION = "1"  # changes when the same photos become other numbers


def load_photos(
    path: Path, made: Preparation, shape: tuple[int, int, int], *, strict: bool = False
) -> Dataset:
    """Load a folder of photos as uint8 ``(n, h, w, c)``, each prepared as `made` says of its label.

    Labels and split are those of `elboroom.data.folder.load_folder`. Photos of another label, or of none, are
    searched for a face if those of any label were, and cropped if not. A photo of the examples' size is taken
    as it is. One in which a face should be found and is not is left out, as in training. Results are cached.

    Parameters
    ----------
    path : pathlib.Path
        The image_tree.
    made : Preparation
        How the training examples were made of photos.
    shape : (int, int, int)
        Height, width and channels of an example.
    strict : bool
        Whether a photo that cannot be used is an error; if not, it is left out and listed in ``skipped``.

    Raises
    ------
    UsageError
        If no photo can be used, or under `strict` any cannot.
    FailureError
        If the disk is full.
    """
    found, skipped = image_tree.scan(path)
    if not found:
        raise UsageError(f"{path}: {image_tree.why_empty(path)}")
    prefix = "photos-named-" + image_tree.digest([str(path.resolve())]) + "-"
    facts = [_VERSION, json_text(made.to_json()), repr(shape), *image_tree.listing(path, found)]
    key = prefix + image_tree.digest([*facts, *(skip.path for skip in skipped)])
    data = cached(key, lambda scratch: _build(path, found, skipped, made, shape, scratch))
    forget_others(prefix, keep=key)
    if strict:
        refuse_skipped(data)
    return data


def _build(
    root: Path,
    found: list[image_tree.Found],
    skipped: list[Skipped],
    made: Preparation,
    shape: tuple[int, int, int],
    scratch: Path | None,
) -> Dataset:
    full = (len(found), *shape)
    x = np.empty(full, np.uint8) if scratch is None else reserve(scratch / "x.npy", full)

    def fill(row: int) -> str | None:
        item = found[row]
        tries = _tries(made, item.label or root.resolve().name)
        pixels = images.attempt(functools.partial(_pixels, tries=tries, shape=shape), item.path)
        if isinstance(pixels, str):
            return pixels
        x[row] = pixels
        return None

    data = image_tree.with_places(root, *keep_good(root, x, found, skipped, fill, scratch))
    return replace(data, preparation=made, origin="photos prepared as the run's were")


def _tries(made: Preparation, label: str) -> Sequence[PhotoSteps]:
    """What to try with a photo, in this order: what was done with its label, if that is known."""
    known = dict(made.by_label)
    return (known[label],) if label in known else made.for_new_photos()


def _pixels(path: Path, tries: Sequence[PhotoSteps], shape: tuple[int, int, int]) -> Array:
    header = images.read_header(path)
    if (header.height, header.width) == shape[:2]:
        return images.decode(path, shape, white_of_photo(path, max(each.white for each in tries)))
    pixels = prepare_as_any(path, tries).pixels
    return pixels if pixels.shape == shape else images.resize_images(pixels[None], shape)[0]
