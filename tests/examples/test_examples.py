"""What the examples define is right; that they run is seen to by the tests of all code that is shown."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from elboroom.probability import StandardNormal, rate

FOLDER = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(20240229)


def definitions(name: str) -> SimpleNamespace:
    """Classes and functions of an example, which is not run for it."""
    tree = ast.parse((FOLDER / f"{name}.py").read_text("utf-8"))
    kept = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef)
    tree.body = [node for node in tree.body if isinstance(node, kept)]
    found: dict[str, object] = {"__name__": name}
    exec(compile(tree, name, "exec", dont_inherit=True), found)
    return SimpleNamespace(**found)


def test_ring_is_a_mixture_of_normals() -> None:
    prior = definitions("custom_prior").Ring(blobs=7, radius=2.0, scale=0.3)
    blobs = Independent(Normal(prior.centres, 0.3), 1)
    exact = MixtureSameFamily(Categorical(torch.ones(7)), blobs)
    z = 3 * torch.randn(4, 5, 2)
    # float32's rounding in log-densities down to −500.
    torch.testing.assert_close(prior.log_prob(z), exact.log_prob(z), rtol=1e-5, atol=1e-4)


def test_ring_draws_from_its_density() -> None:
    prior = definitions("custom_prior").Ring(blobs=7, radius=2.0, scale=0.3)
    drawn = prior.sample(20_000)
    # Standard deviations of the means: √(4.18/2/20000) = 0.01 of z, and about 0.009 of ‖z‖²; five of them.
    assert drawn.mean(0).abs().max() < 0.05
    assert abs(drawn.square().sum(-1).mean().item() - (2.0**2 + 2 * 0.3**2)) < 0.05


def test_binomial_has_the_mass_of_counts() -> None:
    head = definitions("custom_likelihood").BinomialHead((3,), total=16)
    logits = 2 * torch.randn(2, 5, 3)
    likelihood = head(logits)
    counts = torch.randint(0, 17, (5, 3))
    exact = stats.binom.logpmf(counts.numpy(), 16, torch.sigmoid(logits.double()).numpy()).sum(-1)
    # float32's rounding of three log-masses below 100 in size.
    np.testing.assert_allclose(likelihood.log_prob(counts / 16).numpy(), exact, rtol=1e-5, atol=1e-4)


def test_binomial_draws_counts_with_its_mean() -> None:
    likelihood = definitions("custom_likelihood").BinomialHead((1,), total=16)(torch.full((20_000, 1), 1.0))
    drawn = 16 * likelihood.sample()
    assert torch.equal(drawn, drawn.round())
    # The standard deviation of the mean share is √(0.2/16/20000) = 0.0008; five of them.
    assert abs(drawn.mean().item() / 16 - likelihood.mean[0].item()) < 0.004


def test_laplace_posterior_scores_its_own_draws() -> None:
    head = definitions("custom_posterior").LaplaceHead(3)
    q = head(torch.randn(4, 6))
    z, log_q = q.rsample_and_log_prob(5)
    exact = stats.laplace.logpdf(z.numpy(), q.mean.numpy(), q.scale.numpy()).sum(-1)
    np.testing.assert_allclose(log_q.numpy(), exact, rtol=1e-5, atol=1e-5)


def test_laplace_posterior_has_the_exact_rate() -> None:
    mean, scale = torch.tensor([[0.5, -1.0]]), torch.tensor([[0.3, 1.2]])
    q = definitions("custom_posterior").LaplacePosterior(mean, scale)
    found = rate(q, StandardNormal(2), *q.rsample_and_log_prob(40_000)).item()
    # KL(Laplace(μ, b) ‖ N(0, 1)) = ½ log 2π + ½(μ² + 2b²) − 1 − log 2b, in each dimension.
    exact = (0.5 * math.log(2 * math.pi) + 0.5 * (mean**2 + 2 * scale**2) - 1 - (2 * scale).log()).sum()
    # log q − log p has a standard deviation of about 3, so its mean one of 0.015; five of them.
    assert abs(found - exact.item()) < 0.075


def test_stress_is_zero_for_a_true_map_only() -> None:
    stress = definitions("custom_penalty").stress
    x = torch.randn(6, 3, 1, 1)
    rotation = torch.linalg.qr(torch.randn(3, 3)).Q
    codes = x.flatten(1) @ rotation + 4
    # Distances of about 2 in float32, squared differences of their rounding.
    assert stress(SimpleNamespace(x=x, posterior=SimpleNamespace(mean=codes))) < 1e-10
    doubled = stress(SimpleNamespace(x=x, posterior=SimpleNamespace(mean=2 * codes)))
    rows = x.flatten(1).double()
    squares = [(rows[i] - rows[j]).square().sum() for i in range(6) for j in range(i)]
    torch.testing.assert_close(doubled, torch.stack(squares).mean().float(), rtol=1e-5, atol=0.0)


def test_readme_lists_every_example() -> None:
    listed = set(re.findall(r"\]\((\w+\.py)\)", (FOLDER / "README.md").read_text("utf-8")))
    assert listed == {path.name for path in FOLDER.glob("*.py")}
