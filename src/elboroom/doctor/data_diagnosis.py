"""The table of diseases of data, and the examination of a data set."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from elboroom.config import Config
from elboroom.data.dataset import Dataset
from elboroom.doctor import fitness, sets
from elboroom.doctor.chart import Chart
from elboroom.doctor.diagnosis import Diagnosis, Disease, found_by
from elboroom.doctor.finding import Finding
from elboroom.doctor.leaks import leaked, repeated, repeats_in
from elboroom.doctor.picture_files import kinds_of_files
from elboroom.doctor.sets import Sample
from elboroom.training.prepare import prepare

_LOOKED_AT = 5000


def _of_values(look: Callable[[Chart], Finding | None]) -> Callable[[Sample], Finding | None]:
    """Let a rule for runs look at a data set, by the likelihood that was asked for."""

    def looks(seen: Sample) -> Finding | None:
        if seen.data.columns:
            return None
        return look(Chart(seen.config, shape=seen.data.shape, values=seen.values))

    return looks


_OF_EQUAL = ("empty columns", "repeated examples", "leaked examples", "few examples", "rare classes")

DATA_DISEASES: tuple[Disease[Sample], ...] = (
    Disease("equal examples", sets.all_equal, "values", _OF_EQUAL),
    Disease("values out of range", sets.out_of_range, "values", ("unscaled data", "counts under a density")),
    Disease("unscaled data", _of_values(fitness.unscaled), "values"),
    Disease("counts under a density", _of_values(fitness.counts), "values"),
    Disease("grey pictures in colour", sets.grey_in_colour, "values"),
    Disease("pictures of several sizes", sets.mixed_sizes, "picture files"),
    Disease("grey and coloured pictures", sets.mixed_colours, "picture files"),
    Disease("inputs left out", sets.left_out, "skipped inputs"),
    Disease("empty columns", sets.empty_columns, "values"),
    Disease("outliers", sets.outliers, "values"),
    Disease("repeated examples", lambda seen: repeated(seen.repeats), "all examples"),
    Disease("leaked examples", lambda seen: leaked(seen.repeats), "all examples"),
    Disease("few examples", sets.tiny, "counts"),
    Disease("rare classes", sets.rare_classes, "labels"),
)
"""All diseases that are looked for in data."""


def examine_data(
    data: Dataset, config: Config | None = None, *, folder: str | os.PathLike[str] | None = None
) -> Diagnosis:
    """Examine a data set, before anything is trained on it.

    Parameters
    ----------
    data : Dataset
        As it was loaded.
    config : Config, optional
        What it is to be trained with. Default: all defaults.
    folder : path, optional
        Where it is a folder of picture files.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> data = Dataset("rows", rng.normal(size=(300, 4)) * [1, 1, 1, 500], split=np.repeat([0, 1], 150))
    >>> for found in examine_data(data).findings:
    ...     print(f"{found.disease}: {found.remedy}")
    values out of range: likelihood = gaussian and standardize = True would take any numbers, ...
    few examples: hidden = (64,) is a smaller network
    """
    config = config or Config()
    asked = config.updated(dequantize="none")
    data = prepare(data, asked)
    rows = data.indices("train")
    if len(rows) > _LOOKED_AT:
        rows = np.sort(np.random.default_rng(0).choice(rows, _LOOKED_AT, replace=False))
    files = None if folder is None else kinds_of_files(Path(folder))
    repeats = repeats_in(data)
    unseen = () if repeats is not None else ("copies: the data are larger than 1 GB",)
    seen = Sample(config, data, data.values(rows), repeats, files)
    return Diagnosis(found_by(DATA_DISEASES, seen), unseen)
