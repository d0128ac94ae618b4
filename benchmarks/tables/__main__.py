"""Measure models of tables: nats against the truth, fidelity of drawn rows, and anomalies.

python -m benchmarks.tables --out benchmarks/results/tables.json
python -m benchmarks.tables --parts anomalies --seeds 1
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from benchmarks.tables.anomaly_sets import AnomalySet, anomaly_sets
from benchmarks.tables.models import (
    DETECTORS,
    EPOCHS,
    SETTINGS,
    Detector,
    Table,
    fidelity,
    rows_of,
    train_elboroom,
    tvae_rows,
)
from benchmarks.tables.networks import NETWORKS
from sklearn import datasets
from sklearn.metrics import roc_auc_score

from elboroom.models.vae import VAE

_TRAIN, _TEST = 20_000, 2_000
_NLL_SAMPLES = 1_000
_MORE = 24  # times the epochs for sets of a few hundred rows

Results = dict[str, dict[str, Any]]


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def _if_installed(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except ModuleNotFoundError as error:
        return {"missing": error.name}


def measure_density(seed: int, epochs: int, say: Callable[[str], None]) -> Results:
    """Held-out nats a row against the truth; and scores of drawn rows beside TVAE's."""
    found: Results = {}
    for name, network in NETWORKS.items():
        cells = network.sample(_TRAIN + _TEST, np.random.default_rng(seed))
        table = Table(pd.DataFrame(cells), network.kinds)
        data = table.as_dataset(_TRAIN)
        truth = network.log_prob({key: values[_TRAIN:] for key, values in cells.items()})
        real = table.frame.iloc[_TRAIN:].reset_index(drop=True)
        row: dict[str, Any] = {"truth_nats": float(-truth.mean())}
        for setting, options in SETTINGS.items():
            vae, seconds = _timed(partial(train_elboroom, data, epochs, seed, **options))
            nll = vae.nll(data.x[_TRAIN:], _NLL_SAMPLES).value.double().numpy()
            gap = nll + truth
            row[setting] = {
                "nats": float(nll.mean()),
                "above_truth": float(gap.mean()),
                "above_truth_error": float(gap.std() / np.sqrt(len(gap))),
                "seconds": seconds,
                **_if_installed(partial(_drawn, vae, real, table, seed)),
            }
            say(f"{name} {setting}: {row[setting]}")
        row["tvae"] = _if_installed(partial(_tvae, table, _TRAIN, real, epochs, seed))
        say(f"{name} tvae: {row['tvae']}")
        found[name] = row
    return found


def _drawn(vae: VAE, real: pd.DataFrame, table: Table, seed: int) -> dict[str, float]:
    return fidelity(real, rows_of(vae, len(real), seed), table.discrete)


def _tvae(table: Table, train: int, real: pd.DataFrame, epochs: int, seed: int) -> dict[str, Any]:
    rows, seconds = _timed(lambda: tvae_rows(table, train, epochs, len(real), seed))
    return {"nats": None, "seconds": seconds, **fidelity(real, rows, table.discrete)}


def _bundled() -> dict[str, Table]:
    found = {}
    for name in ("iris", "wine", "breast_cancer"):
        bunch = getattr(datasets, f"load_{name}")(as_frame=True)
        frame = bunch.frame.copy()
        frame["target"] = np.array([str(word) for word in bunch.target_names])[frame["target"]]
        found[name] = Table(frame, {})
    found["diabetes"] = Table(datasets.load_diabetes(as_frame=True, scaled=False).frame, {})
    return found


def measure_fidelity(seed: int, epochs: int, say: Callable[[str], None]) -> Results:
    """Scores of drawn rows on scikit-learn's bundled sets; small sets get more epochs of small batches."""
    found: Results = {}
    for name, table in _bundled().items():
        order = np.random.default_rng(seed).permutation(len(table.frame))
        shuffled = Table(table.frame.iloc[order].reset_index(drop=True), table.kinds)
        train = int(0.7 * len(order))
        real = shuffled.frame.iloc[train:].reset_index(drop=True)
        data = shuffled.as_dataset(train)
        vae, seconds = _timed(partial(train_elboroom, data, _MORE * epochs, seed))
        scores = _if_installed(partial(_drawn, vae, real, shuffled, seed))
        row: dict[str, Any] = {"elboroom": {"seconds": seconds, **scores}}
        row["tvae"] = _if_installed(partial(_tvae, shuffled, train, real, _MORE * epochs, seed))
        found[name] = row
        say(f"{name}: {row}")
    return found


def measure_anomalies(seed: int, epochs: int, say: Callable[[str], None]) -> Results:
    """Area under the receiver operating characteristic."""
    found: Results = {}
    for name, task in anomaly_sets(seed).items():
        row = {}
        for program, detect in DETECTORS.items():
            row[program] = _if_installed(partial(_area, detect, task, seed))
        found[name] = row
        say(f"{name}: {row}")
    return found


def _area(detect: Detector, task: AnomalySet, seed: int) -> float:
    return float(roc_auc_score(task.odd, detect(task.train, task.test, seed)))


PARTS = {"density": measure_density, "fidelity": measure_fidelity, "anomalies": measure_anomalies}


def main() -> None:
    """Measure what is asked for and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", default=",".join(PARTS), help="density,fidelity,anomalies")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--out", type=Path, help="file of results, whose other parts are kept")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    known = asked.out is not None and asked.out.exists()
    results: dict[str, Any] = json.loads(asked.out.read_text(encoding="utf-8")) if known else {}
    results |= {
        "machine": {"processor": platform.processor() or platform.machine(), "torch": torch.__version__},
        "epochs": asked.epochs,
    }
    for part in asked.parts.split(","):
        runs = []
        for seed in range(asked.seeds):
            runs.append(PARTS[part](seed, asked.epochs, lambda line: print(line, flush=True)))
            results[part] = runs
            if asked.out is not None:
                asked.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
