from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import Tensor, nn

from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.objectives import Critic, Objective, prior_critic, total_correlation_critic
from elboroom.objectives.critics import permuted
from elboroom.objectives.schedules import constant
from elboroom.probability import DiagonalGaussian

from .given import FLOAT64, assert_equal, assert_mean, gaussian, terms_of

CRITICS = {"tc": total_correlation_critic, "prior": prior_critic}
each = pytest.mark.parametrize("name", sorted(CRITICS))


class LogRatio(nn.Module):
    """The best critic of N(mean, scale²) against N(0, 1)."""

    def __init__(self, mean: float, scale: float, shift: float = 0.0):
        super().__init__()
        self.q, self.p = torch.distributions.Normal(mean, scale), torch.distributions.Normal(0.0, 1.0)
        self.shift = nn.Parameter(torch.tensor(shift))

    def forward(self, z: Tensor) -> Tensor:
        return self.q.log_prob(z) - self.p.log_prob(z) + self.shift


def codes(n: int, mean: float, scale: float) -> DiagonalGaussian:
    return DiagonalGaussian(torch.full((n, 1), mean), torch.full((n, 1), scale))


# Permuted codes.


@pytest.mark.parametrize(("k", "b", "d"), [(1, 8, 3), (2, 5, 5), (1, 3, 7), (1, 1, 2)])
def test_permuted_codes_are_a_permutation_of_each_dimension(k: int, b: int, d: int) -> None:
    z = torch.randn(k, b, d)
    moved = permuted(z)
    assert_equal(moved.sort(1).values, z.sort(1).values)


def test_no_permuted_code_has_two_numbers_of_one_example() -> None:
    rows = torch.arange(6.0)[None, :, None].expand(2, 6, 6)
    for _ in range(20):
        for code in permuted(rows).reshape(-1, 6):
            assert len(code.unique()) == 6


def test_permuted_codes_keep_marginals_and_lose_correlation() -> None:
    z = torch.randn(1, 20_000, 1) + 0.1 * torch.randn(1, 20_000, 2)
    # a correlation of n independent pairs has a standard error of 1/√n: five of them
    assert abs(torch.corrcoef(permuted(z)[0].T)[0, 1].item()) < 5 / 20_000**0.5


# Known answers.


def test_the_best_critics_logit_is_the_divergence_in_mean() -> None:
    mean, scale = 0.7, 0.5
    critic = Critic(LogRatio(mean, scale), lambda _: torch.empty(0), lambda x: x, lr=1.0, betas=(0.5, 0.9))
    values = torch.stack([critic(terms_of(codes(200, mean, scale))) for _ in range(200)]).detach()
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, scale), torch.distributions.Normal(0.0, 1.0)
    )
    assert_mean(values[:, None], kl[None])


def test_the_best_critic_has_the_least_own_loss() -> None:
    """Its slope there is zero in mean, and any shift makes it worse."""
    mean, scale = 0.7, 0.5
    critic = prior_critic(1)
    losses = {}
    for shift in (-0.5, 0.0, 0.5):
        critic.network = LogRatio(mean, scale, shift)
        torch.manual_seed(1)
        losses[shift] = critic.own_loss(terms_of(codes(20_000, mean, scale))).item()
    assert losses[0.0] < min(losses[-0.5], losses[0.5])


@each
def test_a_critic_that_can_tell_nothing(name: str) -> None:
    critic = CRITICS[name](3, hidden=())
    nn.init.zeros_(critic.network[0].weight)
    nn.init.zeros_(critic.network[0].bias)
    terms = terms_of(gaussian(8, 3))
    assert_equal(critic.own_loss(terms), math.log(2), **FLOAT64)
    assert_equal(critic(terms), {"tc": 0.0, "prior": math.log(2)}[name], **FLOAT64)


def test_the_model_pays_minus_the_log_probability_of_the_prior() -> None:
    critic, terms = prior_critic(3, hidden=(4,)), terms_of(gaussian(8, 3), 2)
    logits = critic.network(terms.z)
    assert_equal(critic(terms), -torch.log(1 - torch.sigmoid(logits)).mean(), **FLOAT64)


class Quadratic(nn.Module):
    """Codes (..., 2) → their products, in which the log-ratio of two Gaussians is linear."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.cat([z.square(), z.prod(-1, keepdim=True)], -1)


def test_a_trained_critic_finds_the_total_correlation_of_a_gaussian() -> None:
    rho, n = 0.8, 20_000
    factor = torch.linalg.cholesky(torch.tensor([[1.0, rho], [rho, 1.0]]))
    terms = terms_of(DiagonalGaussian(torch.randn(n, 2) @ factor.T, torch.full((n, 2), 1e-3)))
    critic = total_correlation_critic(2, hidden=())
    critic.network = nn.Sequential(Quadratic(), nn.Linear(3, 1))

    def loss_and_slope(weights: np.ndarray) -> tuple[float, np.ndarray]:
        torch.manual_seed(1)
        nn.utils.vector_to_parameters(torch.from_numpy(weights), critic.parameters())
        loss = critic.own_loss(terms)
        slope = torch.autograd.grad(loss, list(critic.parameters()))
        return loss.item(), nn.utils.parameters_to_vector(slope).numpy()

    best = optimize.minimize(loss_and_slope, np.zeros(4), jac=True)
    # log p(z)/p(z₁)p(z₂) = −½ log(1 − ρ²) − (½ρ² (z₁² + z₂²) − ρ z₁ z₂) / (1 − ρ²)
    squares, product, constant = -0.5 * rho**2 / (1 - rho**2), rho / (1 - rho**2), -0.5 * math.log(1 - rho**2)
    # the standard error of a logistic regression's weights is about 4/√n = 0.03; up to five of them
    np.testing.assert_allclose(best.x, [squares, squares, product, constant], atol=0.15)
    assert critic(terms).item() == pytest.approx(constant, abs=0.03)


# Who trains whom.


@each
def test_the_model_and_the_critic_train_on_their_own_losses_only(name: str) -> None:
    critic = CRITICS[name](3, hidden=(4,))
    posterior = gaussian(8, 3)
    critic(terms_of(posterior, 2)).backward()
    assert posterior.mean.grad.abs().max() > 0
    assert all(p.grad is None for p in critic.parameters())
    posterior.mean.grad = None
    critic.own_loss(terms_of(posterior, 2)).backward()
    assert posterior.mean.grad is None
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in critic.parameters())


def grads(objective: Objective, vae: VAE, *which: str) -> list[Tensor]:
    torch.manual_seed(3)
    terms = vae(torch.full((6, 5), 0.4), 2)
    noise = torch.random.get_rng_state()
    losses = {"loss": objective(terms, torch.tensor(objective.coefficients(0)))}
    torch.random.set_rng_state(noise)
    losses["own"] = torch.stack(list(objective.own_losses(terms).values())).sum()
    parameters = [*vae.parameters(), *objective.parameters()]
    total = torch.stack([losses[name] for name in which]).sum()
    found = torch.autograd.grad(total, parameters, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def test_one_backward_pass_serves_both() -> None:
    vae = VAE.build(shape=(5,), hidden=[4])
    objective = Objective(
        penalties={
            "tc": (total_correlation_critic(2, hidden=(4,)), constant(3.0)),
            "prior": (prior_critic(2, hidden=(4,)), constant(2.0)),
        }
    )
    together = grads(objective, vae, "loss", "own")
    apart = zip(grads(objective, vae, "loss"), grads(objective, vae, "own"), strict=True)
    for total, (loss, own) in zip(together, apart, strict=True):
        assert_equal(total, loss + own, **FLOAT64)
        assert (loss == 0).all() or (own == 0).all()


def test_an_objective_knows_its_opponents() -> None:
    critic = total_correlation_critic(2, hidden=(4,))
    objective = copy.deepcopy(Objective(penalties={"tc": (critic, constant(3.0))}))
    (opponent,) = objective.opponents
    assert opponent is objective.penalties["tc"]
    assert opponent is not critic
    assert (opponent.lr, opponent.betas) == (1e-4, (0.5, 0.9))
    assert {id(p) for p in opponent.parameters()} == {id(p) for p in objective.parameters()}
    assert set(objective.state_dict()) == {
        f"trainable_parts.0.network.{i}.{w}" for i in (0, 2) for w in ("weight", "bias")
    }


def test_without_opponents_there_is_no_own_loss() -> None:
    assert Objective().own_losses(terms_of(gaussian(2, 2))) == {}
    assert Objective().opponents == []


def test_the_critics_of_the_papers() -> None:
    tc, prior = total_correlation_critic(10), prior_critic(10)
    assert [p.shape for p in tc.parameters() if p.ndim > 1] == [(1000, 10), *[(1000, 1000)] * 4, (1, 1000)]
    assert (prior.lr, prior.betas) == (5e-4, (0.5, 0.999))
    assert "lr=0.0001" in repr(tc)


def test_one_dimension_has_no_total_correlation() -> None:
    with pytest.raises(UsageError, match="latent_dim = 1"):
        total_correlation_critic(1)


def test_losses_are_finite_for_a_critic_that_is_sure() -> None:
    critic = prior_critic(2, hidden=())
    nn.init.constant_(critic.network[0].weight, 1e6)
    posterior = gaussian(8, 2)
    loss = critic(terms_of(posterior)) + critic.own_loss(terms_of(posterior))
    loss.backward()
    assert np.isfinite(loss.item())
    assert posterior.mean.grad.isfinite().all()
