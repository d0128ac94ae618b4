"""β here against "mean over pixels, sum over latents", the loss of the Haskell program."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from elboroom.models.terms import Terms
from elboroom.models.vae import VAE
from elboroom.networks import MLP
from elboroom.objectives import Objective
from elboroom.probability import DiagonalGaussianHead, GaussianHead, StandardNormal

from .known import FLOAT64, assert_equal

pytestmark = pytest.mark.usefixtures("float64")

B, D, LATENT = 4, 6, 2
BETA_SEED = 0.02
BETA = BETA_SEED * B * D
Array = np.ndarray[Any, Any]


def small_vae() -> VAE:
    return VAE(
        MLP((D,), (2 * LATENT,), [3], activation="tanh"),
        MLP((LATENT,), (D,), [3], activation="tanh"),
        StandardNormal(LATENT),
        shape=(D,),
        posterior=DiagonalGaussianHead(LATENT, scale="exp", min_scale=0.0),
        likelihood=GaussianHead((D,)),  # of variance one half
    )


def our_loss(terms: Terms) -> torch.Tensor:
    objective = Objective(BETA)
    loss: torch.Tensor = objective(terms, torch.tensor(objective.coefficients(0)))
    return loss


def seed_loss(parameters: list[Array], x: Array, noise: Array) -> Any:
    """mean_{batch,pixels} (x − x̂)² + β Σ_{batch,latent} KL, in numpy; fit for complex numbers."""
    w1, b1, w2, b2, v1, c1, v2, c2 = parameters
    features = np.tanh(x @ w1.T + b1) @ w2.T + b2
    mean, log_variance = features[:, :LATENT], features[:, LATENT:]
    z = mean + np.exp(log_variance / 2) * noise
    out = np.tanh(z @ v1.T + c1) @ v2.T + c2
    kl = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance)
    return ((x - out) ** 2).mean() + BETA_SEED * kl.sum()


def gradient(loss: Callable[[list[Array]], Any], parameters: list[Array]) -> list[Array]:
    """By complex steps, Im f(p + ih)/h: exact to rounding, and no code in common with autograd."""
    gradients = [np.zeros_like(p) for p in parameters]
    for i, parameter in enumerate(parameters):
        for at in np.ndindex(parameter.shape):
            moved = [p.astype(complex) for p in parameters]
            moved[i][at] += 1e-30j
            gradients[i][at] = loss(moved).imag / 1e-30
    return gradients


def adam(gradients: Callable[[list[Array]], list[Array]], p: list[Array], lr: float, eps: float) -> Iterator:
    """Adam with bias correction and ε outside the root (arXiv:1412.6980, algorithm 1)."""
    m, v = [0 * q for q in p], [0 * q for q in p]
    for t in range(1, 100):
        g = gradients(p)
        m = [0.9 * a + 0.1 * b for a, b in zip(m, g, strict=True)]
        v = [0.999 * a + 0.001 * b**2 for a, b in zip(v, g, strict=True)]
        p = [
            q - lr * (a / (1 - 0.9**t)) / (np.sqrt(b / (1 - 0.999**t)) + eps)
            for q, a, b in zip(p, m, v, strict=True)
        ]
        yield p


def arrays(vae: nn.Module) -> list[Array]:
    return [p.detach().numpy().copy() for p in vae.parameters()]


def noise_of(terms: Terms) -> Array:
    noise = (terms.z[0] - terms.posterior.mean) / terms.posterior.scale  # type: ignore[attr-defined]
    return np.asarray(noise.detach())


def test_beta_seed_times_batch_times_pixels_is_beta() -> None:
    assert pytest.approx(1e-4 * 32 * 784) == 2.5088  # the example of docs/units.md


def test_losses_differ_by_a_factor_and_a_constant() -> None:
    vae, x = small_vae(), torch.rand(B, D)
    terms = vae(x)
    theirs = seed_loss(arrays(vae), x.numpy(), noise_of(terms))
    constant = D / 2 * np.log(np.pi)
    assert_equal(D * theirs, our_loss(terms) - constant, **FLOAT64)
    whole_batch = (terms.distortion + BETA * terms.rate).sum()
    assert_equal(B * D * theirs, whole_batch - B * constant, **FLOAT64)


def test_gradients_differ_by_the_number_of_pixels() -> None:
    vae, x = small_vae(), torch.rand(B, D)
    terms = vae(x)
    ours = torch.autograd.grad(our_loss(terms), list(vae.parameters()))
    theirs = gradient(lambda p: seed_loss(p, x.numpy(), noise_of(terms)), arrays(vae))
    for our, their in zip(ours, theirs, strict=True):
        assert_equal(our, D * their, **FLOAT64)


@pytest.mark.parametrize("eps", [1e-8, 3e-3])
def test_adam_takes_the_same_steps_when_epsilon_is_scaled_too(eps: float) -> None:
    vae, x = small_vae(), torch.rand(B, D)
    start, noises = arrays(vae), []
    optimizer = torch.optim.Adam(vae.parameters(), lr=0.01, eps=eps * D)
    for _ in range(5):
        terms = vae(x)
        noises.append(noise_of(terms))
        optimizer.zero_grad()
        our_loss(terms).backward()
        optimizer.step()
    feed = iter(noises)

    def seed_gradients(p: list[Array]) -> list[Array]:
        noise = next(feed)
        return gradient(lambda q: seed_loss(q, x.numpy(), noise), p)

    steps = adam(seed_gradients, start, 0.01, eps)
    for _ in range(5):
        reached = next(steps)
    for our, their, initial in zip(arrays(vae), reached, start, strict=True):
        # Adam divides by the gradient's size, which may be 1e-4: rounding counts that much more
        np.testing.assert_allclose(our, their, rtol=0, atol=1e-10)
        assert np.abs(our - initial).max() > 1e-3


def test_adam_with_an_epsilon_that_is_not_scaled_goes_elsewhere() -> None:
    """So that the test above would notice."""
    x = torch.rand(B, D)
    ends = []
    for eps in (3e-3, 3e-3 * D):
        torch.manual_seed(1)
        vae = small_vae()
        optimizer = torch.optim.Adam(vae.parameters(), lr=0.01, eps=eps)
        our_loss(vae(x)).backward()
        optimizer.step()
        ends.append(torch.cat([p.detach().flatten() for p in vae.parameters()]))
    assert (ends[0] - ends[1]).abs().max() > 1e-4
