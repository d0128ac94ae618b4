from __future__ import annotations

import pytest
import torch
from torch import Tensor, distributions, nn

from elboroom.probability import DiagonalGaussian, StandardNormal, rate

from .known import FLOAT64, assert_equal, assert_mean

pytestmark = pytest.mark.usefixtures("float64")


class WideNormal(nn.Module):
    """N(0, 9 I): a prior that has no closed form with any posterior here."""

    latent_dim = 3

    def log_prob(self, z: Tensor) -> Tensor:
        return distributions.Normal(0.0, 3.0).log_prob(z).sum(-1)


def posterior(b: int = 4, d: int = 3) -> DiagonalGaussian:
    return DiagonalGaussian(torch.randn(b, d), torch.rand(b, d) * 2 + 0.05)


def exact(q: DiagonalGaussian, width: float) -> Tensor:
    p = distributions.Normal(torch.zeros_like(q.mean), width)
    return distributions.kl_divergence(distributions.Normal(q.mean, q.scale), p).sum(-1)


def test_closed_form_is_torchs() -> None:
    q = posterior()
    assert_equal(rate(q, StandardNormal(3), *q.rsample_and_log_prob(1)), exact(q, 1.0), **FLOAT64)


def test_closed_form_agrees_with_monte_carlo() -> None:
    q, p = posterior(), StandardNormal(3)
    z, log_q = q.rsample_and_log_prob(50_000)
    assert_mean(log_q - p.log_prob(z), rate(q, p, z, log_q))


def test_closed_form_ignores_the_samples() -> None:
    q, nan = posterior(), torch.full((1, 4, 3), torch.nan)
    assert_equal(rate(q, StandardNormal(3), nan, nan[..., 0]), exact(q, 1.0), **FLOAT64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_closed_form_is_never_negative_and_zero_at_the_prior(dtype: torch.dtype) -> None:
    # around q = p the rate is a difference of nearly equal numbers, where rounding could turn its sign
    one = torch.ones((), dtype=dtype)
    step = torch.arange(-2000, 2001, dtype=dtype) * torch.finfo(dtype).eps
    scale = torch.cat([1 + step, torch.linspace(0.99, 1.01, 20_001, dtype=dtype)])[:, None]
    for mean in (0.0, 1e-8, 1e-4):
        values = rate(DiagonalGaussian(mean * torch.ones_like(scale), scale), StandardNormal(1), scale, scale)
        assert values.min() >= 0
    assert rate(DiagonalGaussian(0 * one[None, None], one[None, None]), StandardNormal(1), one, one) == 0


def test_a_pair_without_closed_form_is_the_mean_over_the_samples() -> None:
    q, p = posterior(), WideNormal()
    z, log_q = q.rsample_and_log_prob(7)
    assert_equal(rate(q, p, z, log_q), (log_q - p.log_prob(z)).mean(0), **FLOAT64)


def test_monte_carlo_rate_is_unbiased() -> None:
    q = posterior()
    z, log_q = q.rsample_and_log_prob(50_000)
    draws = torch.stack(
        [
            rate(q, WideNormal(), some_z, some_q)
            for some_z, some_q in zip(z.split(50), log_q.split(50), strict=True)
        ]
    )
    assert_mean(draws, exact(q, 3.0))


def test_gradient_of_the_closed_form_is_analytic() -> None:
    # KL = ½ Σ μ² + σ² − 1 − 2 log σ: dμ = μ, dσ = σ − 1/σ
    q = posterior()
    mean, scale = q.mean.requires_grad_(), q.scale.requires_grad_()
    by_mean, by_scale = torch.autograd.grad(rate(q, StandardNormal(3), mean, mean).sum(), [mean, scale])
    assert_equal(by_mean, mean, **FLOAT64)
    assert_equal(by_scale, scale - 1 / scale, **FLOAT64)
