"""Each paper: what it is composed of, in few lines, and that its loss is the formula."""

from __future__ import annotations

import ast
import inspect
import itertools
import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

import elboroom
from elboroom.config import ObjectiveConfig
from elboroom.errors import UsageError
from elboroom.models.terms import Terms
from elboroom.models.vae import VAE
from elboroom.objectives import RECIPES, Objective, recipe, recipes

from .small import EXAMPLES, build, images, objective_of, small

each_recipe = pytest.mark.parametrize("name", RECIPES)


def test_each_recipe_takes_ten_lines_at_most() -> None:
    tree = ast.parse(inspect.getsource(recipes))
    (table,) = (
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "RECIPES"
    )
    assert isinstance(table, ast.Dict)
    lines = {
        ast.literal_eval(key): value.end_lineno - key.lineno + 1  # type: ignore[operator, arg-type]
        for key, value in zip(table.keys, table.values, strict=True)
        if key is not None
    }
    assert lines.keys() == RECIPES.keys()
    assert {name: count for name, count in lines.items() if count > 10} == {}


@each_recipe
def test_each_says_what_it_does_and_where_it_is_from(name: str) -> None:
    one = RECIPES[name]
    assert 0 < len(one.summary) <= 60
    assert one.arxiv
    assert all(re.fullmatch(r"\d{4}\.\d{4,5}", number) for number in one.arxiv)
    assert one.fields


def test_an_unknown_recipe_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"unknown recipe 'beta-tcva'; did you mean 'beta-tcvae'\?"):
        recipe("beta-tcva")


def test_a_recipe_lies_over_a_configuration_and_options_over_it() -> None:
    base = elboroom.Config().updated(epochs=7, beta=2.0)
    config = recipe("beta-vae", base, latent_dim=5)
    assert (config.training.epochs, config.objective.beta, config.model.latent_dim) == (7, 4.0, 5)
    assert recipe("beta-vae", base, beta=9.0).objective.beta == 9.0


# What is minimised, beside the formula written out. One step's terms give both, so they agree to rounding.


def _elbo(t: Terms, beta: float = 1.0) -> Tensor:
    return (t.distortion + beta * t.rate).mean()


def _normalized(features: Tensor) -> Tensor:
    """Each number of a code with mean 0 and variance 1 over the batch."""
    rows = features.flatten(1)
    return (rows - rows.mean(0)) / (rows.var(0, unbiased=False) + 1e-5).sqrt()


def _rates(t: Terms) -> Tensor:
    """Rate of each dimension of a diagonal Gaussian code, (b, d)."""
    q = Normal(t.posterior.mean, t.posterior.scale)  # type: ignore[attr-defined]
    return torch.distributions.kl_divergence(q, Normal(0.0, 1.0))


def _weights(vae: VAE) -> Tensor:
    return 0.5 * torch.stack([p.square().sum() for p in vae.decoder.parameters() if p.ndim > 1]).sum()


def _half_squares(t: Terms) -> Tensor:
    return 0.5 * t.z.square().sum(-1).mean()


def _log_mean_weight(t: Terms) -> Tensor:
    return -t.log_weights.exp().mean(0).log().mean()


def _mean_of_bounds(t: Terms) -> Tensor:
    groups = t.log_weights.reshape(8, 8, -1)
    return -groups.exp().mean(1).log().mean()


def _covariance_cost(covariance: Tensor, diagonal: float) -> Tensor:
    d = len(covariance)
    off = sum(covariance[i, j] ** 2 for i in range(d) for j in range(d) if i != j)
    return torch.as_tensor(off + diagonal * sum((covariance[i, i] - 1) ** 2 for i in range(d)))


def _covariance_of_means(t: Terms) -> Tensor:
    return torch.cov(t.posterior.mean.T, correction=0)


def _total_correlation(t: Terms) -> Tensor:
    """Mean over codes of log q(z) − Σ log q(z_d), q(z) by the batch's stratified weights, in a loop."""
    z, q = t.z[0].tolist(), Normal(t.posterior.mean, t.posterior.scale)  # type: ignore[attr-defined]
    b, d = t.posterior.mean.shape
    total = 0.0
    for i in range(b):
        densities = q.log_prob(torch.tensor(z[i], dtype=torch.float64)).exp().tolist()  # of z_i under each
        weights = [1 / EXAMPLES if j == i else (EXAMPLES - 1) / (EXAMPLES * (b - 1)) for j in range(b)]
        joint = sum(w * math.prod(row) for w, row in zip(weights, densities, strict=True))
        each = [sum(w * row[k] for w, row in zip(weights, densities, strict=True)) for k in range(d)]
        total += math.log(joint) - sum(map(math.log, each))
    return torch.tensor(total / b, dtype=torch.float64)


def _mmd(t: Terms, similar: Callable[[float], float], scales: list[float]) -> Tensor:
    """MMD² to as many draws from the prior, pair by pair; a pair's share is r² / (2d · scale)."""
    codes, drawn = t.z[0].tolist(), t.prior.sample(len(t.z[0])).tolist()
    n, d = len(codes), len(codes[0])

    def k(a: list[float], b: list[float]) -> float:
        return sum(similar(math.dist(a, b) ** 2 / (2 * d * scale)) for scale in scales)

    within = sum(k(s[i], s[j]) for s in (codes, drawn) for i in range(n) for j in range(n) if i != j)
    across = sum(k(a, b) for a in codes for b in drawn)
    return torch.tensor(within / (n * (n - 1)) - 2 * across / n**2, dtype=torch.float64)


def _similarity(t: Terms) -> float:
    """SSIM's contrast, structure and luminance under a Gaussian window of 11, at the only scale."""
    at = np.arange(11) - 5
    window = np.exp(-(at[:, None] ** 2 + at**2) / 4.5)
    window /= window.sum()
    found = []
    for x, y in zip(t.x[..., 0].numpy(), t.likelihood.mean[0, ..., 0].detach().numpy(), strict=True):
        places = []
        for i, j in itertools.product(range(2), repeat=2):
            a, b = (image[i : i + 11, j : j + 11] for image in (x, y))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            spread_a, spread_b = ((window * (v - m) ** 2).sum() for v, m in ((a, mean_a), (b, mean_b)))
            together = (window * (a - mean_a) * (b - mean_b)).sum()
            structure = (2 * together + 9e-4) / (spread_a + spread_b + 9e-4)
            places.append(structure * (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4))
        found.append(max(np.mean(places), 1e-3))
    return float(np.mean(found))


FORMULAS: dict[str, Callable[[Terms, VAE], Tensor]] = {
    "vae": lambda t, _: _elbo(t),
    "ae": lambda t, _: t.distortion.mean(),
    "beta-vae": lambda t, _: _elbo(t, 4.0),
    "annealed-vae": lambda t, _: _elbo(t, 0.5),  # halfway up the ramp
    "cyclical-vae": lambda t, _: _elbo(t, 1.0),  # halfway in the cycle, and so just up its ramp
    "capacity-vae": lambda t, _: t.distortion.mean() + 1000 * (t.rate.mean() - 12.5).abs(),
    "iwae": lambda t, _: _log_mean_weight(t),
    "missing-iwae": lambda t, _: _log_mean_weight(t),
    "miwae": lambda t, _: _mean_of_bounds(t),
    "piwae": lambda t, _: _log_mean_weight(t),
    "dreg": lambda t, _: _log_mean_weight(t),
    "ciwae": lambda t, _: 0.5 * _elbo(t) + 0.5 * _log_mean_weight(t),
    "stl": lambda t, _: _elbo(t),
    "beta-tcvae": lambda t, _: _elbo(t) + 5 * _total_correlation(t),
    "dip-vae-i": lambda t, _: _elbo(t) + 10 * _covariance_cost(_covariance_of_means(t), 10.0),
    "dip-vae-ii": lambda t, _: (
        _elbo(t)
        + 10
        * _covariance_cost(
            _covariance_of_means(t) + torch.diag(t.posterior.variance.mean(0)),  # type: ignore[attr-defined]
            1.0,
        )
    ),
    "info-vae": lambda t, _: t.distortion.mean() + 1000 * _mmd(t, lambda share: math.exp(-share), [1.0]),
    "wae-mmd": lambda t, _: (
        t.distortion.mean()
        + 10 * _mmd(t, lambda share: 1 / (1 + share), [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0])
    ),
    "ms-ssim-vae": lambda t, _: _elbo(t) + 100 * (1 - _similarity(t)),
    "rae-l2": lambda t, vae: t.distortion.mean() + 1e-2 * _half_squares(t) + 1e-4 * _weights(vae),
    "rae-sn": lambda t, _: t.distortion.mean() + 1e-2 * _half_squares(t),
    "vq-vae": lambda t, vae: (
        _elbo(t) + 0.25 * (_normalized(vae.encoder(t.x)) - t.z[0]).square().sum(1).mean()
    ),
    "free-bits-vae": lambda t, _: t.distortion.mean() + _rates(t).mean(0).clamp(min=0.5).sum(),
}
# Their penalties are random or have networks of their own, and are tested in tests/objectives.
TESTED_BY_PENALTY = {"factor-vae", "aae", "rae-gp", "residual-vq", "tokenizer", "vae-gan"} | {
    *("tokenizer-vq", "tokenizer-fsq")
}
# Recipes that choose a prior, posterior, likelihood or network, and minimise −ELBO.
FORMULAS |= {
    name: lambda t, _: _elbo(t)
    for name, one in RECIPES.items()
    if not one.fields.keys() & ObjectiveConfig.model_fields.keys()
}


def test_every_recipe_has_its_formula() -> None:
    """One that is new stands in FORMULAS, written out without the package's own objectives."""
    assert {*FORMULAS, *TESTED_BY_PENALTY} == {*RECIPES}
    assert not FORMULAS.keys() & TESTED_BY_PENALTY


@pytest.mark.parametrize("name", FORMULAS)
def test_the_loss_is_the_papers(name: str) -> None:
    config = small(name)
    vae = build(config).double()
    objective = objective_of(config, vae)
    terms = vae(torch.from_numpy(images(6)).double() / 255, config.objective.num_samples)
    step = 15  # five epochs of three steps
    torch.manual_seed(3)  # of the prior's draws that codes are compared with
    loss = objective(terms, torch.tensor(objective.coefficients(step), dtype=torch.float64))
    torch.manual_seed(3)
    # exp of log-weights of −100 nats is still far from float64's smallest; the rest is rounding
    torch.testing.assert_close(loss, FORMULAS[name](terms, vae), rtol=1e-9, atol=1e-9)


def test_rates_of_quantisers_are_what_it_takes_to_name_their_codes() -> None:
    for name, nats in (("vq-vae", 4 * torch.tensor(8.0).log()), ("fsq", 16 * torch.tensor(1000.0).log())):
        vae = build(small(name))
        rate = vae(torch.rand(3, 12, 12, 1)).rate
        torch.testing.assert_close(rate, nats.expand(3))


def test_penalties_need_the_model_and_the_data() -> None:
    config = recipe("beta-tcvae")
    with pytest.raises(UsageError, match=r"give Objective.from_config vae= and examples="):
        Objective.from_config(config.objective, 3)
