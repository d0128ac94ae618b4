"""Free bits: the rate of a part costs nothing below so many nats (arXiv:1606.04934 eq. 14–16)."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, distributions

from elboroom.config import Config
from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.objectives import Objective, elbo, free_bits
from elboroom.objectives.free_bits import rates_of_parts
from elboroom.probability import DiagonalGaussian
from elboroom.probability.conditional_prior import GivenNormal

from .given import FLOAT64, ONE, assert_equal, gaussian, gradients, terms_of


def known() -> DiagonalGaussian:
    """Two examples whose rates are ½μ²: of dimension 0 they are ½ and 0, of dimension 1 ½ and 2."""
    mean = torch.tensor([[1.0, 1.0], [0.0, 2.0]], requires_grad=True)
    return DiagonalGaussian(mean, torch.ones(2, 2))


def rate_of(posterior: DiagonalGaussian, nats: float, beta: float = 1.0) -> Tensor:
    """What the bound takes off for the rate: it and the distortion are a mean over the batch."""
    terms = terms_of(posterior)
    return -(free_bits(nats)(terms, torch.tensor(beta)) + terms.distortion).mean()


def test_rates_of_dimensions_are_torchs() -> None:
    q = gaussian(5, 3)
    expected = distributions.kl_divergence(
        distributions.Normal(q.mean, q.scale), distributions.Normal(torch.zeros(3), torch.ones(3))
    )
    found = rates_of_parts(terms_of(q))
    assert_equal(found, expected.T, **FLOAT64)
    assert_equal(found.sum(0), terms_of(q).rate, **FLOAT64)


def test_rates_of_dimensions_are_torchs_given_a_condition() -> None:
    q, prior = gaussian(5, 3), GivenNormal(torch.randn(5, 3), torch.rand(5, 3) + 0.5)
    terms = terms_of(q)
    object.__setattr__(terms, "prior", prior)
    expected = distributions.kl_divergence(
        distributions.Normal(q.mean, q.scale), distributions.Normal(prior.mean, prior.scale)
    )
    assert_equal(rates_of_parts(terms), expected.T, **FLOAT64)


@pytest.mark.parametrize(
    ("nats", "rate"),
    [
        # mean rates of the dimensions: ¼ and 1¼
        (0.1, 0.25 + 1.25),
        (0.25, 0.25 + 1.25),
        (0.5, 0.5 + 1.25),
        (3.0, 3.0 + 3.0),
    ],
)
@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_each_dimension_costs_its_mean_rate_or_the_free_nats(nats: float, rate: float, beta: float) -> None:
    assert_equal(rate_of(known(), nats, beta), beta * rate, **FLOAT64)


def test_below_the_free_nats_the_rate_has_no_gradient() -> None:
    q = known()
    # d/dμ of ½μ² is μ, over a batch of two; of dimension 0, a quarter of a nat, there is none
    for nats, expected in [(0.5, [[0, 0.5], [0, 1]]), (0.1, [[0.5, 0.5], [0, 1]]), (3.0, [[0, 0], [0, 0]])]:
        (found,) = gradients(partial(rate_of, q, nats), q.mean)
        assert_equal(found, torch.tensor(expected, dtype=torch.float64), **FLOAT64)


def test_few_free_nats_are_the_elbo_in_value_and_gradient() -> None:
    q = gaussian(6, 3)
    least = rates_of_parts(terms_of(q)).mean(1).min().item()
    bounds = (free_bits(0.99 * least), elbo)
    ours, theirs = (
        gradients(partial(lambda bound: bound(terms_of(q), ONE).mean(), bound), q.mean, q.scale)
        for bound in bounds
    )
    for one, other in zip(ours, theirs, strict=True):
        assert_equal(one, other, **FLOAT64)
    terms = terms_of(q)
    assert_equal(bounds[0](terms, ONE).mean(), elbo(terms, ONE).mean(), **FLOAT64)


def test_the_parts_of_a_ladder_are_its_layers() -> None:
    vae = VAE.build(shape=(8, 8, 1), network="ladder", conv_width=8)
    with torch.no_grad():
        for weight in vae.parameters():  # a new ladder's posterior is its prior
            weight.add_(0.1 * torch.randn_like(weight))
    terms = vae(torch.rand(3, 8, 8, 1))
    assert terms.rates is not None
    means = terms.rates.mean(1)
    assert means.min() < means.max()
    nats = means.median().item()
    expected = torch.where(means > nats, means, nats).sum()
    found = -(free_bits(nats)(terms, ONE) + terms.distortion).mean()
    assert_equal(found, expected, **FLOAT64)


@pytest.mark.parametrize(
    "fields",
    [
        {"posterior": "full"},
        {"posterior": "iaf"},
        {"posterior": "deterministic"},
        {"prior": "vamp", "prior_components": 3},
        {"network": "chain"},
        {"posterior": "power_spherical", "latent_dim": 3},
        {"posterior": "vq"},
    ],
    ids=str,
)
def test_without_a_closed_form_of_each_part_it_is_refused(fields: dict[str, Any]) -> None:
    """As parts composed in Python, and by name before anything is built."""
    terms = VAE.build(shape=(5,), **fields)(torch.rand(3, 5))
    with pytest.raises(UsageError, match="free bits need the rate of each dimension or layer"):
        free_bits(0.5)(terms, ONE)
    with pytest.raises(UsageError, match=r"free_bits = 0.5 needs .* in closed form, and .*; leave it out"):
        Config().updated(free_bits=0.5, **fields)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"bound": "iwae", "num_samples": 5}, "requires bound = 'elbo', and bound is 'iwae'"),
        ({"beta": 0}, "whose weight is beta = 0"),
        ({"free_bits": -1}, "must be at least 0"),
    ],
)
def test_a_configuration_in_which_it_has_no_use_is_refused(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Config().updated(**{"free_bits": 0.5, **fields})


@pytest.mark.parametrize("nats", [0.0, -1.0, float("inf"), float("nan")])
def test_nats_are_above_0(nats: float) -> None:
    with pytest.raises(UsageError, match="nats above 0"):
        free_bits(nats)


def test_without_free_bits_the_bound_is_the_elbo_itself() -> None:
    # which the step without autograd asks for
    assert Objective.from_config(Config().objective, 1).bound is elbo
    bound = Objective.from_config(Config().updated(free_bits=0.5).objective, 1).bound
    terms = terms_of(known())
    assert_equal(-(bound(terms, ONE) + terms.distortion).mean(), 0.5 + 1.25, **FLOAT64)
