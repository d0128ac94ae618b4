"""Kinds of fitted priors beside the mixture and the flow, on codes whose density is known."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor

from elboroom.errors import UsageError
from elboroom.evaluation import fitters
from elboroom.evaluation.fitting import fit_prior, score_prior, why_not
from elboroom.models.fitted_prior import FILE, FittedPrior, read_fitted, write_fitted
from elboroom.models.vae import VAE
from elboroom.probability.codes import AutoregressiveCodes
from elboroom.probability.neighbours import NeighbourMixture, neighbours_of
from elboroom.probability.quantizers import FiniteScalarQuantizer, VectorQuantizer
from elboroom.probability.two_stage import TwoStagePrior


def ring(n: int, seed: int) -> Tensor:
    """Codes near a circle of radius 5, the second number in units a hundred times smaller."""
    rng = np.random.default_rng(seed)
    angle, radius = rng.uniform(0, 2 * np.pi, n), 5 + 0.3 * rng.normal(size=n)
    return torch.from_numpy(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1) * [1, 100] + [0, 7])


ENTROPY = math.log(2 * math.pi * 5) + math.log(100) + 0.5 * math.log(2 * math.pi * math.e * 0.3**2)


def normals(k: int, n: int = 30, d: int = 3) -> tuple[NeighbourMixture, list[Any]]:
    """A mixture along neighbours, and its components as scipy's, by their definition."""
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(n, d)) * [1, 0.2, 2][:d]
    shift, spread = np.array([1.0, -2.0, 30.0])[:d], np.array([0.5, 3.0, 10.0])[:d]
    bandwidth, roundness = 0.7, 0.2
    near = np.stack([np.argsort(((codes - z) ** 2).sum(1))[1 : k + 1] for z in codes])
    each = []
    for z, rows in zip(codes, near, strict=True):
        steps = codes[rows] - z
        second = steps.T @ steps / k
        covariance = (1 - roundness) * second + roundness * (np.trace(second) / d + 1e-6) * np.eye(d)
        scaled = bandwidth**2 * spread[:, None] * covariance * spread
        each.append(multivariate_normal(z * spread + shift, scaled))
    np.testing.assert_array_equal(neighbours_of(torch.from_numpy(codes), k), near)
    tensors = (torch.from_numpy(part) for part in (codes, near, shift, spread))
    return NeighbourMixture(*tensors, bandwidth, roundness), each


@pytest.mark.parametrize("k", [1, 2, 5])
def test_density_along_neighbours_is_scipys(k: int) -> None:
    """With fewer neighbours than dimensions and with more."""
    mixture, each = normals(k)
    z = mixture.codes[:7] * mixture.spread + mixture.shift + torch.randn(7, 3).double()
    expected = np.log(np.mean([one.pdf(z) for one in each], 0))
    torch.testing.assert_close(mixture.log_prob(z), torch.from_numpy(expected))
    assert mixture.log_prob(z.reshape(7, 1, 3)).shape == (7, 1)


def test_density_along_neighbours_integrates_to_one_and_is_that_of_its_draws() -> None:
    torch.manual_seed(0)
    mixture, each = normals(5, d=2)
    sides = [torch.linspace(-6, 8, 300).double(), torch.linspace(-12, 8, 300).double()]
    density = mixture.log_prob(torch.cartesian_prod(*sides)).exp()
    area = float((sides[0][1] - sides[0][0]) * (sides[1][1] - sides[1][0]))
    assert float(density.sum()) * area == pytest.approx(1, abs=1e-3)
    n = 20_000
    z = mixture.sample(n).numpy()
    means = np.stack([one.mean for one in each])
    away = means - means.mean(0)
    covariance = np.mean([one.cov for one in each], 0) + away.T @ away / len(away)
    np.testing.assert_allclose(z.mean(0), means.mean(0), atol=4 * math.sqrt(covariance.max() / n))
    np.testing.assert_allclose(np.cov(z.T), covariance, atol=0.03 * covariance.max())


def test_scores_that_choose_are_the_densitys_own() -> None:
    rng = torch.Generator().manual_seed(0)
    seen, unseen = torch.randn(60, 3, generator=rng).double(), torch.randn(9, 3, generator=rng).double()
    near = neighbours_of(seen, 2)
    table = fitters.neighbour_scores(seen, unseen, near)
    for i, j in ((0, 3), (2, 10), (3, 20)):
        sizes = fitters._BANDWIDTHS[j], fitters._ROUNDNESS[i]
        mixture = NeighbourMixture(seen, near, torch.zeros(3).double(), torch.ones(3).double(), *sizes)
        torch.testing.assert_close(table[i, j], mixture.log_prob(unseen).mean())


def test_copies_of_codes_have_a_density() -> None:
    z = torch.randn(20, 2, generator=torch.Generator().manual_seed(0)).double().repeat(5, 1)
    fitted = fit_prior(z, kind="knn")
    assert torch.isfinite(fitted.density.log_prob(z)).all()


@pytest.mark.parametrize(("kind", "lost"), [("knn", 0.2), ("vae", 0.6)])
def test_a_ring_is_found(kind: str, lost: float) -> None:
    """Within a few tenths of a nat of its entropy, and far better than any one Gaussian; draws lie on it."""
    torch.manual_seed(0)
    z, unseen = ring(1000, 0), ring(500, 1)
    fitted = fit_prior(z, kind=kind)
    with torch.no_grad():
        found = float(fitted.density.log_prob(unseen).mean())
        draws = fitted.density.sample(500)
    one = multivariate_normal(z.numpy().mean(0), np.cov(z.numpy().T)).logpdf(unseen).mean()
    assert max(one + 0.5, -ENTROPY - lost) < found < -ENTROPY + 0.1
    radius = torch.linalg.vector_norm((draws - torch.tensor([0.0, 7.0])) / torch.tensor([1.0, 100.0]), dim=1)
    assert float(((radius - 5).abs() < 1.2).double().mean()) > (
        0.95 if kind == "knn" else 0.7
    )  # of one Gaussian a third


def test_bound_of_a_second_vae_is_below_its_density_and_near_it() -> None:
    """The density by quadrature over u, of a decoder that is no line."""
    torch.manual_seed(0)
    prior = TwoStagePrior(1, width=8).double()
    with torch.no_grad():
        for weight in prior.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
        prior.log_noise.fill_(-1.0)
        prior.shift.fill_(4.0)
        prior.spread.fill_(2.0)
        z = torch.linspace(2, 7, 9).double()[:, None]
        u = torch.linspace(-8, 8, 1601).double()
        mean = prior.shift + prior.spread * prior._decoded(u[:, None])
        scale = prior.spread * (prior.log_noise.exp() + 1e-3)
        likelihood = torch.distributions.Normal(mean.T, scale).log_prob(z)
        joint = likelihood + torch.distributions.Normal(0, 1).log_prob(u)
        exact = torch.logsumexp(joint, 1) + math.log(float(u[1] - u[0]))
        bound = prior.log_prob(z)
        prior.noise = torch.randn(20_000, 1).double()  # as many draws leave no gap
        near = prior.log_prob(z)
        elbo = prior.elbo(z.repeat(2000, 1)).reshape(2000, 9).mean(0)
    assert (elbo < exact).all()
    assert (elbo < bound + 0.01).all()
    torch.testing.assert_close(near, exact, rtol=0, atol=0.03)
    torch.testing.assert_close(bound, exact, rtol=0, atol=0.5)
    draws = prior.sample(20_000)
    grid = torch.linspace(-10, 20, 301).double()
    p = torch.distributions.Normal(mean.T, scale).log_prob(grid[:, None])
    p = (p + torch.distributions.Normal(0, 1).log_prob(u)).exp().sum(1) * float(u[1] - u[0])
    p = p / p.sum()
    assert float(draws.mean()) == pytest.approx(float((p * grid).sum()), abs=0.08)
    assert float(draws.std()) == pytest.approx(
        float(((p * grid**2).sum() - (p * grid).sum() ** 2).sqrt()), rel=0.03
    )


def strings(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Strings of four of three letters from a known Markov chain, with their log-probabilities."""
    step = torch.tensor([[0.9, 0.05, 0.05], [0.1, 0.1, 0.8], [0.3, 0.6, 0.1]])
    generator = torch.Generator().manual_seed(seed)
    letters = [torch.multinomial(torch.tensor([0.2, 0.5, 0.3]), n, replacement=True, generator=generator)]
    log_p = torch.tensor([0.2, 0.5, 0.3])[letters[0]].log()
    for _ in range(3):
        letters.append(torch.multinomial(step[letters[-1]], 1, generator=generator)[:, 0])
        log_p = log_p + step[letters[-2], letters[-1]].log()
    return torch.stack(letters, 1), log_p


@pytest.fixture(scope="module")
def chain() -> FittedPrior:
    """Fitted to 600 strings, by a transformer that is small enough for a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitters, "_WIDTH", 16)
        patch.setattr(fitters, "_LAYERS", 1)
        patch.setattr(fitters, "_CODE_LR", 1e-2)
        quantizer = FiniteScalarQuantizer((4, 1), levels=[3])
        return fit_prior(strings(600, 0)[0], kind="autoregressive", quantizer=quantizer)


def test_a_markov_chain_of_indices_is_learned(chain: FittedPrior) -> None:
    unseen, log_p = strings(2000, 1)
    every = torch.tensor(list(itertools.product(range(3), repeat=4)))
    with torch.no_grad():
        found = chain.density.log_prob_of(unseen)
        total = chain.density.log_prob_of(every).double().exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-5)
    lost = float((log_p - found).mean())
    assert -0.01 < lost < 0.1
    assert 0 < chain.record["epochs"] < 60


def test_scores_of_indices(chain: FittedPrior) -> None:
    vae = VAE.build(shape=(6,), hidden=[8], posterior="fsq", code_grid=(4,), fsq_levels=(3,), prior="uniform")
    unseen, log_p = strings(2000, 2)
    scores = score_prior(vae, chain, unseen)
    assert scores["uniform"].value == pytest.approx(-4 * math.log(3))
    assert scores["uniform"].error is None  # known, not estimated
    assert scores["fitted"].value == pytest.approx(float(log_p.mean()), abs=0.1)
    assert scores["gain_over_uniform"].value == pytest.approx(
        scores["fitted"].value - scores["uniform"].value
    )
    assert "indices" in scores["fitted"].estimator


def test_what_cannot_be_fitted() -> None:
    plain = VAE.build(shape=(6,), hidden=[8])
    codes = VAE.build(shape=(6,), hidden=[8], posterior="fsq", code_grid=(4,), fsq_levels=(3,))
    assert why_not(codes) is None
    assert "kind 'autoregressive' learns" in str(why_not(codes, "knn"))
    assert "continuous" in str(why_not(plain, "autoregressive"))
    with pytest.raises(UsageError, match="give the indices"):
        fit_prior(torch.randn(30, 4), kind="autoregressive")
    with pytest.raises(UsageError, match="the quantizer has 3 indices"):
        fit_prior(strings(30, 0)[0], kind="autoregressive", quantizer=VectorQuantizer((3, 2), 4))
    same, quantizer = torch.ones(30, 4, dtype=torch.long), FiniteScalarQuantizer((4, 1), levels=[3])
    with pytest.raises(UsageError, match="collapsed to one code"):
        fit_prior(same, kind="autoregressive", quantizer=quantizer)
    with pytest.raises(UsageError, match="too many for kind 'knn'"):
        fit_prior(torch.randn(40, 300_000), kind="knn")
    shift, ones = torch.zeros(2), torch.ones(2)
    with pytest.raises(UsageError, match="from 0 to 9"):
        NeighbourMixture(torch.randn(10, 2), torch.full((10, 3), 10), shift, ones, 1.0, 0.5)


@pytest.mark.parametrize("kind", ["knn", "vae", "autoregressive"])
def test_written_and_read_again(kind: str, chain: FittedPrior, tmp_path: Path) -> None:
    torch.manual_seed(0)
    if kind == "autoregressive":
        vae = VAE.build(shape=(6,), hidden=[8], posterior="fsq", code_grid=(4,), fsq_levels=(3,))
        fitted, unseen = chain, vae.prior.quantizer.codes_of(strings(9, 5)[0])
    else:
        vae = VAE.build(shape=(6,), hidden=[8], latent_dim=2)
        fitted, unseen = fit_prior(ring(60, 0), kind=kind), ring(9, 1)
    write_fitted(tmp_path, fitted, vae)
    back = read_fitted(tmp_path, vae)
    assert back.kind == kind
    assert back.describe() == fitted.describe()
    with torch.no_grad():
        expected = fitted.density.log_prob(unseen if kind != "autoregressive" else unseen.float()).float()
        # float32, from the file's float64
        torch.testing.assert_close(back.density.log_prob(unseen.float()), expected, rtol=1e-3, atol=1e-3)
    assert vae.with_prior(back.density).sample(3).shape == (3, 6)
    record = json.loads((tmp_path / "fitted_prior.json").read_text())
    assert record["format"] == 2
    other = VAE.build(shape=(6,), hidden=[8], latent_dim=3)
    write_fitted(tmp_path, fitted, other)
    with pytest.raises(UsageError, match="are not those of such a prior"):
        read_fitted(tmp_path, other)
    assert (tmp_path / FILE).exists()


def test_a_transformer_of_other_sizes_is_refused(chain: FittedPrior, tmp_path: Path) -> None:
    vae = VAE.build(shape=(6,), hidden=[8], posterior="fsq", code_grid=(4,), fsq_levels=(3,))
    for width, heads in ((32, 4), (16, 7), ("16", 4)):
        record = {**chain.record, "width": width, "heads": heads}
        write_fitted(tmp_path, FittedPrior("autoregressive", chain.density, record), vae)
        with pytest.raises(UsageError, match="are not those of such a prior"):
            read_fitted(tmp_path, vae)
    assert isinstance(chain.density, AutoregressiveCodes)
