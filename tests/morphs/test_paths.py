"""Walks: exact ends, even steps, known ways."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from elboroom.errors import UsageError
from elboroom.latent.paths import PATHS, code_density, dense, density_length, linear, spherical
from elboroom.probability.priors import StandardNormal

RING = torch.stack([f(torch.linspace(0, 2 * math.pi, 201)[:-1]) for f in (torch.cos, torch.sin)], 1)


def draw(d: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    a, b = torch.randn(2, d, generator=torch.Generator().manual_seed(seed))
    return a, b


@pytest.mark.parametrize("d", [1, 2, 32])
@pytest.mark.parametrize("name", PATHS)
def test_every_walk_has_exact_ends_and_leaves_the_noise_alone(name: str, d: int) -> None:
    a, b = draw(d)
    walk = PATHS[name](
        StandardNormal(d), lambda: torch.randn(50, d, generator=torch.Generator().manual_seed(1))
    )
    state = torch.get_rng_state()
    for steps in (2, 7):
        path = walk(a, b, steps)
        assert path.shape == (steps, d)
        assert path.dtype == a.dtype
        assert torch.equal(path[0], a)
        assert torch.equal(path[-1], b)
        assert path.isfinite().all()
    assert torch.equal(walk(a, a, 5), a.expand(5, d))
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(UsageError, match=r"steps = 1: a path needs at least 2"):
        walk(a, b, 1)


@pytest.mark.parametrize("d", [2, 3, 50])
def test_the_spherical_walk_turns_evenly_while_the_norm_changes_evenly(d: int) -> None:
    a, b = draw(d)
    path = spherical(3 * a, b, 9).double()
    norms = path.norm(dim=1)
    # float32 rounds to 1e-7; angles lose half the digits near 0 only, and these are not.
    torch.testing.assert_close(
        norms, torch.linspace(float(norms[0]), float(norms[-1]), 9).double(), rtol=1e-5, atol=0
    )
    unit = path / norms[:, None]
    turns = (unit[1:] * unit[:-1]).sum(1).clamp(-1, 1).acos()
    torch.testing.assert_close(turns, turns.mean().expand(8), rtol=1e-4, atol=0)
    total = torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=0).acos()
    torch.testing.assert_close(turns.sum(), total, rtol=1e-5, atol=0)


def test_spherical_walks_without_a_turn_are_straight() -> None:
    a, zero = torch.tensor([1.0, -2.0, 3.0]), torch.zeros(3)
    for start, end in ((a, 4 * a), (a, zero), (zero, a), (zero, zero)):
        torch.testing.assert_close(spherical(start, end, 6), linear(start, end, 6))


@pytest.mark.parametrize("scale", [-1.0, -2.5])
def test_a_half_turn_goes_round_and_not_through_the_middle(scale: float) -> None:
    a = torch.tensor([0.0, 2.0, 0.0])
    path = spherical(a, scale * a, 5)
    torch.testing.assert_close(path.norm(dim=1), torch.linspace(2, -2 * scale, 5))
    assert float(path[2] @ a) == pytest.approx(0, abs=1e-6)
    assert torch.equal(path, spherical(a, scale * a, 5))
    nearly = spherical(a, scale * a + torch.tensor([0.0, 0.0, 1e-5]), 5)
    assert nearly.norm(dim=1).min() > 1.9


@pytest.mark.parametrize("d", [1, 2, 8, 64])
def test_dense_walks_are_never_longer_and_go_through_denser_places(d: int) -> None:
    prior = StandardNormal(d)
    for seed in range(3):
        a, b = draw(d, seed)
        path, straight = dense(a, b, 50, prior.log_prob), linear(a, b, 50)
        # 1e-4: 50 points stand for the 129 of the curve that was compared.
        assert density_length(path, prior.log_prob) <= density_length(straight, prior.log_prob) + 1e-4
        assert prior.log_prob(path).mean() >= prior.log_prob(straight).mean() - 1e-4
        pieces = path.diff(dim=0).norm(dim=1)
        torch.testing.assert_close(pieces, pieces.mean().expand(49), rtol=0.01, atol=0)


def test_through_the_middle_of_the_prior_the_dense_walk_is_straight() -> None:
    a = torch.tensor([1.5, -1.0, 0.5])
    # The optimum is known exactly by symmetry; L-BFGS stops at gradients of 1e-5.
    torch.testing.assert_close(
        dense(a, -a, 11, StandardNormal(3).log_prob), linear(a, -a, 11), rtol=0, atol=5e-3
    )


def test_a_dense_walk_does_what_calculus_says() -> None:
    """A brute-force search among single waves finds no shorter way."""
    prior = StandardNormal(2)
    a, b = torch.tensor([2.0, 1.0]), torch.tensor([-2.0, 1.0])
    found = density_length(dense(a, b, 129, prior.log_prob), prior.log_prob)
    t = torch.linspace(0, 1, 129)[:, None]
    bends = [
        linear(a, b, 129) - h * torch.sin(math.pi * t) * torch.tensor([0.0, 1.0])
        for h in torch.arange(0, 2, 0.01)
    ]
    best = min(density_length(way, prior.log_prob) for way in bends)
    assert found <= best + 1e-4
    assert found > best - 0.05  # one wave is nearly enough


def test_a_walk_along_the_data_goes_around_a_hole() -> None:
    density = code_density(RING)
    a, b = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 0.0])
    path = dense(a, b, 21, density)
    assert path.norm(dim=1).min() > 0.6  # the straight line passes through 0
    assert density_length(path, density) < density_length(linear(a, b, 21), density) - 0.3


def test_the_density_of_codes_is_a_kernel_estimate() -> None:
    codes = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    width = math.sqrt(float(codes.var(0, correction=0).mean())) * 40 ** (-1 / 7)
    kernels = MultivariateNormal(codes, width**2 * torch.eye(3))
    z = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(1))
    expected = torch.logsumexp(kernels.log_prob(z[..., None, :]), -1) - math.log(40)
    torch.testing.assert_close(code_density(codes.numpy())(z), expected, rtol=1e-4, atol=1e-5)
    for few in (np.zeros((1, 2)), np.ones((4, 2))):
        with pytest.raises(UsageError, match="needs at least 2 different codes"):
            code_density(few)


def test_a_prior_with_parameters_gets_no_gradients() -> None:
    class Shifted(StandardNormal):
        def __init__(self) -> None:
            super().__init__(2)
            self.shift = torch.nn.Parameter(torch.ones(2))

        def log_prob(self, z: Tensor) -> Tensor:
            return super().log_prob(z - self.shift)

    prior = Shifted()
    with torch.no_grad():
        path = dense(torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 0.0]), 9, prior.log_prob)
    assert prior.shift.grad is None
    assert not path.requires_grad
    assert path[4, 1] > 0.1  # bent towards where the prior is
