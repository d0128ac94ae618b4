"""``evaluate`` against the exact marginal of a linear-Gaussian model, and against hand-made sums."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.evaluation import active_units, evaluate, likelihood
from elboroom.models.vae import VAE
from elboroom.networks import MLP
from elboroom.probability import DiagonalGaussianHead, GaussianHead, StandardNormal

N, D, SIGMA = 700, 5, 0.6  # 700 examples are two batches of evaluate
# Rounding of float32 (6e-8 relative) in sums over 5 dimensions and means over 700 examples of size 10.
FLOAT32 = {"rel": 2e-6, "abs": 2e-6}


class Truth:
    """x = W z + b + σ noise with orthogonal columns in W, so that p(z|x) has a diagonal covariance."""

    def __init__(self) -> None:
        rng = np.random.default_rng(2)
        self.weight = np.linalg.qr(rng.normal(size=(D, 2)))[0] * [2.0, 0.7]
        self.bias = rng.normal(size=D)
        self.covariance = self.weight @ self.weight.T + SIGMA**2 * np.eye(D)
        self.x = rng.multivariate_normal(self.bias, self.covariance, N).astype(np.float32)
        self.scale = (1 + (self.weight**2).sum(0) / SIGMA**2) ** -0.5
        self.to_code = self.weight / SIGMA**2 * self.scale**2

    def log_evidence(self) -> float:
        """Mean of log N(x; b, WWᵀ + σ²I) over the examples, in float64."""
        off = self.x.astype(float) - self.bias
        squares = (off * np.linalg.solve(self.covariance, off.T).T).sum(1)
        return float(
            -0.5 * (squares.mean() + np.linalg.slogdet(self.covariance)[1] + D * math.log(2 * math.pi))
        )

    def vae(self, widen: float = 1.0) -> VAE:
        """Build the model with its exact posterior, or one ``widen`` times as wide."""
        encoder, decoder = nn.Linear(D, 4), nn.Linear(2, D)
        raw = np.log(np.expm1(widen * self.scale - 1e-6))
        with torch.no_grad():
            encoder.weight.copy_(torch.from_numpy(np.concatenate([self.to_code.T, np.zeros((2, D))])))
            encoder.bias.copy_(torch.from_numpy(np.concatenate([-self.bias @ self.to_code, raw])))
            decoder.weight.copy_(torch.from_numpy(self.weight))
            decoder.bias.copy_(torch.from_numpy(self.bias))
        heads = {"posterior": DiagonalGaussianHead(2), "likelihood": GaussianHead((D,), scale=SIGMA)}
        return VAE(encoder, decoder, StandardNormal(2), shape=(D,), **heads)

    def batches(self) -> Batches:
        return Batches(Dataset("truth", self.x, np.zeros(N)), torch.device("cpu"))


TRUTH = Truth()


def measured(vae: VAE, indices: Any = None, **options: Any) -> dict[str, Any]:
    return evaluate(vae, TRUTH.batches(), np.arange(N) if indices is None else indices, **options)


def test_with_the_exact_posterior_every_weight_is_the_evidence() -> None:
    # log p(x|z) + log p(z) − log q(z|x) = log p(x) whatever z: the nll has no error but rounding.
    found = measured(TRUTH.vae(), num_samples=7)
    assert found["nll"] == pytest.approx(-TRUTH.log_evidence(), **FLOAT32)
    assert found["nll_stderr"] < 1e-6
    assert (found["nll_num_samples"], found["examples"], found["active_units"]) == (7, N, 2)


def test_with_the_exact_posterior_the_elbo_is_the_evidence() -> None:
    # The rate is exact, the distortion a mean over samples: E[distortion] = −log p(x) − rate. Its error is
    # that of squares of normals, taken here from 200 samples of each example: five standard errors.
    vae = TRUTH.vae()
    with torch.no_grad():
        terms = vae(torch.from_numpy(TRUTH.x), 200)
    error = terms.log_likelihood.std(0).square().sum().sqrt().item() / N / math.sqrt(1000)
    found = measured(vae, num_samples=1000)
    assert found["elbo"] == pytest.approx(TRUTH.log_evidence(), abs=5 * error)
    codes = (TRUTH.x - TRUTH.bias) @ TRUTH.to_code
    variance = TRUTH.scale**2
    rate = 0.5 * ((codes**2).mean(0) + variance - 1 - np.log(variance)).sum()
    assert found["rate"] == pytest.approx(rate, **FLOAT32)
    assert found["elbo"] == -(found["distortion"] + found["rate"])


def test_with_another_posterior_the_nll_is_below_the_negative_elbo_and_near_the_evidence() -> None:
    found = measured(TRUTH.vae(widen=1.3), num_samples=300)
    # In means, the bound is looser than the estimate by far more than both errors.
    assert found["nll"] + 10 * found["nll_stderr"] < -found["elbo"]
    # Biased upwards by var(w)/2k, which is below 0.003 here; beside it five standard errors.
    assert found["nll"] == pytest.approx(-TRUTH.log_evidence(), abs=5 * found["nll_stderr"] + 3e-3)


def test_the_standard_error_is_the_spread_between_seeds_and_falls_with_the_root() -> None:
    vae = TRUTH.vae(widen=1.3)
    few = [measured(vae, num_samples=20, seed=seed) for seed in range(30)]
    spread = np.std([found["nll"] for found in few], ddof=1)
    stated = np.mean([found["nll_stderr"] for found in few])
    # A standard deviation from 30 draws is off by 1/√58 = 13%: three of that.
    assert stated == pytest.approx(spread, rel=0.4)
    many = measured(vae, num_samples=320)["nll_stderr"]
    # 16 times as many samples: a fourth, as far as the estimates of variances from 20 go.
    assert few[0]["nll_stderr"] / many == pytest.approx(4, rel=0.15)


def test_seeds_and_the_callers_randomness() -> None:
    vae = TRUTH.vae(widen=1.3)
    vae.train()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, again, other = (measured(vae, num_samples=5, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert (one["nll"], one["distortion"]) != (other["nll"], other["distortion"])
    assert one["rate"] == other["rate"]
    assert torch.get_rng_state().equal(before)
    assert vae.training


UNKNOWN = {"nll_stderr", "nll_bias", "nll_pareto_k", "nll_unreliable", "nll_verdict"}
WITHOUT = {"rate_stderr", "bits_per_dim", "bits_per_dim_of"}  # the rate is exact, and the data are not 8-bit


@pytest.mark.parametrize(
    ("num_samples", "missing"),
    [(0, {"nll", "nll_ess", "nll_estimator", *UNKNOWN}), (1, {"elbo_stderr", "distortion_stderr", *UNKNOWN})],
)
def test_too_few_samples_leave_numbers_out(num_samples: int, missing: set[str]) -> None:
    found = measured(TRUTH.vae(widen=1.3), num_samples=num_samples)
    assert {name for name, value in found.items() if value is None} == missing | WITHOUT
    assert found["nll_num_samples"] == num_samples
    # One sample of each of 700 examples: as exact as the spread of distortions (below 2.5) over √700.
    assert found["distortion"] == pytest.approx(
        measured(TRUTH.vae(1.3), num_samples=200)["distortion"], abs=0.5
    )


@pytest.mark.parametrize("num_samples", [0, 40])
def test_batches_do_not_show(num_samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Other batches draw other noise: with the exact posterior the nll shows none of it, and the rate none.
    found = []
    for size in (500, 33, 1000):
        monkeypatch.setattr(likelihood, "_BATCH", size)
        found.append(measured(TRUTH.vae(), num_samples=num_samples))
    for other in found[1:]:
        for name in ("rate", "nll") if num_samples else ("rate",):
            assert other[name] == pytest.approx(found[0][name], **FLOAT32)
        assert other["active_units"] == found[0]["active_units"]
        # Both are within five standard errors; see the spread above.
        tolerance = 5 * 2.5 / math.sqrt(N * max(1, num_samples))
        assert other["distortion"] == pytest.approx(found[0]["distortion"], abs=tolerance)


def test_measures_the_examples_asked_for() -> None:
    vae = TRUTH.vae()
    halves = [np.arange(0, N, 2), np.arange(1, N, 2)]
    found = [measured(vae, indices, num_samples=3)["nll"] for indices in halves]
    assert np.mean(found) == pytest.approx(measured(vae, num_samples=3)["nll"], **FLOAT32)
    assert found[0] != pytest.approx(found[1], abs=1e-3)


def test_tells_how_far_it_is() -> None:
    seen: list[int] = []
    measured(TRUTH.vae(), num_samples=1, on_progress=seen.append)
    assert seen == [500, 700]


@pytest.mark.parametrize(
    ("options", "words"),
    [({"indices": np.arange(0)}, "no examples to evaluate"), ({"num_samples": -1}, "num_samples = -1")],
)
def test_nothing_to_measure_is_an_error(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        measured(TRUTH.vae(), **options)


def test_batch_norm_is_measured_at_rest(tmp_path: Path) -> None:
    vae = VAE(
        MLP((D,), (4,), [6], normalization="batch"), MLP((2,), (D,), [6]), StandardNormal(2), shape=(D,),
        likelihood=GaussianHead((D,)),
    )  # fmt: skip
    vae.train()
    found = [measured(vae, np.arange(n), num_samples=0)["rate"] for n in (1, 1)]
    assert found[0] == found[1]
    assert vae.encoder[1].num_batches_tracked.item() == 0


def test_active_units_of_planted_codes() -> None:
    # Variances of 0 (a constant far from 0), just below and just above 0.01, and 1.
    ones = torch.tensor([[1.0], [-1.0]]).repeat(50, 1).double()
    codes = torch.cat([ones * 0 + 7, ones * 0.0999, ones * 0.1001, ones], 1)
    assert active_units(codes) == 2
    assert active_units(codes[:, :2]) == 0
    assert active_units(codes[:1]) == 0


@pytest.mark.parametrize("binarize", ["none", "threshold", "stochastic"])
def test_data_are_measured_as_the_model_saw_them(binarize: Any) -> None:
    # A decoder that says one half of everything: distortion is D·log 2 for any data in [0, 1], and an
    # encoder of zeros gives a rate of KL(N(0, s²) ‖ N(0, 1)) with s = softplus(0) + 1e-6 = log 2.
    x = np.random.default_rng(0).integers(0, 256, (30, 2, 3, 1), dtype=np.uint8)
    vae = VAE.build(shape=(2, 3, 1), latent_dim=3, hidden=())
    for parameter in vae.parameters():
        nn.init.zeros_(parameter)
    data = Dataset("x", x, np.zeros(30), scale=255.0)
    found = evaluate(vae, Batches(data, torch.device("cpu"), binarize=binarize), np.arange(30), num_samples=4)
    assert found["distortion"] == pytest.approx(6 * math.log(2), **FLOAT32)
    s = math.log(2) + 1e-6
    assert found["rate"] == pytest.approx(1.5 * (s * s - 1 - 2 * math.log(s)), **FLOAT32)
    assert found["active_units"] == 0
