"""``fit-prior``, and samples from what it fitted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from elboroom.evaluation import fitters
from elboroom.probability.gaussian_mixture import GaussianMixture

from .conftest import SMALL, Command


@pytest.fixture
def data() -> str:
    x = np.random.default_rng(0).normal(size=(400, 5)).astype(np.float32)
    x[:, 1] = x[:, 0] > 0
    np.savez("d.npz", x=x, labels=np.arange(400) % 2)
    return "d.npz"


def _train(elboroom: Command, data: str, *options: object) -> None:
    result = elboroom("train", data, "--likelihood", "gaussian", "--out", "r", *SMALL, *options)
    assert result.code == 0, result.err


def test_fit_then_sample(elboroom: Command, undrawn: None, data: str) -> None:
    _train(elboroom, data, "--recipe", "ae", "--latent-dim", 3)
    plain = elboroom("sample", "r", "--out", "a.npy")
    assert "will look like noise" in plain.err
    assert "run 'elboroom fit-prior r'" in plain.err
    assert elboroom("sample", "r", "--prior", "fitted", "--out", "b.npy").code == 2
    fit = elboroom("fit-prior", "r")
    assert fit.code == 0, fit.err
    assert re.search(r"N\(0, I\) +-[\d.]+ ± [\d.]+  \(fitted is higher by [\d.]+", fit.out)
    record = json.loads(Path("r/fitted_prior.json").read_text())
    assert record["held_out"]["gain_over_standard_normal"]["unit"] == "nats"
    statistics = json.loads(Path("r/latent_statistics.json").read_text())
    assert len(statistics["scaling_factor"]) == 3
    fitted = elboroom("sample", "r", "--prior", "fitted", "--out", "b.npy")
    assert fitted.code == 0, fitted.err
    assert "drawing from the fitted prior: Gaussian mixture of" in fitted.err
    assert "noise" not in fitted.err
    # Without the option nothing changes, and a line says so.
    again = elboroom("sample", "r", "--out", "c.npy")
    assert "drawing from the model's own prior" in again.err
    np.testing.assert_array_equal(np.load("a.npy"), np.load("c.npy"))
    assert not np.array_equal(np.load("b.npy"), np.load("c.npy"))
    twice = elboroom("fit-prior", "r")
    assert twice.code == 2
    assert "--overwrite" in twice.err
    found = json.loads(elboroom("fit-prior", "r", "--overwrite", "--json", "--limit", 100).out)
    assert found["codes"] + found["codes_to_choose_by"] == 100
    # However many it is fitted to, it is scored on the same held-out examples.
    assert found["held_out"]["fitted"]["examples"] == record["held_out"]["fitted"]["examples"]
    few = elboroom("fit-prior", "r", "--overwrite", "--limit", 3)
    assert few.code == 2
    assert "--limit 3 training examples: a density is fitted to at least 20 codes" in few.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["latents", "--limit", 1], "--limit 1: --measures latents needs at least 2 examples"),
        (["pictures", "--limit", 3], "--limit 3: --measures pictures needs at least 6 examples"),
        (["probes", "--limit", 29], "--limit 29: --measures probes needs at least 30 examples"),
        (["disentanglement"], "are unknown; give --factors FILE.npz"),
    ],
)
def test_measures_of_too_little_name_the_option(
    options: list[object], words: str, elboroom: Command, undrawn: None, data: str
) -> None:
    _train(elboroom, data, "--latent-dim", 2)
    refused = elboroom("evaluate", "r", "--num-samples", 0, "--measures", *options)
    assert refused.code == 2
    assert words in refused.err


def test_more_training_makes_it_out_of_date(elboroom: Command, undrawn: None, data: str) -> None:
    _train(elboroom, data, "--latent-dim", 2)
    assert elboroom("fit-prior", "r").code == 0
    assert elboroom("resume", "r", "--epochs", 4, "--quiet").code == 0
    old = elboroom("sample", "r", "--prior", "fitted", "--out", "a.npy")
    assert old.code == 2
    assert "fitted to other weights" in old.err
    assert elboroom("train", data, "--likelihood", "gaussian", "--out", "r", *SMALL, "--overwrite").code == 0
    assert not Path("r/fitted_prior.json").exists()
    assert not Path("r/latent_statistics.json").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--recipe", "svae", "--latent-dim", 3), "on a sphere"),
        (("--condition", "labels"), "conditional"),
    ],
)
def test_refusals_name_the_reason(
    elboroom: Command, undrawn: None, data: str, options: tuple[object, ...], words: str
) -> None:
    _train(elboroom, data, *options)
    for command in (("fit-prior", "r"), ("sample", "r", "--prior", "fitted", "--out", "a.npy")):
        result = elboroom(*command)
        assert result.code == 2
        assert words in result.err
        assert len(result.lines) == 1


def test_figures_neighbours_and_dense_morphs_use_it(
    elboroom: Command, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _train(elboroom, data, "--recipe", "ae", "--latent-dim", 2)
    assert elboroom("fit-prior", "r").code == 0
    used: list[str] = []
    log_prob, sample = GaussianMixture.log_prob, GaussianMixture.sample
    monkeypatch.setattr(GaussianMixture, "log_prob", lambda *a: used.append("log_prob") or log_prob(*a))
    monkeypatch.setattr(GaussianMixture, "sample", lambda *a: used.append("sample") or sample(*a))
    ends = ("d.npz:0", "d.npz:5")
    for command, method in (
        (("figures", "r", "--only", "samples", "manifold"), "sample"),
        (("neighbours", "r", "--samples", 3), "sample"),
        (("morph", "r", *ends, "--path", "dense", "--out", "m.png"), "log_prob"),
    ):
        plain = elboroom(*command, "--overwrite")
        assert plain.code == 0, plain.err
        assert used == []
        fitted = elboroom(*command, "--overwrite", "--prior", "fitted")
        assert fitted.code == 0, fitted.err
        assert "the fitted prior: Gaussian mixture" in fitted.err
        assert set(used) == {method}
        used.clear()


def test_where_no_prior_is_used_the_option_is_refused(elboroom: Command, undrawn: None, data: str) -> None:
    _train(elboroom, data, "--latent-dim", 2)
    for command, words in (
        (("morph", "r", "d.npz:0", "d.npz:1"), "--path dense"),
        (("neighbours", "r", "d.npz:0"), "--samples"),
    ):
        result = elboroom(*command, "--prior", "fitted")
        assert result.code == 2
        assert words in result.err
        assert len(result.lines) == 1


def test_a_quantised_run_gets_an_autoregressive_prior(
    elboroom: Command, undrawn: None, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elboroom.evaluation.fitters._CODE_EPOCHS", 2)
    options = ("--recipe", "fsq", "--model.code-grid", 2, "--model.fsq-levels", 3, 3)
    loud = [option for option in SMALL if option != "--quiet"]
    trained = elboroom("train", data, "--likelihood", "gaussian", "--out", "r", *loud, *options)
    assert trained.code == 0, trained.err
    assert "'elboroom fit-prior r --kind autoregressive' fits a prior to them" in trained.err
    plain = elboroom("sample", "r", "--out", "a.npy")
    assert "run 'elboroom fit-prior r --kind autoregressive', then use --prior fitted" in plain.err
    wrong = elboroom("fit-prior", "r", "--kind", "knn")
    assert wrong.code == 2
    assert "kind 'autoregressive' learns the entries" in wrong.err
    fit = elboroom("fit-prior", "r")
    assert fit.code == 0, fit.err
    assert "log-probability of the indices of" in fit.out
    assert re.search(r"uniform +-4\.394 ", fit.out)  # 2 log 9
    fitted = elboroom("sample", "r", "--prior", "fitted", "--out", "b.npy")
    assert fitted.code == 0, fitted.err
    assert "causal transformer" in fitted.err
    assert np.load("b.npy").shape[1:] == (5,)
    dense = elboroom("morph", "r", "d.npz:0", "d.npz:5", "--path", "dense", "--out", "m.png")
    assert dense.code == 2
    assert "take --path linear" in dense.err


@pytest.mark.parametrize("kind", ["knn", "vae"])
def test_other_kinds_are_fitted_and_drawn_from(
    elboroom: Command, undrawn: None, data: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(fitters._TRAINED, "vae", (2, 2, 64, 3e-3))
    _train(elboroom, data, "--recipe", "ae", "--latent-dim", 2)
    fit = elboroom("fit-prior", "r", "--kind", kind)
    assert fit.code == 0, fit.err
    assert ("lower bound" in fit.out) == (kind == "vae")
    for command in (
        ("sample", "r", "--out", "a.npy"),
        ("morph", "r", "d.npz:0", "d.npz:5", "--path", "dense", "--out", "m.png"),
    ):
        result = elboroom(*command, "--prior", "fitted")
        assert result.code == 0, result.err
    continuous = elboroom("fit-prior", "r", "--kind", "autoregressive", "--overwrite")
    assert continuous.code == 2
    assert "its codes are continuous" in continuous.err


def test_an_autoencoder_has_no_elbo(elboroom: Command, undrawn: None, data: str) -> None:
    """Its number is log p(x|z), which bounds no likelihood, wherever it is shown."""
    options = ["--likelihood", "gaussian", "--recipe", "ae", "--latent-dim", 2, "--out", "r", *SMALL]
    trained = elboroom("train", data, *[option for option in options if option != "--quiet"])
    assert trained.code == 0, trained.err
    assert "ELBO" not in trained.out + trained.err
    assert "log p(x|z) -" in trained.out
    measured = elboroom("evaluate", "r", "--num-samples", 0)
    assert measured.code == 0, measured.err
    assert "log p(x|z)" in measured.out
    assert "elbo" not in measured.out
    found = json.loads(elboroom("evaluate", "r", "--num-samples", 0, "--json").out)
    assert found["likelihood_of"] == "log p(x | z)"
    assert found["elbo"] == -found["distortion"]  # the key stays
