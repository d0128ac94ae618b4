"""Precision, recall, density and coverage by their definitions, and the measures of a model's pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import beta

from elboroom.cli.main import main
from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.evaluation import fidelity as module
from elboroom.evaluation.fidelity import fidelity
from elboroom.evaluation.measures import measure
from elboroom.evaluation.memorisation import nearer_to_training
from elboroom.evaluation.picture_measures import picture_measures
from elboroom.evaluation.pictures import compare_pictures
from elboroom.models.vae import VAE


def by_definition(x: np.ndarray, y: np.ndarray, k: int) -> dict[str, float]:
    def reach(points: np.ndarray) -> list[float]:
        return [sorted(np.linalg.norm(points - one, axis=1))[k] for one in points]

    of_x, of_y = reach(x), reach(y)
    in_x = [[np.linalg.norm(a - b) <= r for a, r in zip(x, of_x, strict=True)] for b in y]
    in_y = [[np.linalg.norm(a - b) <= r for b, r in zip(y, of_y, strict=True)] for a in x]
    return {
        "precision": np.mean([any(row) for row in in_x]),
        "recall": np.mean([any(row) for row in in_y]),
        "density": np.sum(in_x) / (k * len(y)),
        "coverage": np.mean([any(row[i] for row in in_x) for i in range(len(x))]),
    }


@pytest.mark.parametrize(("k", "distances"), [(1, 4_000_000), (3, 70)])
def test_shares_are_those_of_the_definitions(k: int, distances: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_DISTANCES", distances)  # in one part, and in many
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(31, 2)), rng.normal([0.8, 0], [0.6, 1.5], size=(23, 2))
    found, wanted = fidelity(x, y, k), by_definition(x, y, k)
    assert {name: one.value for name, one in found.items()} == pytest.approx(wanted)
    assert len({round(value, 3) for value in wanted.values()}) == 4
    for name, n in (("precision", 23), ("recall", 31), ("coverage", 31)):
        right = wanted[name] * n
        assert found[name].error == pytest.approx(beta(right + 0.5, n - right + 0.5).std())


def test_a_share_of_zero_has_an_error() -> None:
    points = np.random.default_rng(0).normal(size=(300, 3))
    found = fidelity(points, points + 100)["precision"]
    assert found.value == 0
    assert found.error == pytest.approx(0.0023, abs=1e-4)


def test_draws_of_the_examples_distribution_have_density_one() -> None:
    rng = np.random.default_rng(1)
    found = fidelity(rng.normal(size=(1500, 4)), rng.normal(size=(1500, 4)))
    assert found["density"].value == pytest.approx(1, abs=0.05)
    assert found["coverage"].value == pytest.approx(1 - 0.5**5, abs=0.02)  # 1 - 2^-k for as many draws


def test_unfit_sets_are_refused() -> None:
    with pytest.raises(UsageError, match="rows of one length"):
        fidelity(np.zeros((9, 2)), np.zeros((9, 3)))
    with pytest.raises(UsageError, match="k = 5: 9 examples and 5 draws"):
        fidelity(np.zeros((9, 2)), np.zeros((5, 2)))


def test_half_of_independent_samples_are_nearer_to_training_examples() -> None:
    rng = np.random.default_rng(2)
    share, error = nearer_to_training(*(rng.normal(size=(400, 3)) for _ in range(3)), rng)
    assert 0.01 < error < 0.06
    assert abs(share - 0.5) < 3 * error
    training = rng.normal(size=(400, 3))
    share, error = nearer_to_training(training + 0.01, training, rng.normal(size=(200, 3)), rng)
    assert share - 0.5 > 5 * error


def digits(n: int = 90, side: int = 14, condition: bool = False) -> tuple[VAE, Dataset]:
    x = np.random.default_rng(0).integers(0, 256, (n, side, side, 1)).astype(np.uint8)
    split = np.repeat([0, 1], [n // 3, n - n // 3])
    data = Dataset("noise", x, split, np.arange(n) % 3, scale=255.0)
    torch.manual_seed(0)
    more = {"condition": "labels", "condition_dim": 3} if condition else {}
    return VAE.build(shape=data.shape, hidden=[8], latent_dim=2, **more), data


@pytest.mark.parametrize("condition", [False, True])
def test_pictures_of_a_model(condition: bool) -> None:
    vae, data = digits(condition=condition)
    rows = data.indices("test")
    held_out = data.indices("train") if len(rows) == 0 else rows
    found = picture_measures(vae, data, held_out, seed=3)
    again = picture_measures(vae, data, held_out, seed=3)
    assert found == again
    labels = data.labels[held_out] if condition else None
    rebuilt = vae.reconstruct(data.values(held_out), condition=labels).numpy()
    assert found["mse"] == compare_pictures(data.values(held_out), rebuilt)["mse"]
    assert {"frechet_draws", "precision", "recall", "density", "coverage"} < set(found)
    assert found["precision"].details["features"].startswith("elboroom-features-1/turns+blurs+labels/")
    assert found["nearer_to_training"].details["training"] > 1
    assert all(one.examples == len(held_out) for one in found.values())


def test_training_pictures_cannot_tell_of_memorisation() -> None:
    vae, data = digits()
    assert "nearer_to_training" not in picture_measures(vae, data, data.indices("train"))
    assert "nearer_to_training" not in picture_measures(vae, data, data.indices("all"))


def test_a_repeated_picture_is_seen() -> None:
    vae, data = digits()
    picture = torch.from_numpy(data.values(data.indices("train"))[:1])
    vae.sample = lambda n, **_: picture.expand(n, *picture.shape[1:])  # type: ignore[method-assign]
    found = picture_measures(vae, data, data.indices("test"))
    assert found["nearer_to_training"].value == 1
    assert found["recall"].value == 0


def test_model_units_do_not_matter() -> None:
    vae, data = digits()
    shifted = Dataset("shifted", data.values(slice(None)) * 2 - 1, data.split, data.labels)
    a = picture_measures(vae, data, data.indices("test"))
    vae.value_range = (-1.0, 1.0)
    mean = vae.reconstruct
    vae.reconstruct = lambda x, _=None: mean((x + 1) / 2) * 2 - 1  # type: ignore[method-assign]
    sample = vae.sample
    vae.sample = lambda n: sample(n) * 2 - 1  # type: ignore[method-assign]
    b = picture_measures(vae, shifted, shifted.indices("test"))
    for name, one in a.items():
        assert b[name].value == pytest.approx(one.value, rel=1e-2, abs=1e-4), name
    with pytest.raises(
        UsageError, match=r"values from 0 to 5, .* trained on pictures from -1 \(black\) to 1 \(white\)"
    ):
        picture_measures(vae, Dataset("wide", data.values(slice(None)) * 5, data.split), np.arange(20))


def test_what_are_no_pictures_is_refused() -> None:
    data = Dataset("rows", np.zeros((9, 5), np.float32), np.zeros(9))
    vae = VAE.build(shape=(5,), hidden=[8])
    batches = Batches(data, torch.device("cpu"))
    with pytest.raises(UsageError, match="no pictures"):
        measure(vae, data, batches, np.arange(9), ["pictures"])
    vae, data = digits()
    with pytest.raises(UsageError, match="at least 6"):
        picture_measures(vae, data, np.arange(5))


def test_the_command_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--epochs", "1", "--hidden", "8", "--out", "r", "--quiet", "--recipe", "ae"]
    assert main(["train", "digits", *options]) == 0
    command = ["evaluate", "r", "--num-samples", "0", "--measures", "pictures"]
    assert main(command) == 0
    kept = json.loads(Path("r/metrics.json").read_text())
    found = json.dumps(kept)
    assert "high_frequency_share" in found
    assert "frechet" not in found  # 8×8 pixels
    assert main(["fit-prior", "r"]) == 0
    assert main([*command, "--prior", "fitted"]) == 0
    assert main(["evaluate", "r", "--prior", "fitted"]) == 2
