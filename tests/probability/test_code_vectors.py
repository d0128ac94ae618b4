"""Normalised vectors against PyTorch's batch normalisation, and the codes that a short training then uses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import elboroom
from elboroom import VAE
from elboroom.config import Config
from elboroom.data import load_data
from elboroom.data.batches import Batches
from elboroom.evaluation.fitting import sampled_codes
from elboroom.objectives import recipe
from elboroom.probability.code_vectors import CodeVectors
from elboroom.probability.codebooks import perplexity
from elboroom.probability.layout import Layout
from elboroom.probability.quantizers import FiniteScalarQuantizer
from elboroom.runs.run import Run
from elboroom.training import fit
from elboroom.training.prepare import build


@pytest.mark.parametrize("first", [False, True])
def test_they_are_those_of_batch_normalisation(first: bool) -> None:
    """Outputs, gradients and running averages, plain ones over the first batches (momentum=None)."""
    torch.manual_seed(0)
    ours = CodeVectors(Layout((4, 3), first), "batch").double()
    theirs = (nn.BatchNorm1d(3 if first else 12, affine=False, momentum=None)).double()
    shape = (5, 3, 4) if first else (5, 4, 3)
    for _ in range(3):
        features = (7 * torch.randn(shape).double() + 50).requires_grad_()
        weights = torch.randn(20, 3).double()
        own = ours(features)
        normalized = theirs(features if first else features.flatten(1))
        expected = normalized.transpose(1, 2).reshape(20, 3) if first else normalized.reshape(20, 3)
        torch.testing.assert_close(own, expected, rtol=1e-10, atol=1e-10)
        gradients = [torch.autograd.grad((x**2 * weights).sum(), features)[0] for x in (own, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-10)
    assert theirs.running_mean is not None
    torch.testing.assert_close(ours.mean, theirs.running_mean)
    torch.testing.assert_close(ours.variance, theirs.running_var)
    own, normalized = ours.eval()(features), theirs.eval()(features if first else features.flatten(1))
    expected = normalized.transpose(1, 2).reshape(20, 3) if first else normalized.reshape(20, 3)
    torch.testing.assert_close(own, expected, rtol=1e-10, atol=1e-10)


def test_the_averages_are_exponential_after_ten_batches() -> None:
    vectors = CodeVectors(Layout((1, 1), False), "batch")
    means = np.random.default_rng(0).normal(size=15)
    for mean in means:
        vectors(torch.tensor([[mean - 2], [mean + 2]]).float())
    expected = means[:10].mean()
    for mean in means[10:]:
        expected += 0.1 * (mean - expected)
    assert float(vectors.mean) == pytest.approx(expected, rel=1e-5)
    assert float(vectors.variance) == pytest.approx(8, rel=1e-4)  # 4 · 2 / (2 − 1)


def test_a_row_alone_is_normalised_by_the_averages_and_moves_none() -> None:
    vectors = CodeVectors(Layout((1, 1), False), "batch")
    vectors(torch.tensor([[1.0], [5.0]]))
    before = {name: value.clone() for name, value in vectors.state_dict().items()}
    assert vectors(torch.tensor([[11.0]])).item() == pytest.approx((11 - 3) / 8**0.5, rel=1e-4)
    assert all(torch.equal(before[name], value) for name, value in vectors.state_dict().items())


def test_finite_scalars_take_the_nearest_level() -> None:
    """By brute force: the level nearest to the bounded number (arXiv:2309.15505 §3.1 and appendix A.1)."""
    levels = [3, 4, 5, 8]
    features = 2 * np.random.default_rng(0).normal(size=(500, 1, 4))
    chosen = FiniteScalarQuantizer((1, 4), levels)(torch.from_numpy(features))
    index = np.zeros(500, int)
    for i, count in enumerate(levels):
        half, offset = (count - 1) * 1.001 / 2, 0.5 * (count % 2 == 0)
        bounded = np.tanh(features[:, 0, i] + np.arctanh(offset / half)) * half - offset
        steps = np.arange(count) - count // 2
        nearest = np.abs(bounded[:, None] - steps).argmin(1)
        assert np.allclose(chosen.mean[:, i], steps[nearest] / (count // 2))
        index += nearest * int(np.prod(levels[:i]))
    assert np.array_equal(chosen.indices[:, 0], index)


RECIPES: dict[str, dict[str, Any]] = {
    "fsq": {"hidden": (128,), "code_grid": (4,)},
    "vq-vae": {"hidden": (128,), "code_grid": (4,), "codebook_size": 128},
    "residual-vq": {"hidden": (128,), "code_grid": (4,), "codebook_size": 128, "codebook_depth": 2},
    "tokenizer-fsq": {"conv_levels": 1, "conv_width": 8, "epochs": 3},
    "tokenizer-vq": {"conv_levels": 1, "conv_width": 8, "epochs": 3},
}


def used(vae: VAE, data: Any) -> float:
    """Geometric mean over places of the perplexity of the codes at each."""
    indices = sampled_codes(vae, Batches(data, torch.device("cpu")), np.asarray(data.indices("train")))
    counts = nn.functional.one_hot(indices, vae.posterior.codebook_size).sum(0)
    return float(perplexity(counts.float()).log().mean().exp())


@pytest.mark.parametrize("name", RECIPES)
def test_every_place_uses_many_codes_after_a_few_epochs(name: str) -> None:
    """Without normalisation, fsq has one, and vq two or three codes at each of four places."""
    data = load_data("digits")
    config = recipe(name, Config().updated(epochs=6, validation=0.0, seed=0), **RECIPES[name])
    vae = build(config, data)
    history = fit(vae, data, config=config, quiet=True)
    assert used(vae, data) > 20
    if "tokenizer" not in name:
        assert history[-1]["distortion"] < 25  # 27.1 for the mean of the digits


def test_a_run_of_an_earlier_version_is_not_normalised(tmp_path: Path) -> None:
    """Its config.json does not have the field, and its weights have no averages."""
    data = load_data("digits")
    config = recipe("fsq", Config().updated(epochs=1, hidden=(8,)), code_grid=(2,), code_normalization="none")
    vae = build(config, data)
    fit(vae, data, config=config, out=tmp_path / "run", quiet=True)
    vae.save(tmp_path / "model.safetensors")
    file = tmp_path / "run" / "config.json"
    stored = json.loads(file.read_text())
    assert stored["model"].pop("code_normalization") == "none"
    file.write_text(json.dumps(stored))
    loaded = elboroom.load(tmp_path / "run")
    x = torch.rand(5, 8, 8, 1)
    assert torch.equal(loaded.encode(x).indices, vae.encode(x).indices)
    assert Run(tmp_path / "run").config.model.code_normalization == "none"
    assert VAE.build(shape=(4,), posterior="fsq").posterior.vectors.normalization == "batch"
