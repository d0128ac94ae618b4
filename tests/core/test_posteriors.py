from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from elboroom.probability import DiagonalGaussian, DiagonalGaussianHead

from .known import FLOAT64, assert_equal, assert_mean

pytestmark = pytest.mark.usefixtures("float64")


def posterior(b: int = 3, d: int = 4) -> DiagonalGaussian:
    return DiagonalGaussian(torch.randn(b, d), torch.rand(b, d) + 0.1)


def test_log_q_is_log_prob_and_scipys() -> None:
    q = posterior()
    z, log_q = q.rsample_and_log_prob(6)
    assert z.shape == (6, 3, 4)
    # log q comes from the noise, log_prob from z: (z − μ)/σ rounds once more, by |μ|/σ · 1e-16 ≤ 1e-14
    assert_equal(log_q, q.log_prob(z), **FLOAT64)
    assert_equal(log_q, stats.norm.logpdf(z, q.mean, q.scale).sum(-1), **FLOAT64)


def test_samples_have_the_mean_and_variance_and_are_independent() -> None:
    q = posterior(b=2, d=2)
    z, _ = q.rsample_and_log_prob(20_000)
    noise = ((z - q.mean) / q.scale).flatten(1)  # (k, 4)
    assert_mean(z, q.mean)
    assert_mean(noise[:, :, None] * noise[:, None, :], np.eye(4))


def test_samples_are_differentiable_by_reparametrisation() -> None:
    # z = μ + σ ε: dz/dμ = 1, dz/dσ = ε = (z − μ)/σ
    mean, scale = torch.randn(2, 3, requires_grad=True), (torch.rand(2, 3) + 0.1).requires_grad_()
    z, _ = DiagonalGaussian(mean, scale).rsample_and_log_prob(1)
    by_mean, by_scale = torch.autograd.grad(z.sum(), [mean, scale])
    assert_equal(by_mean, torch.ones(2, 3))
    assert_equal(by_scale, (z[0] - mean) / scale, **FLOAT64)


def test_log_q_of_a_moving_sample_depends_on_the_scale_alone() -> None:
    # with z = μ + σ ε, log q = −½ε² − log σ: d/dμ = 0, d/dσ = −1/σ for each of k samples
    mean, scale = torch.randn(2, 3, requires_grad=True), (torch.rand(2, 3) + 0.1).requires_grad_()
    _, log_q = DiagonalGaussian(mean, scale).rsample_and_log_prob(5)
    by_mean, by_scale = torch.autograd.grad(log_q.sum(), [mean, scale], materialize_grads=True)
    assert_equal(by_mean, torch.zeros(2, 3))
    assert_equal(by_scale, -5 / scale, **FLOAT64)


@pytest.mark.parametrize(
    ("scale", "of_raw"),
    [("softplus", lambda raw: np.logaddexp(0, raw) + 1e-6), ("exp", lambda raw: np.exp(raw / 2) + 1e-6)],
)
def test_head_splits_features_into_mean_and_scale(scale: str, of_raw) -> None:
    raw = np.array([-300.0, -5.0, 0.0, 0.3, 25.0])
    head = DiagonalGaussianHead(5, scale=scale)  # type: ignore[arg-type]
    q = head(torch.from_numpy(np.concatenate([np.arange(5.0), raw])[None]))
    assert head.in_shape == (10,)
    assert_equal(q.mean, [np.arange(5.0)])
    # softplus above its threshold of 20 is the identity: off by exp(−25) = 1.4e-11, of 25
    assert_equal(q.scale, [of_raw(raw)], **FLOAT64)


@pytest.mark.parametrize("scale", ["softplus", "exp"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scale_never_reaches_zero(scale: str, dtype: torch.dtype) -> None:
    q = DiagonalGaussianHead(1, scale=scale)(torch.tensor([[0.0, -1e4]], dtype=dtype))  # type: ignore[arg-type]
    z, log_q = q.rsample_and_log_prob(3)
    assert z.dtype == log_q.dtype == dtype
    assert torch.isfinite(log_q).all()
    assert_equal(q.scale, [[1e-6]], rtol=2**-9)  # half a unit in bfloat16's last place
