"""Closed-form rates against Monte Carlo and torch, and pairs that make no sense."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import distributions, nn

from elboroom.errors import UsageError
from elboroom.probability import (
    POSTERIORS,
    PRIORS,
    Deterministic,
    DiagonalGaussianHead,
    FullGaussian,
    StandardNormal,
    VampPrior,
    check_pair,
    rate,
)

from .known import FLOAT64, assert_equal, assert_mean

pytestmark = pytest.mark.usefixtures("seeded_float64")

GAUSSIANS = ["diagonal", "full", "householder"]


def part(name: str, d: int = 3) -> nn.Module:
    known = {**POSTERIORS, **PRIORS}
    return known[name](d, shape=(4,)) if name == "vamp" else known[name](d)


@pytest.mark.parametrize("name", ["full", "householder"])
def test_closed_form_of_a_full_covariance_is_torchs(name: str) -> None:
    head = part(name)
    q = head(torch.randn(4, *head.in_shape))  # type: ignore[misc]
    p = distributions.MultivariateNormal(torch.zeros(3), torch.eye(3))
    expected = distributions.kl_divergence(
        distributions.MultivariateNormal(q.mean, covariance_matrix=q.covariance), p
    )
    assert_equal(rate(q, StandardNormal(3), q.mean, q.mean), expected, **FLOAT64)


@pytest.mark.parametrize(
    ("posterior", "prior"), [*((name, "normal") for name in GAUSSIANS), ("power_spherical", "sphere")]
)
def test_closed_forms_agree_with_monte_carlo(posterior: str, prior: str) -> None:
    head, p = part(posterior), part(prior)
    q = head(torch.randn(4, *head.in_shape))  # type: ignore[misc]
    z, log_q = q.rsample_and_log_prob(20_000)
    assert_mean(log_q - p.log_prob(z), rate(q, p, z, log_q))  # type: ignore[operator]


@pytest.mark.parametrize("orthogonal", [False, True])
def test_a_full_covariance_at_the_prior_has_rate_zero_and_never_less(orthogonal: bool) -> None:
    turn, _ = torch.linalg.qr(torch.randn(2001, 3, 3)) if orthogonal else (torch.eye(3).expand(2001, 3, 3), 0)
    scale = 1 + 1e-16 * torch.arange(-1000, 1001.0)[:, None].expand(-1, 3)
    q = FullGaussian(torch.zeros(2001, 3), scale, turn, orthogonal)
    values = rate(q, StandardNormal(3), scale, scale)
    assert values.min() >= 0
    assert values[1000] == 0


@pytest.mark.parametrize("prior", ["normal", "mixture", "flow"])
def test_a_point_has_no_rate(prior: str) -> None:
    q = Deterministic(torch.randn(4, 3))
    assert_equal(rate(q, part(prior), *q.rsample_and_log_prob(2)), np.zeros(4))


@pytest.mark.parametrize("posterior", POSTERIORS)
@pytest.mark.parametrize("prior", PRIORS)
def test_every_pair_is_taken_or_refused_with_its_reason(posterior: str, prior: str) -> None:
    head, p = part(posterior), part(prior)
    reason = None
    if prior == "vamp" and posterior in ("planar", "iaf", "deterministic"):
        reason = "has none at arbitrary z; take a diagonal"
    elif prior == "sphere" and posterior != "power_spherical":
        reason = "UniformSphere has codes on the sphere only.*take the PowerSpherical posterior"
    elif prior not in ("sphere", "vamp") and posterior == "power_spherical":
        reason = "PowerSpherical puts codes on a sphere.*take UniformSphere or a VampPrior"
    if reason is not None:
        with pytest.raises(UsageError, match=reason):
            check_pair(head, p)
        return
    check_pair(head, p)
    q = head(torch.randn(4, *head.in_shape))  # type: ignore[misc]
    if isinstance(p, VampPrior):
        encoder = nn.Linear(4, *head.in_shape)  # type: ignore[misc]
        p.bind(lambda x: head(encoder(x)))
    assert rate(q, p, *q.rsample_and_log_prob(2)).shape == (4,)


@pytest.mark.parametrize(("posterior", "prior"), [("diagonal", "sphere"), ("power_spherical", "normal")])
def test_a_rate_between_different_spaces_is_refused(posterior: str, prior: str) -> None:
    head = part(posterior)
    q = head(torch.randn(4, *head.in_shape))  # type: ignore[misc]
    with pytest.raises(UsageError, match="so there is no rate"):
        rate(q, part(prior), *q.rsample_and_log_prob(1))


def test_different_numbers_of_dimensions_are_refused() -> None:
    expected = "DiagonalGaussianHead has latent_dim = 3 and StandardNormal has 2; build both with the same"
    with pytest.raises(UsageError, match=expected):
        check_pair(DiagonalGaussianHead(3), StandardNormal(2))


def test_a_head_from_elsewhere_is_not_looked_at() -> None:
    class Elsewhere(nn.Module):
        latent_dim = 2

    check_pair(Elsewhere(), StandardNormal(2))
