"""How nll counts, chunks and reports; that its numbers are right is in test_linear_gaussian."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from elboroom.errors import UsageError
from elboroom.models import inference
from elboroom.models.vae import VAE
from elboroom.probability import DiagonalGaussian, DiagonalGaussianHead

from .known import FLOAT64, LinearGaussian, assert_equal

pytestmark = pytest.mark.usefixtures("float64")


@dataclass
class Scripted:
    """A diagonal Gaussian that takes its noise from a table (k, b, d), in order, and keeps count."""

    q: DiagonalGaussian
    noise: Tensor
    taken: list[int]

    @property
    def mean(self) -> Tensor:
        return self.q.mean

    def rsample_and_log_prob(self, num_samples: int) -> tuple[Tensor, Tensor]:
        start = sum(self.taken)
        self.taken.append(num_samples)
        z = self.q.mean + self.q.scale * self.noise[start : start + num_samples]
        return z, self.q.log_prob(z)


class ScriptedHead(nn.Module):
    """Wraps the head of a VAE; ``taken`` lists the sample counts asked of its last posterior."""

    def __init__(self, head: DiagonalGaussianHead, noise: Tensor):
        super().__init__()
        self.head, self.noise = head, noise
        self.in_shape, self.latent_dim = head.in_shape, head.latent_dim
        self.taken: list[int] = []

    def forward(self, features: Tensor) -> Scripted:
        self.taken = []
        return Scripted(self.head(features), self.noise, self.taken)


@pytest.fixture
def truth() -> LinearGaussian:
    return LinearGaussian.example()


def scripted(truth: LinearGaussian, k: int, b: int) -> VAE:
    vae = truth.vae(shift=0.2, widen=1.3)
    vae.posterior = ScriptedHead(vae.posterior, torch.randn(k, b, 2))
    return vae


@pytest.mark.parametrize("num_samples", [1, 2, 10, 17])
@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_draws_exactly_as_many_samples_in_chunks_that_do_not_show(
    truth: LinearGaussian, monkeypatch: pytest.MonkeyPatch, num_samples: int, chunk: int
) -> None:
    x = truth.observe(3)
    vae = scripted(truth, num_samples, 3)
    whole = vae.nll(x, num_samples)
    assert vae.posterior.taken == [num_samples]
    monkeypatch.setattr(inference, "_DECODED_NUMBERS", chunk * x.size)
    parts = vae.nll(x, num_samples)
    assert sum(vae.posterior.taken) == num_samples
    assert max(vae.posterior.taken) == min(chunk, num_samples)
    assert_equal(parts.value, whole.value, **FLOAT64)
    # the same weights, in matrix products of another size: nan for one sample, in both
    assert_equal(parts.stderr, whole.stderr, **FLOAT64)


def test_a_batch_too_large_to_decode_at_once_goes_one_sample_at_a_time(
    truth: LinearGaussian, monkeypatch: pytest.MonkeyPatch
) -> None:
    vae = scripted(truth, 4, 3)
    monkeypatch.setattr(inference, "_DECODED_NUMBERS", 1)
    vae.nll(truth.observe(3), 4)
    assert vae.posterior.taken == [1, 1, 1, 1]


def test_value_and_standard_error_by_hand(truth: LinearGaussian) -> None:
    x = truth.observe(3)
    vae = scripted(truth, 9, 3)
    value, stderr, bias, ess, _ = vae.nll(x, 9)
    terms = vae(torch.from_numpy(x), 9)
    weights = np.exp(terms.log_weights.detach().numpy())
    assert_equal(value, -np.log(weights.mean(0)), **FLOAT64)
    left_out = -np.log(
        [np.delete(weights, i, 0).mean(0) for i in range(9)]
    )  # the jackknife, as it is defined
    assert_equal(stderr, np.sqrt(8 / 9 * ((left_out - left_out.mean(0)) ** 2).sum(0)), **FLOAT64)
    halves = [-np.log(part.mean(0)) for part in (weights[:4], weights[4:])]
    assert_equal(bias, (4 * halves[0] + 5 * halves[1]) / 9 - np.asarray(value), rtol=0, atol=1e-12)
    assert_equal(ess, weights.sum(0) ** 2 / (weights**2).sum(0), **FLOAT64)


def test_importance_samples_are_the_terms_in_chunks(
    truth: LinearGaussian, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.from_numpy(truth.observe(3))
    vae = scripted(truth, 9, 3)
    terms = vae(x, 9)
    monkeypatch.setattr(inference, "_DECODED_NUMBERS", 4 * x.numel())
    drawn = list(vae.importance(x, 9))
    log_likelihood, log_weights = (torch.cat([draws[i] for draws in drawn]) for i in (0, 1))
    assert_equal(log_likelihood, terms.log_likelihood, **FLOAT64)
    assert_equal(log_weights, terms.log_weights, **FLOAT64)


def test_encodes_once(truth: LinearGaussian, monkeypatch: pytest.MonkeyPatch) -> None:
    vae, calls = truth.vae(), []
    vae.encoder.register_forward_hook(lambda *_: calls.append(1))
    monkeypatch.setattr(inference, "_DECODED_NUMBERS", 1)
    vae.nll(truth.observe(3), 7)
    assert sum(calls) == 3  # each example once, in however many pieces


def test_does_not_depend_on_the_batch(truth: LinearGaussian) -> None:
    x = truth.observe(7)
    vae = truth.vae(shift=0.2, widen=1.3)
    together = vae.nll(x, 2000)
    for size in (1, 3):
        parts = [vae.nll(x[i : i + size], 2000) for i in range(0, 7, size)]
        value, stderr, *_ = (torch.cat(list(column)) for column in zip(*parts, strict=True))
        assert ((value - together.value).abs() < 5 * torch.hypot(stderr, together.stderr)).all()


def test_is_positive_for_an_improbable_example(truth: LinearGaussian) -> None:
    far = truth.bias[None] + 100.0
    assert truth.marginal.logpdf(far) < -1000
    assert_equal(truth.vae().nll(far, 10).value, [-truth.marginal.logpdf(far)], **FLOAT64)


def test_weights_far_outside_the_range_of_exp_do_not_overflow(truth: LinearGaussian) -> None:
    # log-weights of about −1e8, where a mean of exp(log w) is 0 and its logarithm −inf
    far = truth.bias[None] + 1e4
    value, stderr, *_ = truth.vae().nll(far, 10)
    assert_equal(value, [-truth.marginal.logpdf(far)], **FLOAT64)
    assert torch.isfinite(stderr).all()


def test_one_sample_has_no_standard_error(truth: LinearGaussian) -> None:
    value, stderr, *_ = truth.vae().nll(truth.observe(3), 1)
    assert torch.isfinite(value).all()
    assert torch.isnan(stderr).all()


@pytest.mark.parametrize("method", ["nll", "elbo"])
@pytest.mark.parametrize("num_samples", [0, -1])
def test_no_samples_is_an_error(truth: LinearGaussian, method: str, num_samples: int) -> None:
    with pytest.raises(UsageError, match=f"num_samples = {num_samples}: at least 1"):
        getattr(truth.vae(), method)(truth.observe(3), num_samples)
