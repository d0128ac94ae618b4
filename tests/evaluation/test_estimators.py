"""Estimators of the NLL against exact values, where plain importance sampling fails."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate
from tests.evaluation.test_evaluate import TRUTH, D, measured
from torch import nn

from elboroom.errors import UsageError
from elboroom.evaluation import estimators
from elboroom.evaluation.annealed import Path, annealed_log_weights, bidirectional_gap, path_of
from elboroom.evaluation.estimators import Plan, log_weights, planned
from elboroom.models.terms import NLL
from elboroom.models.vae import VAE
from elboroom.probability import DiagonalGaussianHead, GaussianHead, StandardNormal


def exact(x: np.ndarray) -> np.ndarray:
    off = x.astype(float) - TRUTH.bias
    squares = (off * np.linalg.solve(TRUTH.covariance, off.T).T).sum(1)
    return 0.5 * (squares + np.linalg.slogdet(TRUTH.covariance)[1] + D * math.log(2 * math.pi))


def estimated(widen: float, plan: Plan, n: int = 200, seed: int = 0) -> tuple[NLL, np.ndarray]:
    vae, x = TRUTH.vae(widen), torch.from_numpy(TRUTH.x[:n])
    torch.manual_seed(seed)
    with vae.at_rest():
        return NLL.from_log_weights(log_weights(vae, x, None, plan)), exact(TRUTH.x[:n])


def covered(nll: NLL, truth: np.ndarray) -> float:
    return float((np.abs((nll.value.numpy() - truth) / nll.stderr.numpy()) < 1.96).mean())


def test_refined_posteriors_hold_where_the_encoders_is_half_as_wide() -> None:
    """Of 95 % intervals two thirds hold the value before, and all but a twentieth after (200: ± 0.04)."""
    plain, truth = estimated(0.5, Plan("importance", 100))
    assert covered(plain, truth) < 0.8
    refined, truth = estimated(0.5, Plan("refined", 100))
    assert 0.89 <= covered(refined, truth) <= 0.99
    assert refined.stderr.mean() < plain.stderr.mean() / 10


def test_annealing_holds_without_a_posterior_that_fits() -> None:
    """From a posterior twice as far from the truth as it is wide, straight to the evidence."""
    vae, x = TRUTH.vae(0.5), torch.from_numpy(TRUTH.x[:40])
    torch.manual_seed(1)
    with vae.at_rest():
        q = vae.infer(x)
        far = type(q)(q.mean + 2 * q.scale, q.scale)
        plain = NLL.from_log_weights(estimators.plain_log_weights(vae, x, None, 32, far))
        nll = NLL.from_log_weights(annealed_log_weights(path_of(vae, x, far)))
    truth = exact(TRUTH.x[:40])
    error = float(nll.stderr.square().sum().sqrt()) / 40
    assert np.abs(plain.value.numpy() - truth).max() > 1
    assert covered(nll, truth) > 0.85
    assert error < 0.04
    assert float((nll.value - nll.bias).mean()) == pytest.approx(truth.mean(), abs=4 * error)


def test_annealing_between_two_modes_against_an_integral() -> None:
    """A mixture that a normal cannot fit: its mass by quadrature."""

    def end(z: torch.Tensor) -> torch.Tensor:
        modes = torch.tensor([-3.0, 2.0])
        return torch.logsumexp(-0.5 * ((z - modes) / 0.4).square(), -1)

    def density(z: float) -> float:
        return math.exp(float(end(torch.tensor([[[z]]]))))

    start = torch.distributions.Normal(0.0, 2.0)
    path = Path(lambda z: start.log_prob(z).sum(-1), end, lambda k: start.sample((k, 1, 1)))
    torch.manual_seed(0)
    nll = NLL.from_log_weights(annealed_log_weights(path, chains=2000, temperatures=20))
    truth = -math.log(integrate.quad(density, -8, 8, points=[-3, 2])[0])
    assert float(nll.value[0]) == pytest.approx(truth, abs=4 * float(nll.stderr[0]))
    assert float(nll.stderr[0]) < 0.05


def test_the_bidirectional_gap_holds_the_evidence() -> None:
    """Few temperatures from a posterior half as wide: the bounds lie on both sides, and close with more."""
    vae = TRUTH.vae(0.5)
    torch.manual_seed(0)
    with vae.at_rest():
        wide = bidirectional_gap(vae, 60, chains=4, temperatures=2)
        close = bidirectional_gap(vae, 60, chains=4, temperatures=30)
    gaps = [float((upper - lower).mean()) for lower, upper in (wide, close)]
    assert gaps[0] > 0.2
    assert 0 < gaps[1] < gaps[0] / 3


def test_auto_takes_the_cheapest_that_can_be_believed() -> None:
    x = torch.from_numpy(TRUTH.x[:200])
    models = {widen: TRUTH.vae(widen) for widen in (1.3, 0.5)}
    before = torch.get_rng_state()
    found = {}
    for widen, vae in models.items():
        with vae.at_rest():
            found[widen] = planned(vae, x, None, Plan("auto", 100), seed=0)
    assert found == {1.3: Plan("importance", 100), 0.5: Plan("refined", 100)}
    assert torch.equal(before, torch.get_rng_state())


def test_over_a_thousand_repeats_intervals_of_auto_hold_the_value_as_often_as_they_say() -> None:
    """95 % intervals of five examples and of their mean, of a posterior half as wide."""
    x, truth = TRUTH.x[:5], exact(TRUTH.x[:5])
    vae = TRUTH.vae(0.5)
    torch.manual_seed(0)
    with vae.at_rest():
        plan = planned(vae, torch.from_numpy(TRUTH.x[:200]), None, Plan("auto", 400), seed=0)
        nll = NLL.from_log_weights(log_weights(vae, torch.from_numpy(np.tile(x, (1000, 1))), None, plan))
    off = nll.value.numpy().reshape(1000, 5) - truth
    error = nll.stderr.numpy().reshape(1000, 5)
    assert 0.93 <= (np.abs(off) < 1.96 * error).mean() <= 0.97
    of_mean = np.sqrt((error**2).sum(1)) / 5
    assert 0.93 <= (np.abs(off.mean(1)) < 1.96 * of_mean).mean() <= 0.97


def test_auto_anneals_where_no_gaussian_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without steps to refine it, the narrow posterior stays narrow."""
    monkeypatch.setattr(estimators, "STEPS", 0)
    vae = TRUTH.vae(0.3)
    with vae.at_rest():
        plan = planned(vae, torch.from_numpy(TRUTH.x[:100]), None, Plan("auto", 200), seed=0)
    assert plan.estimator == "annealed"


def test_auto_doubles_samples_until_the_nll_settles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as wide: the weights are bounded. Doubled, their NLL falls by ever less."""
    vae = TRUTH.vae(2.0)
    counts = []
    for settled in (0.05, 0.006, 0.0):
        monkeypatch.setattr(estimators, "SETTLED", settled)
        with vae.at_rest():
            plan = planned(vae, torch.from_numpy(TRUTH.x[:500]), None, Plan("auto", 25), seed=0)
        assert plan.estimator == "importance"
        counts.append(plan.num_samples)
    assert counts[0] == 25
    assert 25 < counts[1] < 200
    assert counts[2] == 200


def test_evaluate_names_its_estimator() -> None:
    vae = TRUTH.vae(0.5)
    auto = measured(vae, num_samples=100, estimator="auto")
    assert (auto["nll_estimator"], auto["nll_num_samples"]) == ("refined", 100)
    assert auto["nll"] == pytest.approx(-TRUTH.log_evidence(), abs=4 * auto["nll_stderr"] + 1e-5)
    assert auto["nll_verdict"] is None
    plain = measured(vae, num_samples=100)
    assert plain == measured(vae, num_samples=100, estimator="importance")
    assert (plain["nll_estimator"], plain["elbo"]) == ("importance", auto["elbo"])
    assert plain["nll"] > auto["nll"] + 0.05
    assert measured(vae, num_samples=0, estimator="auto")["nll"] is None


@pytest.mark.parametrize("estimator", ["refined", "annealed"])
def test_what_has_no_other_estimator(estimator: Any) -> None:
    chain = VAE.build(shape=(D,), network="chain", likelihood="gaussian")
    with pytest.raises(UsageError, match="one stochastic layer"):
        measured(chain, num_samples=5, estimator=estimator)
    with pytest.raises(UsageError, match="must be one of importance, refined, annealed, auto"):
        measured(TRUTH.vae(), estimator="exact")


def test_refined_posteriors_of_a_correlated_truth() -> None:
    """A decoder whose true posterior is correlated, which no diagonal one fits: the errors still hold."""
    torch.manual_seed(0)
    encoder, decoder = nn.Linear(D, 4), nn.Linear(2, D)
    heads = {"posterior": DiagonalGaussianHead(2), "likelihood": GaussianHead((D,), scale=0.6)}
    vae = VAE(encoder, decoder, StandardNormal(2), shape=(D,), **heads)
    x = torch.from_numpy(TRUTH.x[:200])
    with vae.at_rest():
        refined = NLL.from_log_weights(log_weights(vae, x, None, Plan("refined", 200)))
        w, b = decoder.weight.double(), decoder.bias.double()
        covariance = w @ w.T + 0.36 * torch.eye(D, dtype=torch.float64)
        evidence = torch.distributions.MultivariateNormal(b, covariance).log_prob(x.double())
    assert covered(refined, -evidence.numpy()) > 0.88
    assert float(refined.value.mean()) == pytest.approx(-float(evidence.mean()), abs=0.01)
