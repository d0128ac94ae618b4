"""Compare the imputation of missing cells with scikit-learn's, on the sets that come with scikit-learn.

::

    python benchmarks/imputation.py --out benchmarks/results/imputation.json

A fifth of all cells is hidden completely at random; every program is fitted to what is left of the table and
fills it in. The error is the root of the mean squared error of the hidden cells, of columns that were divided
by their standard deviation. Columns are all taken as real numbers, as scikit-learn does. Programs are
compared on the same hidden cells: ``against_iterative`` is the mean difference of the errors, with its
standard error over the choices of cells.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

import elboroom
from elboroom.config import read_preset
from elboroom.data.columns import from_columns
from elboroom.io.files import write_atomic
from elboroom.tables import impute
from elboroom.training.prepare import build

Table = NDArray[np.float64]
SETS: dict[str, Callable[[], Any]] = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "diabetes": datasets.load_diabetes,
    "breast_cancer": datasets.load_breast_cancer,
}
PROGRAMS = ("mean", "KNNImputer", "IterativeImputer", "elboroom")


def hidden(name: str, share: float, seed: int) -> tuple[Table, NDArray[np.bool_]]:
    """Return a set with columns of mean 0 and standard deviation 1, and which of its cells are hidden."""
    x = SETS[name]().data.astype(np.float64)
    x = (x - x.mean(0)) / x.std(0)
    return x, np.random.default_rng(seed).random(x.shape) < share


def by_vae(holes: Table, seed: int, samples: int) -> Table:
    """Fill in with a VAE of the preset small-table that is trained on all rows."""
    data = from_columns({f"x{i}": column for i, column in enumerate(holes.T)})
    data = replace(data, split=np.zeros_like(data.split))
    config = read_preset("small-table").updated(validation=0.0, seed=seed)
    vae = build(config, data)
    elboroom.fit(vae, data, config=config, quiet=True)
    filled: Table = impute(vae, holes, samples, seed=seed).x
    return filled


def fill(program: str, holes: Table, seed: int, samples: int) -> Table:
    """Fill in by a program of PROGRAMS."""
    if program == "elboroom":
        return by_vae(holes, seed, samples)
    imputers: dict[str, Any] = {
        "mean": SimpleImputer(),
        "KNNImputer": KNNImputer(),
        "IterativeImputer": IterativeImputer(max_iter=50, random_state=seed),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        filled: Table = imputers[program].fit_transform(holes)
    return filled


def errors(rows: list[dict[str, Any]], name: str, program: str) -> list[float]:
    """The errors of a program on one set, one for each choice of cells."""
    return [row["rmse"] for row in rows if (row["set"], row["program"]) == (name, program)]


def difference(ours: list[float], theirs: list[float]) -> dict[str, float | None]:
    """Mean of the paired differences, and its standard error."""
    each = [a - b for a, b in zip(ours, theirs, strict=True)]
    error = statistics.stdev(each) / len(each) ** 0.5 if len(each) > 1 else None
    return {"mean": statistics.mean(each), "standard_error": error}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--sets", default=",".join(SETS))
    options.add_argument("--seeds", type=int, default=6)
    options.add_argument("--share", type=float, default=0.2)
    options.add_argument("--samples", type=int, default=1000)
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    rows: list[dict[str, Any]] = []
    for name in chosen.sets.split(","):
        for seed in range(chosen.seeds):
            x, mask = hidden(name, chosen.share, seed)
            for program in PROGRAMS:
                start = time.perf_counter()
                filled = fill(program, np.where(mask, np.nan, x), seed, chosen.samples)
                seconds = time.perf_counter() - start
                rmse = float(np.sqrt(((filled - x)[mask] ** 2).mean()))
                rows.append({"set": name, "seed": seed, "program": program, "rmse": rmse, "seconds": seconds})
        means = {p: statistics.mean(errors(rows, name, p)) for p in PROGRAMS}
        print(f"{name:14s}" + "  ".join(f"{p} {mean:.3f}" for p, mean in means.items()), flush=True)
    found = {
        "share": chosen.share,
        "seeds": chosen.seeds,
        "samples": chosen.samples,
        "versions": {"scikit-learn": sklearn.__version__, "torch": torch.__version__},
        "means": {
            name: {p: statistics.mean(errors(rows, name, p)) for p in PROGRAMS}
            for name in dict.fromkeys(row["set"] for row in rows)
        },
        "against_iterative": {
            name: difference(errors(rows, name, "elboroom"), errors(rows, name, "IterativeImputer"))
            for name in dict.fromkeys(row["set"] for row in rows)
        },
        "rows": rows,
    }
    if chosen.out is not None:
        write_atomic(chosen.out, json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
