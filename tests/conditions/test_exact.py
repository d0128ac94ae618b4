"""A conditional model of which log p(x|c), posterior and every bound are known exactly; and p(z|c) itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, distributions

from elboroom.data.batches import Batches
from elboroom.data.dataset import Dataset
from elboroom.evaluation import evaluate
from elboroom.probability import ConditionalNormal, DiagonalGaussian, GivenNormal, find_closed_form
from elboroom.probability.full_gaussian import FullGaussian

from .known import LinearGaussian

# float64 rounds at 1.1e-16 relative, and sums of a few dozen terms of size up to 100 keep 1e-12 of it.
EXACT = {"rtol": 1e-12, "atol": 1e-11}
WRONG = {"shift": 0.2, "widen": 1.3}  # wider than the truth, so that the weights have a variance
CONDITIONS = np.random.default_rng(7).normal(size=(6, 3))

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def truth() -> LinearGaussian:
    return LinearGaussian.example()


def assert_close(actual: Any, expected: Any, **tolerance: float) -> None:
    """Compare numbers of any library."""
    tolerances: Any = {"rtol": 0, **tolerance}
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), **tolerances)


def assert_mean(draws: Tensor, expected: object) -> None:
    """Compare a mean of draws (n, ...) within five standard errors: by chance once in 1.7 million."""
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - torch.as_tensor(expected)).abs() <= 5 * error).all()


@pytest.mark.parametrize("num_samples", [1, 2, 50])
def test_with_the_exact_posterior_every_weight_is_the_evidence(
    truth: LinearGaussian, num_samples: int
) -> None:
    x = truth.observe(CONDITIONS)
    evidence, vae = truth.evidence(x, CONDITIONS), truth.vae()
    terms = vae(torch.from_numpy(x), num_samples, torch.from_numpy(CONDITIONS))
    assert_close(terms.log_weights.detach(), np.tile(evidence, (num_samples, 1)), **EXACT)
    nll = vae.nll(x, num_samples, condition=CONDITIONS)
    assert_close(nll.value, -evidence, **EXACT)
    if num_samples > 1:
        assert_close(nll.stderr, 0, atol=1e-12)


def test_a_wrong_posterior_bounds_the_evidence_from_below_by_its_divergence(truth: LinearGaussian) -> None:
    x, vae = truth.observe(CONDITIONS), truth.vae(**WRONG)
    scale = torch.from_numpy(truth.posterior_scale)
    q, p = distributions.Normal(WRONG["shift"], WRONG["widen"] * scale), distributions.Normal(0.0, scale)
    gap = float(distributions.kl_divergence(q, p).sum())
    elbo = truth.evidence(x, CONDITIONS) - gap
    draws = torch.stack([vae.elbo(x, 10, condition=CONDITIONS) for _ in range(1000)])
    assert_mean(draws, elbo)
    weights = vae(torch.from_numpy(x), 10_000, torch.from_numpy(CONDITIONS)).log_weights.detach()
    assert_mean(weights, elbo)


def test_nll_finds_the_evidence_within_its_standard_error(truth: LinearGaussian) -> None:
    x = truth.observe(CONDITIONS)
    value, stderr, *_ = truth.vae(**WRONG).nll(x, 20_000, condition=CONDITIONS)
    evidence = truth.evidence(x, CONDITIONS)
    assert (np.abs(value.numpy() + evidence) < 5 * stderr.numpy()).all()
    assert (stderr < 0.02).all()  # so that the line above says something
    others = truth.vae(**WRONG).nll(x, 20_000, condition=CONDITIONS[::-1].copy()).value.numpy()
    assert_close(-others, truth.evidence(x, CONDITIONS[::-1]), rtol=0.02)


def test_pieces_and_evaluation_keep_each_example_with_its_condition(
    truth: LinearGaussian, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions = np.random.default_rng(1).normal(size=(40, 3)).astype(np.float32).astype(np.float64)
    x = truth.observe(conditions).astype(np.float32)
    evidence = truth.evidence(x, conditions)
    monkeypatch.setattr("elboroom.models.inference._DECODED_NUMBERS", 7 * 6)  # 7 examples at a time
    monkeypatch.setattr("elboroom.evaluation.likelihood._BATCH", 11)
    assert_close(truth.vae().nll(x, 2, condition=conditions).value, -evidence, **EXACT)
    # Data are float32, and so is what Batches give: a model of that precision.
    data = Dataset("known", x, split=np.zeros(40, np.uint8), vectors=conditions)
    rows = np.random.default_rng(2).permutation(40)[:30]
    found = evaluate(truth.vae().float(), Batches(data, torch.device("cpu")), rows, num_samples=3)
    assert found["nll"] == pytest.approx(-evidence[rows].mean(), rel=1e-5)  # float32 rounds at 6e-8, of sums
    assert found["nll_stderr"] < 1e-5
    assert found["likelihood_of"] == "log p(x | vector)"


def test_the_model_given_a_condition_is_that_model(truth: LinearGaussian) -> None:
    vae, c = truth.vae(), CONDITIONS[2]
    given, x = vae.given(c), truth.observe(CONDITIONS)
    assert_close(given.nll(x, 2).value, -truth.marginal(c).logpdf(x), **EXACT)
    torch.testing.assert_close(given.embed(x), vae.embed(x, c), rtol=0, atol=0)
    torch.manual_seed(1)
    drawn = given.sample(4000, observe=True)
    assert_mean(drawn, truth.marginal(c).mean)
    # A variance of n draws has the relative error √(2/n) = 2.2 %: five of them.
    assert_close(drawn.var(0), truth.marginal(c).cov.diagonal(), rtol=0.11)


# p(z|c)


def learned(d: int = 3, size: int = 2) -> ConditionalNormal:
    prior = ConditionalNormal(d, size)
    for weight in prior.parameters():
        torch.nn.init.normal_(weight, std=0.4)
    return prior.requires_grad_(False)


def as_distribution(p: GivenNormal) -> Any:
    normal: Any = distributions.Normal(p.mean, p.scale)
    return distributions.Independent(normal, 1)


def test_it_starts_as_the_standard_normal() -> None:
    p = ConditionalNormal(3, 2).given(torch.randn(5, 2))
    assert torch.equal(p.mean, torch.zeros(5, 3))
    assert torch.equal(p.scale, torch.ones(5, 3))


def test_density_and_quantiles_are_those_of_torch() -> None:
    p, z = learned().given(torch.randn(5, 2)), torch.randn(4, 5, 3)
    torch.testing.assert_close(p.log_prob(z), as_distribution(p).log_prob(z), rtol=1e-13, atol=1e-13)
    one, u = learned().given(torch.randn(1, 2)), torch.rand(7, 4, 3)
    normal: Any = distributions.Normal(one.mean, one.scale)
    expected = normal.icdf(u)
    # Two ways to the normal quantile: erfinv and ndtri agree up to the conditioning of the tails.
    torch.testing.assert_close(one.quantile(u), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        one.log_prob(torch.zeros(7, 4, 3)), as_distribution(one).log_prob(torch.zeros(7, 4, 3))
    )


def test_draws_take_the_conditions_in_turn() -> None:
    p = learned().given(torch.eye(2))
    drawn = p.sample(20_000).reshape(10_000, 2, 3)
    assert_mean(drawn, p.mean)
    # as above: √(2/n) = 1.4 %, five of them
    torch.testing.assert_close(drawn.var(0), p.scale.square(), rtol=0.071, atol=0)
    assert p.sample(0).shape == (0, 3)


def test_its_rate_is_that_of_torch_and_the_mean_of_draws() -> None:
    q = DiagonalGaussian(torch.randn(5, 3), torch.rand(5, 3) + 0.2)
    p = learned().given(torch.randn(5, 2))
    closed = find_closed_form(q, p)
    assert closed is not None
    expected = distributions.kl_divergence(
        distributions.Independent(distributions.Normal(q.mean, q.scale), 1), as_distribution(p)
    )
    torch.testing.assert_close(closed(q, p), expected, rtol=1e-13, atol=1e-13)
    z, log_q = q.rsample_and_log_prob(20_000)
    assert_mean(log_q - p.log_prob(z), closed(q, p))


def test_its_rate_from_a_full_gaussian_is_that_of_torch() -> None:
    mixing = torch.randn(5, 3, 3).tril(-1) + torch.eye(3)
    q = FullGaussian(torch.randn(5, 3), torch.rand(5, 3) + 0.2, mixing)
    p = learned().given(torch.randn(5, 2))
    closed = find_closed_form(q, p)
    assert closed is not None
    expected = distributions.kl_divergence(
        distributions.MultivariateNormal(q.mean, q.covariance),
        distributions.MultivariateNormal(p.mean, torch.diag_embed(p.scale.square())),
    )
    torch.testing.assert_close(closed(q, p), expected, rtol=1e-11, atol=1e-11)


def test_carried_codes_keep_their_place() -> None:
    prior = learned()
    z, c, to = torch.randn(5, 3), torch.randn(5, 2), torch.randn(5, 2)
    moved = prior.given(to).place(prior.given(c).standardize(z))
    there, here = prior.given(to), prior.given(c)
    torch.testing.assert_close((moved - there.mean) / there.scale, (z - here.mean) / here.scale)
    torch.testing.assert_close(prior.given(c).place(prior.given(to).standardize(moved)), z)
