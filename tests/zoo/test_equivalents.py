"""What training says of beta, against losses that are averaged as other programs do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from elboroom.config import Config, read_preset
from elboroom.data import Dataset
from elboroom.models.vae import VAE
from elboroom.objectives import Objective
from elboroom.objectives.equivalents import beta_in_words
from elboroom.probability import LIKELIHOODS
from elboroom.runs.run import Run
from elboroom.training import fit
from elboroom.training.loop import Training

SHAPE, B, BETA = (3, 2, 1), 7, 2.5

# Errors as other programs write them, as a mean over batch and dimensions, from (reconstruction, x).
MEANS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "squared error": lambda p, x: F.mse_loss(p.mean[0], x),
    "absolute error": lambda p, x: F.l1_loss(p.mean[0], x),
    "binary cross-entropy": lambda p, x: F.binary_cross_entropy(p.mean[0], x),
    "cross-entropy": lambda p, x: F.cross_entropy(
        p.logits[0].flatten(0, -2), (255 * x).round().long().flatten()
    ),
    "negative log-likelihood": lambda p, x: -p.log_prob(x).mean() / x[0].numel(),
}
EXPECTED = {
    "bernoulli": "binary cross-entropy",
    "categorical": "cross-entropy",
    "gaussian": "squared error",
    "laplace": "absolute error",
}
NUMBERS = re.compile(
    r"With the ([a-z -]+) averaged .* is ([\d.e+-]+), or ([\d.e+-]+) if the KL is summed over"
)


def gradient(loss: Tensor, vae: VAE) -> Tensor:
    parts = torch.autograd.grad(loss, tuple(vae.parameters()), retain_graph=True, allow_unused=True)
    return torch.cat([part.flatten() for part in parts if part is not None])


@pytest.mark.parametrize(
    ("likelihood", "options"),
    [
        *((name, {}) for name in LIKELIHOODS if name != "mixed"),  # of rows with columns
        *((name, {"likelihood_scale": scale}) for name in ("gaussian", "laplace") for scale in (0.3, 2.0)),
    ],
)
def test_the_weight_elsewhere_gives_the_same_loss(likelihood: str, options: dict[str, float]) -> None:
    """mean error + w · mean KL is distortion + beta · rate but for a factor and a constant: see gradients."""
    fields: dict[str, Any] = {"likelihood": likelihood, "beta": BETA, "batch_size": B, **options}
    config = Config().updated(**fields)
    words = beta_in_words(config, SHAPE)
    assert words.startswith(
        "beta 2.5 weighs the rate in a loss summed over dimensions, where 1 gives the ELBO."
    )
    error, *weights = NUMBERS.search(words).groups()  # type: ignore[union-attr]
    assert error == EXPECTED.get(likelihood, "negative log-likelihood")
    torch.manual_seed(1)
    vae = VAE.build(config.model, shape=SHAPE, latent_dim=2, hidden=[4]).double()
    x = torch.randint(2 if likelihood == "bernoulli" else 256, (B, *SHAPE)).double()
    x = x / (1 if likelihood in ("bernoulli", "poisson") or "binomial" in likelihood else 255)
    terms = vae(x)
    ours = Objective(BETA)(terms, torch.tensor([BETA], dtype=torch.float64))
    mean_kl = terms.rate.mean()
    for weight, kl in zip(weights, (mean_kl, B * mean_kl), strict=True):
        theirs = MEANS[error](terms.likelihood, x) + float(weight) * kl
        one, other = (gradient(loss, vae) for loss in (ours, theirs))
        # Three digits are printed: the directions of the gradients are the same to that.
        torch.testing.assert_close(one / one.norm(), other / other.norm(), rtol=0, atol=5e-3)


@pytest.mark.parametrize(("likelihood", "power"), [("gaussian", 2), ("laplace", 1)])
def test_with_standardised_columns_the_error_elsewhere_is_in_their_standard_deviations(
    likelihood: str, power: int
) -> None:
    fields: dict[str, Any] = {"likelihood": likelihood, "standardize": True, "likelihood_scale": 0.3}
    config = Config().updated(beta=BETA, batch_size=B, **fields)
    error, weight, _ = NUMBERS.search(beta_in_words(config, SHAPE)).groups()  # type: ignore[union-attr]
    assert error == EXPECTED[likelihood] + " of standardised numbers"
    torch.manual_seed(1)
    vae = VAE.build(config.model, shape=SHAPE, latent_dim=2, hidden=[4]).double()
    location = torch.randn(SHAPE, dtype=torch.float64)
    spread = torch.linspace(0.01, 50.0, location.numel(), dtype=torch.float64).reshape(SHAPE)
    vae.likelihood.fit(location, spread)
    x = location + spread * torch.randn(B, *SHAPE, dtype=torch.float64)
    terms = vae(x)
    ours = Objective(BETA)(terms, torch.tensor([BETA], dtype=torch.float64))
    theirs = ((x - terms.likelihood.mean[0]) / spread).abs().pow(power).mean()
    one, other = (gradient(loss, vae) for loss in (ours, theirs + float(weight) * terms.rate.mean()))
    torch.testing.assert_close(one / one.norm(), other / other.norm(), rtol=0, atol=5e-3)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"posterior": "deterministic", "beta": 0.0}, "no rate, so beta has no effect"),
        ({"beta": 0.0}, "With beta 0 the loss has no rate, and is not a bound"),
        ({"bound": "capacity", "beta": 9.0}, "beta 9 weighs |rate - capacity|"),
        ({"bound": "iwae", "num_samples": 5}, "where 1 gives the bound itself"),
        ({"beta_schedule": "linear"}, "beta 1 at the end of its schedule weighs"),
        ({"likelihood": "gaussian", "learn_scale": "optimal"}, "With the negative log-likelihood averaged"),
        ({"likelihood": "gaussian", "learn_scale": "shared"}, "With the negative log-likelihood averaged"),
    ],
)
def test_what_else_is_said(fields: dict[str, Any], words: str) -> None:
    assert words in beta_in_words(Config().updated(**fields), SHAPE)


@pytest.mark.parametrize(("side", "batch"), [(28, 32), (5, 10)])
def test_the_haskell_programs_numbers_follow_the_data(side: int, batch: int) -> None:
    """Its beta of 1e-4 and epsilon of 1e-6 are of a mean over pixels, with the KL summed over the batch."""
    config = read_preset("haskell-mnist-ramp").updated(
        hidden=[4], epochs=1, batches_per_epoch=1, batch_size=batch, source=None
    )
    x = torch.randint(0, 256, (40, side, side, 1), dtype=torch.uint8).numpy()
    vae = VAE.build(config.model, shape=(side, side, 1), scale=256.0)
    training = Training(vae, Dataset("x", x, np.zeros(len(x)), scale=256.0), config, quiet=True)
    assert training.config.objective.beta == pytest.approx(1e-4 * batch * side**2)
    assert training.config.optimizer.optimizer_options["eps"] == pytest.approx(1e-6 * side**2)
    (group,) = training.engine.update.optimizer.param_groups
    assert group["eps"] == pytest.approx(1e-6 * side**2)
    objective = training.engine.objective
    assert objective.schedules["beta"](10**6) == pytest.approx(1e-4 * batch * side**2)
    words = beta_in_words(training.config, (side, side, 1))
    # With its variance of ½ the error is the squared one, and the last number is what it was given.
    assert words.endswith("or 0.0001 if the KL is summed over the batch.")


def test_a_run_keeps_the_beta_of_the_sum(tmp_path: Path) -> None:
    x = torch.rand(20, 6).numpy()
    vae = VAE.build(shape=(6,), hidden=[4], latent_dim=2)
    fit(vae, x, beta=0.5, beta_unit="mean", epochs=1, out=tmp_path / "run", quiet=True)
    kept = Run(tmp_path / "run").config.objective
    assert (kept.beta, kept.beta_unit) == (3.0, "sum")


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.2])
def test_kl_weight_of_latent_diffusion(scale: float) -> None:
    """Its loss, written out, is elboroom's times 2b, plus a constant."""
    config = Config().updated(
        **{"network": "spatial", "likelihood": "laplace", "likelihood_scale": scale, "beta": 3e-3},
        **{"conv_width": 4, "conv_levels": 1},
    )
    found = re.search(r"kl_weight ([\d.e-]+)\.$", beta_in_words(config, (8, 8, 3)))
    assert found is not None
    torch.manual_seed(0)
    vae = VAE.build(config.model, shape=(8, 8, 3))
    x = torch.rand(5, 8, 8, 3)
    terms = vae(x, 1)
    q, drawn = terms.posterior, terms.likelihood.mean[0]
    kl = 0.5 * (q.mean.square() + q.variance - 1 - q.variance.log()).sum(1)  # type: ignore[attr-defined]
    theirs = ((2 * x - 1) - (2 * drawn - 1)).abs().sum() / 5 + float(found[1]) * kl.sum() / 5
    ours = (terms.distortion + 3e-3 * terms.rate).mean()
    constant = 8 * 8 * 3 * torch.tensor(2 * scale).log()
    torch.testing.assert_close(2 * scale * (ours - constant), theirs, rtol=1e-5, atol=1e-4)
