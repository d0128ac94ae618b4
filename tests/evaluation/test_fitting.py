"""Priors fitted after training, on codes whose density is known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor

from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.evaluation.fitting import (
    fit_prior,
    latent_statistics,
    sampled_codes,
    score_prior,
    why_noise,
    why_not,
)
from elboroom.io.tensors import write_tensors
from elboroom.models.fitted_prior import FILE, RECORD, read_fitted, write_fitted
from elboroom.models.vae import VAE
from elboroom.probability.gaussian_mixture import GaussianMixture

WEIGHTS = [0.2, 0.3, 0.5]
MEANS = np.array([[-6.0, 0.0, 100.0], [4.0, 3.0, 101.0], [4.0, -5.0, 99.0]])
COVARIANCES = np.stack(
    [np.diag([1.0, 0.25, 0.01]), [[2.0, 1.2, 0], [1.2, 1.0, 0], [0, 0, 0.04]], 0.5 * np.eye(3)]
)


def truth() -> GaussianMixture:
    factors = torch.linalg.cholesky(torch.from_numpy(COVARIANCES))
    return GaussianMixture(torch.tensor(WEIGHTS).double().log(), torch.from_numpy(MEANS), factors)


def drawn(n: int, seed: int) -> Tensor:
    """Codes of the known mixture, drawn by numpy."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(3, n, p=WEIGHTS)
    return torch.from_numpy(np.stack([rng.multivariate_normal(MEANS[i], COVARIANCES[i]) for i in chosen]))


def test_density_of_a_mixture_is_scipys() -> None:
    z = drawn(50, 0)
    each = [w * multivariate_normal(m, c).pdf(z) for w, m, c in zip(WEIGHTS, MEANS, COVARIANCES, strict=True)]
    torch.testing.assert_close(truth().log_prob(z), torch.from_numpy(np.log(sum(each))))
    spread = np.array([[0.5, 2.0]])
    one = GaussianMixture(torch.zeros(1).double(), torch.ones(1, 2).double(), torch.from_numpy(spread))
    expected = multivariate_normal([1, 1], np.diag(spread[0] ** 2)).logpdf([0.3, -1.0])
    assert one.log_prob(torch.tensor([0.3, -1.0]).double()).item() == pytest.approx(expected)
    assert one.log_prob(torch.zeros(4, 5, 2).double()).shape == (4, 5)


def test_draws_of_a_mixture_have_its_moments() -> None:
    torch.manual_seed(0)
    mixture, n = truth(), 40_000
    z = mixture.sample(n)
    mean = np.average(MEANS, axis=0, weights=WEIGHTS)
    away = MEANS - mean
    covariance = np.einsum("k,kij->ij", WEIGHTS, COVARIANCES + away[:, :, None] * away[:, None])
    np.testing.assert_allclose(z.mean(0), mean, atol=4 * math.sqrt(covariance.max() / n))
    np.testing.assert_allclose(np.cov(z.T), covariance, atol=0.02 * covariance.max())
    assert ((z[:, 0] < -1).double().mean().item()) == pytest.approx(0.2, abs=0.01)
    assert mixture.sample(0).shape == (0, 3)


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(UsageError, match="need 2 log-weights"):
        GaussianMixture(torch.zeros(1), torch.zeros(2, 3), torch.ones(2, 3))


def test_a_known_mixture_is_recovered() -> None:
    """Components, weights, means, and held-out nats within a few hundredths of those of the truth."""
    unseen = drawn(4000, 1)
    fitted = fit_prior(drawn(6000, 0))
    assert fitted.record["covariance"] == "full"
    assert fitted.record["components"] == 4  # of powers of two: three do
    lost = truth().log_prob(unseen) - fitted.density.log_prob(unseen)
    error = float(lost.std()) / math.sqrt(len(lost))
    assert -3 * error < float(lost.mean()) < 0.03
    normal = fit_prior(torch.randn(3000, 4, generator=torch.Generator().manual_seed(0)).double() * 7 - 3)
    assert normal.record["components"] == 1
    again = fit_prior(drawn(6000, 0))
    torch.testing.assert_close(again.density.mean, fitted.density.mean, rtol=0, atol=0)


def test_correlations_of_a_code_on_a_grid_are_kept() -> None:
    """144 dimensions, as of 4×4 places and 9 channels, that depend on 10: a full covariance is found."""
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn(144, 10, generator=generator).double()
    parts = torch.randn(900, 10, generator=generator).double(), torch.randn(900, 144, generator=generator)
    codes = parts[0] @ factor.T + 0.5 * parts[1].double()
    fitted = fit_prior(codes[:600])
    assert fitted.record["covariance"] == "full"
    assert fitted.record["components"] == 1
    truth = multivariate_normal(np.zeros(144), (factor @ factor.T).numpy() + 0.25 * np.eye(144))
    lost = truth.logpdf(codes[600:]) - fitted.density.log_prob(codes[600:]).numpy()
    diagonal = multivariate_normal(np.zeros(144), np.diag(np.diag(truth.cov))).logpdf(codes[600:])
    assert 0 < lost.mean() < 0.2 * (truth.logpdf(codes[600:]) - diagonal).mean()


def test_a_flow_fits_what_no_gaussian_is() -> None:
    """A ring: the flow comes near its entropy, in the units of the codes, and beats one Gaussian by far."""
    rng = np.random.default_rng(0)
    angle, radius = rng.uniform(0, 2 * np.pi, 3000), 5 + 0.3 * rng.normal(size=3000)
    z = torch.from_numpy(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1) * [1, 100] + [0, 7])
    fitted = fit_prior(z[:2500], kind="flow")
    with torch.no_grad():
        found = float(fitted.density.log_prob(z[2500:]).mean())
    entropy = math.log(2 * math.pi * 5) + math.log(100) + 0.5 * math.log(2 * math.pi * math.e * 0.3**2)
    one = multivariate_normal(z[:2500].numpy().mean(0), np.cov(z[:2500].numpy().T)).logpdf(z[2500:]).mean()
    assert one + 0.5 < found < -entropy + 0.1


def test_scores_are_those_of_scipy() -> None:
    vae = VAE.build(shape=(4,), hidden=[8], latent_dim=3, prior="mixture", prior_components=2)
    fitted, unseen = fit_prior(drawn(500, 0)), drawn(200, 1) / 10
    scores = score_prior(vae, fitted, unseen)
    expected = multivariate_normal(np.zeros(3), np.eye(3)).logpdf(unseen)
    assert scores["standard_normal"].value == pytest.approx(expected.mean())
    assert scores["standard_normal"].error == pytest.approx(expected.std(ddof=1) / math.sqrt(200))
    own = vae.prior.log_prob(unseen.float()).mean().item()
    assert scores["model_prior"].value == pytest.approx(own, rel=1e-5)
    gain = scores["fitted"].value - scores["model_prior"].value
    assert scores["gain_over_model_prior"].value == pytest.approx(gain)


def test_a_constant_dimension_is_told() -> None:
    z = torch.cat([drawn(200, 0), torch.full((200, 1), 3.0)], 1)
    fitted = fit_prior(z)
    assert fitted.record["constant_dimensions"] == 1
    assert fitted.density.sample(50)[:, 3].sub(3).abs().max() < 0.2
    with pytest.raises(UsageError, match="collapsed to a point"):
        fit_prior(torch.ones(50, 2))
    with pytest.raises(UsageError, match="at least 20"):
        fit_prior(torch.randn(10, 2))
    with pytest.raises(UsageError, match="must be one of gmm, flow, knn, vae, autoregressive"):
        fit_prior(z, kind="nearest")


def test_statistics_by_dimension_and_by_channel() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(500, 2, 3, 4)) * np.array([0.5, 4.0])[:, None, None] + 1
    found = latent_statistics(torch.from_numpy(z.reshape(500, -1)), (2, 3, 4))
    assert found["of"] == "channels"
    np.testing.assert_allclose(found["std"], z.std((0, 2, 3)))
    np.testing.assert_allclose(found["mean"], z.mean((0, 2, 3)))
    scaled = z * np.array(found["scaling_factor"])[:, None, None]
    np.testing.assert_allclose(scaled.std((0, 2, 3)), 1)
    assert found["overall_scaling_factor"] == pytest.approx(1 / z.std())
    by_dimension = latent_statistics(torch.from_numpy(z.reshape(500, -1)), (24,))
    np.testing.assert_allclose(by_dimension["std"], z.reshape(500, -1).std(0))


def test_codes_are_draws_from_the_posterior() -> None:
    data = Dataset("little", np.random.default_rng(0).random((300, 4)).astype(np.float32), np.zeros(300))
    batches, rows = Batches(data, torch.device("cpu")), np.arange(300)
    vae = VAE.build(shape=(4,), hidden=[8], latent_dim=2)
    q: Any = vae.encode(data.x)
    z = sampled_codes(vae, batches, rows, seed=1)
    noise = (z - q.mean) / q.scale
    assert noise.std().item() == pytest.approx(1, abs=0.1)
    torch.testing.assert_close(sampled_codes(vae, batches, rows, seed=1), z, rtol=0, atol=0)
    point = VAE.build(shape=(4,), hidden=[8], latent_dim=2, posterior="deterministic")
    torch.testing.assert_close(sampled_codes(point, batches, rows).float(), point.embed(data.x))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"posterior": "power_spherical", "prior": "sphere"}, "on a sphere"),
        ({"condition": "labels", "condition_dim": 3}, "conditional"),
        (
            {"posterior": "fsq", "prior": "uniform", "code_grid": (2,), "fsq_levels": (3, 4)},
            None,
        ),
        ({}, None),
    ],
)
def test_what_cannot_be_fitted(fields: dict[str, Any], reason: str | None) -> None:
    vae = VAE.build(shape=(4,), hidden=[8], **fields)
    found = why_not(vae)
    if reason is None:
        assert found is None
        return
    assert found is not None
    assert reason in found
    data = Dataset("little", np.zeros((30, 4), np.float32), np.zeros(30))
    with pytest.raises(UsageError, match=reason):
        sampled_codes(vae, Batches(data, torch.device("cpu")), np.arange(30))


def test_where_draws_are_noise() -> None:
    point = VAE.build(shape=(4,), hidden=[8], posterior="deterministic")
    assert "deterministic" in (why_noise(point) or "")
    assert why_noise(point, matched=True) is None
    usual = VAE.build(shape=(4,), hidden=[8])
    assert why_noise(usual) is None
    assert "beta 0.01" in (why_noise(usual, 0.01) or "")
    learned = VAE.build(shape=(4,), hidden=[8], prior="mixture")
    assert why_noise(learned, 0.01) is None
    codes = VAE.build(
        shape=(4,), hidden=[8], posterior="fsq", prior="uniform", code_grid=(2,), fsq_levels=(3, 4)
    )
    assert "codebook" in (why_noise(codes) or "")


@pytest.mark.parametrize("kind", ["gmm", "flow"])
def test_a_fitted_prior_is_kept_with_its_model(tmp_path: Path, kind: str) -> None:
    vae = VAE.build(shape=(4,), hidden=[8], latent_dim=3)
    with pytest.raises(UsageError, match="has no fitted prior; run 'elboroom fit-prior"):
        read_fitted(tmp_path, vae)
    fitted = fit_prior(drawn(300, 0), kind=kind)
    write_fitted(tmp_path, fitted, vae)
    again, z = read_fitted(tmp_path, vae), drawn(20, 1)
    assert again.kind == kind
    with torch.no_grad():
        # Float32 has 100 to 1e-5, a ten-thousandth of the least standard deviation.
        found, expected = again.density.log_prob(z.float()), fitted.density.log_prob(z).float()
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
    assert json.loads((tmp_path / RECORD).read_text())["codes"] == 270
    # The model itself is as before; the view has the other prior.
    x = torch.rand(5, 4)
    before = vae.nll(x, 10).value.mean()
    view = vae.with_prior(again.density)
    assert view.sample(7).shape == (7, 4)
    assert view.nll(x, 10).value.mean() > before + 100  # codes near 0 are far from those of the mixture
    assert list(view.state_dict()) == list(vae.state_dict())
    assert type(vae.prior).__name__ == "StandardNormal"
    # Weights that have changed since are another model.
    with torch.no_grad():
        next(vae.parameters()).add_(1e-3)
    with pytest.raises(UsageError, match="fitted to other weights"):
        read_fitted(tmp_path, vae)


def test_damaged_and_newer_files(tmp_path: Path) -> None:
    vae = VAE.build(shape=(4,), hidden=[8], latent_dim=3)
    write_fitted(tmp_path, fit_prior(drawn(100, 0)), vae)
    path, record = tmp_path / FILE, json.loads((tmp_path / RECORD).read_text())
    bad = {"mean": torch.zeros(1, 2)}
    for head, words in (
        ({**record, "format": 99}, "upgrade"),
        ({**record, "kind": "pickle"}, "damaged"),
        ([], "damaged"),
        (record, "numbers are not those"),
    ):
        write_tensors(path, bad, {"fitted_prior": json.dumps(head)})
        with pytest.raises(UsageError, match=words):
            read_fitted(tmp_path, vae)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UsageError, match="damaged or cut short"):
        read_fitted(tmp_path, vae)


def test_with_prior_refuses_what_does_not_fit() -> None:
    vae = VAE.build(shape=(4,), hidden=[8], latent_dim=2)
    with pytest.raises(UsageError, match="codes of 3 numbers"):
        vae.with_prior(truth())
    conditional = VAE.build(shape=(4,), hidden=[8], latent_dim=3, condition="labels", condition_dim=2)
    with pytest.raises(UsageError, match="conditional"):
        conditional.with_prior(truth())
