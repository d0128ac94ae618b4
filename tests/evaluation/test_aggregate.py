"""The rate taken apart, against Gaussian formulas and brute force."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.evaluation.aggregate import aggregate_log_prob, aggregate_measures
from elboroom.models.vae import VAE
from elboroom.probability import DiagonalGaussianHead, GaussianHead, StandardNormal
from elboroom.probability.posteriors import DeterministicHead, DiagonalGaussian
from elboroom.probability.priors import MixturePrior

D = 3


def model(weight: Any, scale: Any, prior: Any = None) -> VAE:
    """q(z|x) = N(weight x, scale²) for x (3,)."""
    weight, scale = torch.as_tensor(weight, dtype=torch.float32), torch.as_tensor(scale, dtype=torch.float32)
    d = len(weight)
    encoder = nn.Linear(D, 2 * d)
    with torch.no_grad():
        encoder.weight.copy_(torch.cat([weight, torch.zeros(d, D)]))
        encoder.bias.copy_(torch.cat([torch.zeros(d), (scale - 1e-6).expm1().log()]))
    heads = {"posterior": DiagonalGaussianHead(d), "likelihood": GaussianHead((D,), scale=1.0)}
    return VAE(encoder, nn.Linear(d, D), prior or StandardNormal(d), shape=(D,), **heads)


def batches(x: np.ndarray) -> Batches:
    return Batches(Dataset("x", x.astype(np.float32), np.zeros(len(x))), torch.device("cpu"))


def test_of_gaussian_codes_by_formula() -> None:
    """Means N(0, WWᵀ) and widths s: q(z) = N(0, C) with C = WWᵀ + s² tells every term."""
    weight, scale = np.array([[1.0, 0.5, 0.0], [0.8, -0.3, 0.9]]), np.array([0.6, 0.3])
    x = np.random.default_rng(0).normal(size=(3000, D))
    found = aggregate_measures(model(weight, scale), batches(x), np.arange(3000), codes=1500)
    c = weight @ weight.T + np.diag(scale**2)
    log_det = np.linalg.slogdet(c)[1]
    expected = {
        "index_code_information": 0.5 * log_det - np.log(scale).sum(),
        "total_correlation": 0.5 * (np.log(np.diag(c)).sum() - log_det),
        "dimension_wise_kl": 0.5 * (np.diag(c) - 1 - np.log(np.diag(c))).sum(),
        "marginal_kl": 0.5 * (np.trace(c) - 2 - log_det),
    }
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=4 * found[name].error + 0.02), name
    each = 0.5 * (np.diag(c) - 1 - np.log(np.diag(c)))
    np.testing.assert_allclose(found["dimension_wise_kl"].details["dimensions"], each, atol=0.05)


def test_the_terms_add_up_to_the_rate() -> None:
    x = np.random.default_rng(1).normal(size=(300, D)) * 2
    vae = model(np.eye(D)[:2], [0.5, 1.5])
    found = aggregate_measures(vae, batches(x), np.arange(300), codes=3000)
    value = {name: measure.value for name, measure in found.items()}
    assert value["total_correlation"] + value["dimension_wise_kl"] == pytest.approx(
        value["marginal_kl"], abs=1e-9
    )
    means, scale = x[:, :2], np.array([0.5, 1.5])
    rate = 0.5 * (means**2 + scale**2 - 1 - 2 * np.log(scale)).sum(1)
    error = rate.std() / math.sqrt(3000) + found["marginal_kl"].error
    assert value["index_code_information"] + value["marginal_kl"] == pytest.approx(rate.mean(), abs=4 * error)


def test_codes_far_apart_know_which_example_it_was() -> None:
    x = np.arange(50)[:, None] * np.ones((1, D))
    found = aggregate_measures(model([[10.0, 0, 0]], [0.1]), batches(x), np.arange(50), codes=500)
    assert found["index_code_information"].value == pytest.approx(math.log(50), abs=1e-6)


def test_codes_that_ignore_the_examples() -> None:
    x = np.random.default_rng(2).normal(size=(40, D))
    found = aggregate_measures(model(np.zeros((2, D)), [1.0, 1.0]), batches(x), np.arange(40))
    for name, measure in found.items():
        assert measure.value == pytest.approx(0, abs=1e-5), name


def test_the_aggregate_density_is_the_mean_of_densities() -> None:
    rng = np.random.default_rng(3)
    q = DiagonalGaussian(
        torch.from_numpy(rng.normal(size=(7, 2))), torch.from_numpy(rng.uniform(0.2, 2, (7, 2)))
    )
    z = torch.from_numpy(rng.normal(size=(5, 2)))
    joint, marginal = aggregate_log_prob(q, z)
    for i in range(5):
        each = [torch.distributions.Normal(m, s).log_prob(z[i]) for m, s in zip(q.mean, q.scale, strict=True)]
        dense = torch.stack(each)
        assert joint[i].item() == pytest.approx(dense.sum(1).exp().mean().log().item(), abs=1e-12)
        np.testing.assert_allclose(marginal[i], dense.exp().mean(0).log(), atol=1e-12)


def test_another_prior_has_no_dimensions() -> None:
    torch.manual_seed(0)
    x = np.random.default_rng(4).normal(size=(200, D))
    vae = model(np.eye(D)[:2], [0.5, 0.5], MixturePrior(2, components=3))
    found = aggregate_measures(vae, batches(x), np.arange(200), codes=300)
    assert set(found) == {"index_code_information", "marginal_kl"}
    assert found["marginal_kl"].examples == 200


def test_it_leaves_the_callers_randomness_alone_and_repeats() -> None:
    x = np.random.default_rng(5).normal(size=(30, D))
    vae = model(np.eye(D)[:2], [0.5, 0.5])
    torch.manual_seed(7)
    before = torch.get_rng_state()
    one = aggregate_measures(vae, batches(x), np.arange(30), seed=3)
    assert torch.equal(before, torch.get_rng_state())
    assert one == aggregate_measures(vae, batches(x), np.arange(30), seed=3)
    assert one != aggregate_measures(vae, batches(x), np.arange(30), seed=4)


def test_what_cannot_be_taken_apart() -> None:
    x = np.zeros((30, D)) + np.arange(30)[:, None]
    vae = model(np.eye(D)[:2], [0.5, 0.5])
    with pytest.raises(UsageError, match="at least 2 of each"):
        aggregate_measures(vae, batches(x), np.arange(1))
    points = VAE(
        nn.Linear(D, 2), nn.Linear(2, D), StandardNormal(2), shape=(D,), posterior=DeterministicHead(2),
        likelihood=GaussianHead((D,), scale=1.0),
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"this model has another posterior, .*; leave latents out"):
        aggregate_measures(points, batches(x), np.arange(30))
