"""elboroom and other programs on tables, behind the same few calls."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

import elboroom
from elboroom.config import Config
from elboroom.config.columns import WITH_CATEGORIES
from elboroom.data.columns import from_columns
from elboroom.data.dataset import Dataset
from elboroom.models.vae import VAE
from elboroom.training.prepare import build

Numbers = NDArray[np.float64]
EPOCHS, BATCH = 40, 250
_NETS = {"hidden": (128, 128), "latent_dim": 8, "lr": 1e-3, "lr_schedule": "CosineAnnealingLR"}
# Settings of elboroom that are compared: the default bound, and the importance-weighted one.
SETTINGS: dict[str, dict[str, Any]] = {
    "elboroom": {},
    "elboroom-iwae": {"bound": "iwae", "num_samples": 8},
}


@dataclass(frozen=True)
class Table:
    """A table with the kinds of the columns that are not inferred from their cells."""

    frame: pd.DataFrame
    kinds: dict[str, Any]

    @property
    def discrete(self) -> list[str]:
        """Names of the columns of words."""
        return [name for name in self.frame if self.frame[name].dtype.kind not in "iuf"]

    def as_dataset(self, train: int) -> Dataset:
        """The first rows for training, the others for testing."""
        split = (np.arange(len(self.frame)) >= train).astype(np.uint8)
        cells = {name: self.frame[name].to_numpy() for name in self.frame}
        return from_columns(cells, kinds=self.kinds, split=split)


def train_elboroom(data: Dataset, epochs: int, seed: int, **options: Any) -> VAE:
    """A model of a table."""
    options = {**_NETS, "epochs": epochs, "batch_size": BATCH, "validation": 0.0, "seed": seed, **options}
    config = Config().updated(**options)
    vae = build(config, data)
    elboroom.fit(vae, data, config=config, quiet=True)
    return vae


def rows_of(vae: VAE, n: int, seed: int) -> pd.DataFrame:
    """Rows drawn from a model of a table."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        x = vae.sample(n, observe=True).double().numpy()
    found: dict[str, Any] = {}
    for column, cells in zip(vae.likelihood.columns, x.T, strict=True):
        if column.kind in WITH_CATEGORIES:
            found[column.name] = np.array(column.categories, object)[cells.astype(int)]
        else:
            found[column.name] = cells.round() if column.kind == "count" else cells
    return pd.DataFrame(found)


def tvae_rows(table: Table, train: int, epochs: int, n: int, seed: int) -> pd.DataFrame:
    """Rows drawn from CTGAN's TVAE with its own networks, trained for as many epochs of the same batches."""
    from ctgan import TVAE

    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - TVAE's transformer uses it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = TVAE(epochs=epochs, batch_size=BATCH, enable_gpu=False)
        model.fit(table.frame.iloc[:train], table.discrete)
        found: pd.DataFrame = model.sample(n)
    return found


def fidelity(real: pd.DataFrame, drawn: pd.DataFrame, discrete: list[str]) -> dict[str, float]:
    """SDMetrics' scores of column shapes and of pair trends, from 0 to 1, best 1."""
    from sdmetrics.reports.single_table import QualityReport

    kinds = {name: {"sdtype": "categorical" if name in discrete else "numerical"} for name in real}
    report = QualityReport()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report.generate(real, drawn[list(real)], {"columns": kinds}, verbose=False)
    scores = report.get_properties().set_index("Property")["Score"]
    return {
        "column_shapes": float(scores["Column Shapes"]),
        "pair_trends": float(scores["Column Pair Trends"]),
    }


Detector = Callable[[Numbers, Numbers, int], Numbers]
"""(normal rows, rows to judge, seed) → scores, the higher the odder."""


def elboroom_detector(train: Numbers, test: Numbers, seed: int) -> Numbers:
    """The estimator's default score."""
    from elboroom.sklearn import VAEAnomalyDetector

    scores: Numbers = -VAEAnomalyDetector(random_state=seed).fit(train).score_samples(test)
    return scores


def pyod_vae(train: Numbers, test: Numbers, seed: int) -> Numbers:
    """PyOD's VAE with its defaults, on standardised columns as its own default."""
    from pyod.models import vae

    torch.manual_seed(seed)
    model = vae.VAE(random_state=seed, verbose=0)
    model.fit(train)
    found: Numbers = model.decision_function(test)
    return found


def knn(train: Numbers, test: Numbers, seed: int) -> Numbers:
    """Mean distance to the five nearest normal rows, columns standardised."""
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    near = NearestNeighbors(n_neighbors=5).fit(scaler.transform(train))
    found: Numbers = near.kneighbors(scaler.transform(test))[0].mean(1)
    return found


DETECTORS: dict[str, Detector] = {
    "elboroom": elboroom_detector,
    "pyod-vae": pyod_vae,
    "knn": knn,
}
