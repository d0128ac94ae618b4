"""Scores of tables with columns of several kinds and missing cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import elboroom
from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.data.columns import from_columns
from elboroom.models.vae import VAE
from elboroom.scoring import Calibration, Judged
from elboroom.scoring.scores import SCORES, score_array, score_rows
from elboroom.training.prepare import build

NAMES = ("height", "weight", "job")


def _people(n: int = 400) -> Dataset:
    rng = np.random.default_rng(0)
    height = rng.normal(170, 10, n)
    weight = 0.9 * (height - 100) + rng.normal(0, 3, n)
    weight[rng.random(n) < 0.1] = np.nan
    job = np.where(height > 170, "smith", "nurse").astype(object)
    job[rng.random(n) < 0.1] = None
    return from_columns({"height": height, "weight": weight, "job": job})


@pytest.fixture(scope="module")
def trained() -> tuple[VAE, Dataset]:
    data = _people()
    config = Config().updated(latent_dim=2, hidden=(32,), epochs=40, batch_size=40, lr=5e-3)
    vae = build(config, data)
    elboroom.fit(vae, data, config=config, quiet=True)
    return vae, data


def _judged(trained: tuple[VAE, Dataset], x: np.ndarray, name: str = "elbo") -> Judged:
    vae, data = trained
    held_out = score_array(vae, data.values(data.indices("test")), name)  # type: ignore[arg-type]
    return Calibration.of([held_out], 0.1).judge(score_array(vae, x, name))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SCORES)
def test_parts_sum_to_the_score_and_missing_cells_cost_nothing(
    trained: tuple[VAE, Dataset], name: str
) -> None:
    vae, data = trained
    found = score_array(vae, data.values(slice(0, 60)), name, num_samples=30, steps=10)  # type: ignore[arg-type]
    parts = found.contributions
    np.testing.assert_allclose(parts.total, found.value, rtol=1e-12, atol=1e-12)
    missing = np.isnan(data.x[:60])
    assert missing.any()
    np.testing.assert_array_equal(parts.by_column[missing], 0)
    assert (parts.by_column[~missing] != 0).mean() > 0.3
    assert np.isfinite(found.value).all()


def test_scores_are_those_of_the_models_methods(trained: tuple[VAE, Dataset]) -> None:
    vae, data = trained
    x = data.values(slice(0, 30))
    found = score_array(vae, x, "elbo", num_samples=2000)
    again = -vae.elbo(x, 2000).double().numpy()
    assert (np.abs(found.value - again) < 6 * found.stderr + 1e-4).all()
    nll = score_array(vae, x, "nll", num_samples=2000)
    assert (np.abs(nll.value - vae.nll(x, 2000).value.double().numpy()) < 8 * nll.stderr + 1e-3).all()


def test_what_does_not_go_together_is_named(trained: tuple[VAE, Dataset]) -> None:
    """A light smith, a tall nurse, and rows that fit; some cells missing."""
    nan = float("nan")
    jobs = trained[1].columns[2].categories
    nurse, smith = float(jobs.index("nurse")), float(jobs.index("smith"))
    x = np.array([[185, 40, smith], [188, 79, nurse], [175, 67, smith], [160, nan, nan]], np.float32)
    judged = _judged(trained, x)
    assert judged.anomalous.tolist() == [True, True, False, False]
    reasons = judged.reasons(NAMES)
    assert "weight" in [reason.name for reason in reasons[0][:2]]
    assert reasons[1][0].name == "job"
    assert {reason.name for reason in reasons[3]} <= {"height", "latent code"}  # nothing that is missing


def test_rows_of_a_data_set_are_scored_as_arrays_are(trained: tuple[VAE, Dataset]) -> None:
    vae, data = trained
    rows = np.arange(50)
    ((found_rows, found),) = score_rows(vae, Batches(data, torch.device("cpu")), rows, "elbo", seed=2)
    np.testing.assert_array_equal(found_rows, rows)
    np.testing.assert_array_equal(found.value, score_array(vae, data.values(rows), "elbo", seed=2).value)
