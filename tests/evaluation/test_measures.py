"""Groups of measures of a model, probes, and ``evaluate --measures``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elboroom.cli.main import main
from elboroom.data import Dataset, drawn
from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.evaluation import measures
from elboroom.evaluation.disentanglement import disentanglement
from elboroom.evaluation.measures import GROUPS, measure
from elboroom.evaluation.probes import probes
from elboroom.evaluation.reliability import reliability
from elboroom.models.terms import NLL
from elboroom.models.vae import VAE


def little(labels: bool = True) -> tuple[Any, Dataset, Batches]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 5)).astype(np.float32)
    data = Dataset("little", x, np.zeros(120), (x[:, 0] > 0).astype(int) if labels else None)
    torch.manual_seed(0)
    vae = VAE.build(shape=(5,), latent_dim=3, likelihood="gaussian")
    return vae, data, Batches(data, torch.device("cpu"))


def test_groups_are_what_their_functions_return() -> None:
    vae, data, batches = little()
    factors = {"a": np.asarray(data.x[:, 0] > 0), "b": np.asarray(data.x[:, 1])}
    rows = np.arange(10, 110)
    groups = [name for name in GROUPS if name != "pictures"]
    found = measure(vae, data, batches, rows, groups, factors=factors, seed=2)
    assert list(found) == groups
    codes = vae.embed(data.x[rows])
    assert found["probes"] == probes(codes, data.labels[rows], seed=2)
    those = {name: values[rows] for name, values in factors.items()}
    assert found["disentanglement"] == disentanglement(codes, those, seed=2)
    assert {one.examples for one in found["latents"].values()} == {100}


def test_of_many_examples_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "MOST", 40)
    vae, data, batches = little()
    found = measure(vae, data, batches, np.arange(120), ["latents"])
    assert found["latents"]["marginal_kl"].examples == 40


def test_the_factors_of_drawn_sets_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    vae, data, batches = little()
    sizes = {"hue": 4, "size": 30}
    small = drawn.Drawn(sizes, (1, 1, 1), lambda _: None, "hue", tuple("abcd"), 1.0)
    monkeypatch.setitem(drawn.DRAWN, "little", small)
    found = measure(vae, data, batches, np.arange(120), ["disentanglement"])
    assert sorted(found["disentanglement"]["mig"].details["factors"]) == ["hue", "size"]


@pytest.mark.parametrize(
    ("labels", "groups", "factors", "message"),
    [
        (True, ["latent"], None, "no group of measures 'latent'"),
        (False, ["probes"], None, "has no labels"),
        (True, ["disentanglement"], None, "are not known; give factors.*there are probes"),
        (True, ["disentanglement"], {"a": np.zeros(3)}, r"shape \(3,\); little has 120 examples"),
    ],
)
def test_what_the_data_do_not_have(labels: bool, groups: list[str], factors: Any, message: str) -> None:
    vae, data, batches = little(labels)
    with pytest.raises(UsageError, match=message):
        measure(vae, data, batches, np.arange(120), groups, factors=factors)


def test_probes_by_hand() -> None:
    """A label that one dimension tells, in any units; one that only neighbours tell; one that none do."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2000, 2)) * [1000.0, 0.001]
    easy = probes(z, (z[:, 1] > 0).astype(int))
    assert easy["linear_probe"].value > 0.97
    quadrants = probes(z, (z[:, 0] * z[:, 1] > 0).astype(int))
    assert quadrants["linear_probe"].value < 0.6
    assert quadrants["knn_probe"].value > 0.9
    chance = probes(z, (rng.random(2000) < 0.8).astype(int))
    assert chance["linear_probe"].value == pytest.approx(chance["linear_probe"].details["chance"], abs=0.04)
    with pytest.raises(UsageError, match="two labels"):
        probes(z, np.ones(2000))
    with pytest.raises(UsageError, match="at least 30"):
        probes(z[:20], np.arange(20))


def test_evaluate_prints_and_keeps_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(150, 4)).astype(np.float32)
    np.savez("d.npz", x=x, labels=x[:, 0] > 0)
    np.savez("f.npz", left=x[:, 0] > 0, up=np.round(x[:, 1]))
    np.savez("short.npz", left=np.arange(3))
    np.savez("objects.npz", left=np.array([None, 1], dtype=object))
    train = ["train", "d.npz", "--likelihood", "gaussian", "--latent-dim", "2", "--epochs", "1", "--out", "r"]
    assert main([*train, "--quiet"]) == 0
    capsys.readouterr()
    evaluate = ["evaluate", "r", "--split", "all", "--num-samples", "5", "--measures"]
    assert main([*evaluate, "latents", "probes", "disentanglement", "--factors", "f.npz"]) == 0
    out = capsys.readouterr().out
    for words in ("index code information", "total correlation", "linear probe", "factor vae"):
        assert words in out
    kept = json.loads((tmp_path / "r" / "metrics.json").read_text())
    record = next(one for one in [kept, *kept.get("others", [])] if "measures" in one)
    assert sorted(record["measures"]["disentanglement"]["mig"]["details"]["factors"]) == ["left", "up"]
    for file, words in (
        ("short.npz", "has 150 examples"),
        ("objects.npz", "no .npz of numbers or strings"),
        ("d.json", "cannot be read"),
    ):
        assert main([*evaluate, "disentanglement", "--factors", file]) == 2
        err = capsys.readouterr().err
        assert words in err
        assert len(err.strip().splitlines()) == 1


def test_what_a_measure_needs_is_said_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "train digits --recipe ae --hidden 8 --epochs 1 --batch-size 500 --figures-every 0 --quiet"
    run = str(tmp_path / "ae")
    assert main([*words.split(), "--out", run]) == 0
    evaluate = ["evaluate", run, "--num-samples", "0", "--limit", "60", "--measures"]
    capsys.readouterr()
    assert main([*evaluate, "probes", "latents"]) == 2
    assert "leave latents out" in capsys.readouterr().err
    assert main([*evaluate, "probes", "--factors", str(tmp_path / "f.npz")]) == 2
    assert "is for --measures disentanglement" in capsys.readouterr().err
    assert main([*evaluate, "probes"]) == 0
    assert "(chance 0." in capsys.readouterr().out


def test_a_likelihood_of_one_effective_sample_is_not_reliable() -> None:
    one = torch.zeros(10, 4).index_fill(0, torch.tensor([3]), 50.0)
    told = reliability(NLL.from_log_weights(one))
    assert told["nll_unreliable"] is None
    assert str(told["nll_verdict"]).startswith("not reliable: half of the estimates rest on 1 effective")
    assert reliability(NLL.from_log_weights(torch.zeros(10, 4)))["nll_verdict"] is None
    assert reliability(NLL.from_log_weights(torch.zeros(1, 4)))["nll_verdict"] is None  # the ELBO
