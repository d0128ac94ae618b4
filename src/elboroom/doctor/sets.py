"""Diseases of a data set, before anything is trained on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elboroom.config import Config
from elboroom.config.columns import WITH_CATEGORIES
from elboroom.data.dataset import Dataset
from elboroom.doctor.finding import Finding
from elboroom.doctor.leaks import Repeats
from elboroom.doctor.picture_files import FileKinds
from elboroom.errors import counted
from elboroom.training.defaults import is_photos

_TINY = 200  # examples for networks of the default size
_RARE = 10  # times as many of one class as of another
_FAR = 30.0  # robust standard deviations
_FEW = 0.01
_EMPTY = 0.95
_MUCH = 0.1
_LARGE_LEVELS = 255
_FEW_PIXELS = 16  # of a flattened picture, at least
_USUAL_HIDDEN = Config().model.hidden


@dataclass(frozen=True)
class Sample:
    """What is looked at of a data set.

    Attributes
    ----------
    config : Config
        What a model would be trained with.
    data : Dataset
        Prepared as the configuration says.
    values : array
        Some training examples in model units, (n, *shape); missing cells are nan.
    repeats : Repeats or None
        Copies; None if the data are too large to look for them.
    files : FileKinds or None
        Sizes and modes of the image files of a folder.
    """

    config: Config
    data: Dataset
    values: NDArray[np.float32]
    repeats: Repeats | None = None
    files: FileKinds | None = None

    @property
    def takes_unit_interval(self) -> bool:
        """Whether the likelihood is one for values from 0 to 1."""
        name = self.config.model.likelihood
        if name == "auto":
            return not self.data.columns and not is_photos(self.data)
        return name in ("bernoulli", "continuous_bernoulli", "discretized_logistic")


def all_equal(seen: Sample) -> Finding | None:
    """Examples that are all the same."""
    x = seen.values
    if len(x) < 2 or not bool(((x == x[:1]) | (np.isnan(x) & np.isnan(x[:1]))).all()):
        return None
    said = f"all {len(x):,} examples looked at are equal, so that there is nothing to learn"
    return Finding(said, {"looked_at": len(x)}, {"duplicates": "drop"}, "keeps one of them")


def out_of_range(seen: Sample) -> Finding | None:
    """Values that the likelihood cannot score, or pixels as floats up to 255."""
    data, x = seen.data, seen.values
    if data.columns or data.x.dtype == np.uint8:
        return None
    low, high = float(x.min()), float(x.max())
    known = {"lowest": low, "highest": high}
    said = f"values range from {low:.4g} to {high:.4g}"
    flat = not data.is_image and low == 0 and high == _LARGE_LEVELS and x[0].size >= _FEW_PIXELS
    pixels = flat or (data.is_image and low >= 0 and 1 < high <= _LARGE_LEVELS)
    if pixels and (seen.takes_unit_interval or seen.config.data.pixel_scale is None):
        said += ", which are 8-bit pixels stored as floats"
        return Finding(said, known, {"pixel_scale": 255.0}, "brings them to 0 to 1")
    if not seen.takes_unit_interval or (low >= 0 and high <= 1):
        return None
    said += ", and the Bernoulli likelihood is for 0 to 1"
    if not data.is_image and low >= 0 and high > 1 and bool((x == np.round(x)).all()):
        return Finding(
            f"{said}; all are whole numbers", known, {"likelihood": "negative_binomial"}, "is for counts"
        )
    if data.is_image:
        return Finding(said, known, {"likelihood": "gaussian"}, "takes any numbers")
    spreads = x.std(0, dtype=np.float64)
    said += f"; standard deviations of the columns range from {spreads.min():.3g} to {spreads.max():.3g}"
    change = {"likelihood": "gaussian", "standardize": True}
    return Finding(said, known, change, "would take any numbers, brought to mean 0 and standard deviation 1")


def grey_in_colour(seen: Sample) -> Finding | None:
    """Three channels that are all the same."""
    x = seen.values
    if not seen.data.is_image or seen.data.shape[-1] != 3 or bool((x != x[..., :1]).any()):
        return None
    said = f"the three channels of all {len(x):,} pictures looked at are equal"
    return Finding(said, {"looked_at": len(x)}, {"channels": 1}, "keeps one of them")


def mixed_sizes(seen: Sample) -> Finding | None:
    """Picture files of several sizes, whose common size nobody has chosen."""
    files = seen.files
    if files is None or len(files.sizes) < 2 or seen.config.data.size is not None:
        return None
    (width, height), count = files.sizes.most_common(1)[0]
    smallest = min(min(size) for size in files.sizes)
    said = (
        f"the {files.count:,} picture files looked at have {len(files.sizes):,} sizes ({count:,} have "
        f"{width}×{height}), and are cut and resized to {'×'.join(map(str, seen.data.shape[:2]))}"
    )
    known = {"sizes": len(files.sizes), "smallest": smallest}
    return Finding(said, known, {"size": smallest}, "is the largest size that enlarges none of them")


def mixed_colours(seen: Sample) -> Finding | None:
    """Picture files some of which are grey."""
    files = seen.files
    if files is None or not 0 < files.grey < files.count or seen.config.data.channels is not None:
        return None
    said = f"{files.grey:,} of the {files.count:,} picture files looked at are grey and the others in colour"
    wanted = 1 if files.grey > files.count / 2 else 3
    return Finding(said, {"grey": files.grey}, {"channels": wanted}, "brings all to what most of them are")


def left_out(seen: Sample) -> Finding | None:
    """Inputs that could not be read."""
    skipped, data = seen.data.skipped, seen.data
    share = len(skipped) / (len(skipped) + len(data))
    if share <= _MUCH or seen.config.data.strict:
        return None
    first = skipped[0]
    said = f"{len(skipped):,} inputs ({share:.0%}) are left out, the first being {first.path}: {first.reason}"
    return Finding(said, {"left_out": len(skipped)}, {"strict": True}, "stops at the first of them")


def empty_columns(seen: Sample) -> Finding | None:
    """Columns of a table that are constant, or hold hardly a cell."""
    columns = seen.data.columns
    if not columns:
        return None
    x, found = seen.values.reshape(len(seen.values), -1), {}
    for number, column in enumerate(columns):
        cells = x[:, number]
        there = cells[~np.isnan(cells)]
        if len(there) < (1 - _EMPTY) * len(cells):
            found[column.name] = f"{len(there):,} of {len(cells):,} cells"
        elif len(np.unique(there)) < 2:
            found[column.name] = "the same in all rows"
    if not found:
        return None
    said = f"of columns that tell nothing there {_are(len(found))}: " + ", ".join(
        f"{name} ({what})" for name, what in list(found.items())[:5]
    )
    kinds = {**seen.config.data.kinds, **dict.fromkeys(found, "ignored")}
    return Finding(said, {"columns": len(found)}, {"kinds": kinds}, "leaves them out")


def outliers(seen: Sample) -> Finding | None:
    """A few cells that lie very far from the others, which pull a Gaussian to them."""
    data, model = seen.data, seen.config.model
    if data.is_image or data.x.dtype == np.uint8 or seen.takes_unit_interval:
        return None
    if not data.columns and model.likelihood != "gaussian":
        return None
    x = seen.values.reshape(len(seen.values), -1).astype(np.float64)
    far: dict[int, int] = {}
    for number in range(x.shape[1]):
        column = data.columns[number] if data.columns else None
        if column is not None and (column.kind in WITH_CATEGORIES or column.family != "gaussian"):
            continue
        cells = x[~np.isnan(x[:, number]), number]
        if len(cells) < 2 / _FEW:
            continue
        low, middle, high = np.percentile(cells, [25, 50, 75])
        beyond = int((np.abs(cells - middle) > _FAR * (high - low) / 1.349).sum()) if high > low else 0
        if 0 < beyond <= max(1, _FEW * len(cells)):
            far[number] = beyond
    if not far:
        return None
    names = [data.columns[number].name if data.columns else str(number) for number in far]
    cells = counted(sum(far.values()), "cell")
    said = (
        f"{cells} {'lies' if cells == '1 cell' else 'lie'} more than {_FAR:g} robust standard deviations "
        f"from the median of their column ({', '.join(names[:5])})"
    )
    known = {"cells": sum(far.values()), "columns": len(far)}
    if not data.columns:
        return Finding(said, known, {"likelihood": "student_t"}, "is not pulled by them")
    own = dict(seen.config.data.kinds)
    kinds = {data.columns[number].name: f"{data.columns[number].kind}/student_t" for number in far}
    return Finding(said, known, {"kinds": {**own, **kinds}}, "is not pulled by them")


def tiny(seen: Sample) -> Finding | None:
    """Few examples for a network of the default size."""
    data, model = seen.data, seen.config.model
    n = len(data.indices("train"))
    if n >= _TINY:
        return None
    said = f"there {'is' if n == 1 else 'are'} {counted(n, 'training example')}"
    if is_photos(data) and model.network in ("auto", "conv", "spatial") and model.hidden == _USUAL_HIDDEN:
        if seen.config.data.flip:
            return None
        return Finding(f"{said} of photos", {"train": n}, {"flip": True}, "shows mirror images as well")
    if model.network not in ("auto", "mlp") or model.hidden != _USUAL_HIDDEN:
        return None
    said += f" for a network with layers of {' and '.join(map(str, model.hidden))}"
    return Finding(said, {"train": n}, {"hidden": (64,)}, "is a smaller network")


def rare_classes(seen: Sample) -> Finding | None:
    """Classes with many times fewer examples than others."""
    data = seen.data
    if data.labels is None or seen.config.model.condition == "labels":
        return None
    labels, counts = np.unique(np.asarray(data.labels)[data.indices("train")], return_counts=True)
    if len(labels) < 2 or counts.max() <= _RARE * counts.min():
        return None
    few, many = int(counts.argmin()), int(counts.argmax())
    said = (
        f"there are {counts[many]:,} training examples of {data.label_name(int(labels[many]))} and "
        f"{counts[few]:,} of {data.label_name(int(labels[few]))}"
    )
    known = {"most": int(counts[many]), "fewest": int(counts[few])}
    return Finding(said, known, {"condition": "labels"}, "draws each class by name, however rare")


def _are(count: int) -> str:
    return "is 1" if count == 1 else f"are {count}"
