"""Every Monte Carlo number with its error, and the NLL with what says when not to believe it."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.evaluation import evaluate, reliability
from elboroom.models.vae import VAE
from elboroom.probability import DiagonalGaussianHead, GaussianHead, StandardNormal

N, D = 60, 5
X = np.random.default_rng(4).normal(size=(N, D)).astype(np.float32)


class Unnamed(StandardNormal):
    """The standard normal, to which no closed form of the rate is known."""


def batches() -> Batches:
    return Batches(Dataset("x", X, np.zeros(N)), torch.device("cpu"))


def linear(prior: StandardNormal) -> VAE:
    """A small model with random weights, which are the same at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(8)
        return VAE(
            nn.Linear(D, 4),
            nn.Linear(2, D),
            prior,
            shape=(D,),
            posterior=DiagonalGaussianHead(2),
            likelihood=GaussianHead((D,)),
        )


def measured(vae: VAE, **options: Any) -> dict[str, Any]:
    return evaluate(vae, batches(), np.arange(N), **options)


WITHOUT_CLOSED_FORM: dict[str, dict[str, Any]] = {
    "mixture": {"prior": "mixture"},
    "vamp": {"prior": "vamp", "prior_components": 5},
    "flow prior": {"prior": "flow"},
    "planar": {"posterior": "planar"},
    "iaf": {"posterior": "iaf"},
    "full, mixture": {"posterior": "full", "prior": "mixture"},
}
LAYERED: dict[str, dict[str, Any]] = {
    "chain": {"network": "chain", "chain_dims": (2, 3), "chain_hidden": (8, 8)},
}


@pytest.mark.parametrize("name", [*WITHOUT_CLOSED_FORM, *LAYERED])
def test_a_rate_without_closed_form_is_of_the_same_samples_as_the_nll(name: str) -> None:
    fields = WITHOUT_CLOSED_FORM.get(name) or LAYERED[name]
    torch.manual_seed(5)
    nets: dict[str, Any] = {} if name in LAYERED else {"hidden": [8], "latent_dim": 2}
    vae = VAE.build(shape=(D,), likelihood="gaussian", **nets, **fields)
    with torch.no_grad():  # far from the start, where the posterior would be the prior
        for parameter in vae.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    found = [measured(vae, num_samples=30, seed=seed) for seed in range(20)]
    for one in found:
        assert one["elbo"] == -(one["distortion"] + one["rate"])
        if name in LAYERED:  # the top layer's rate is exact given the layers below
            assert sum(one["rate_of_layers"]) == pytest.approx(one["rate"], rel=1e-6)
            assert one["elbo"] < -one["nll"] + 5 * one["elbo_stderr"]
        else:
            assert one["elbo"] <= -one["nll"]
    for key in ("elbo", "distortion", "rate"):
        spread = np.std([one[key] for one in found], ddof=1)
        stated = np.mean([one[f"{key}_stderr"] for one in found])
        # From 20 draws a standard deviation is off by 1/√38 = 16 %: three of that.
        assert stated == pytest.approx(spread, rel=0.5), key


def test_a_sampled_rate_is_the_closed_form_within_its_error() -> None:
    exact = measured(linear(StandardNormal(2)), num_samples=400)
    drawn = measured(linear(Unnamed(2)), num_samples=400)
    assert exact["rate_stderr"] is None
    assert 0 < drawn["rate_stderr"] < 0.02
    assert abs(drawn["rate"] - exact["rate"]) < 5 * drawn["rate_stderr"]
    # The same codes, so all else is the same; where the rate is exact, the ELBO's noise is the distortion's.
    assert drawn["nll"] == exact["nll"]
    assert exact["distortion_stderr"] == drawn["distortion_stderr"]
    assert exact["elbo_stderr"] == pytest.approx(exact["distortion_stderr"], rel=1e-9)


def test_without_an_nll_two_draws_tell_the_errors() -> None:
    found = [measured(linear(Unnamed(2)), num_samples=0, seed=seed) for seed in range(40)]
    for key in ("elbo", "distortion", "rate"):
        spread = np.std([one[key] for one in found], ddof=1)
        assert np.mean([one[f"{key}_stderr"] for one in found]) == pytest.approx(spread, rel=0.35), key
    assert found[0]["nll"] is found[0]["nll_stderr"] is found[0]["nll_ess"] is None


@pytest.mark.parametrize("posterior", ["deterministic", "vq"])
def test_what_is_not_drawn_has_no_error(posterior: str) -> None:
    vae = VAE.build(
        shape=(D,),
        posterior=posterior,
        likelihood="gaussian",
        hidden=[8],
        **({"latent_dim": 2} if posterior != "vq" else {}),
    )
    found = measured(vae, num_samples=0)
    assert found["elbo_stderr"] is found["distortion_stderr"] is found["rate_stderr"] is None
    assert found == measured(vae, num_samples=0, seed=1)


def test_a_posterior_that_misses_is_called_unreliable() -> None:
    """Weights of a q that is all but a point are e^{ε²/2}, of shape 1; the exact posterior's are equal."""
    vae = linear(StandardNormal(2))
    with torch.no_grad():
        vae.encoder.weight.zero_()
        vae.encoder.bias.copy_(torch.tensor([0.0, 0.0, -9.0, -9.0]))  # all but points, at the prior's mean
    found = measured(vae, num_samples=500)
    assert found["nll_pareto_k"] == pytest.approx(1, abs=0.15)  # drawn to ½ by a tenth of the way
    assert found["nll_unreliable"] > 0.6
    assert found["nll_ess"] < 100
    assert re.match(r"not reliable: Pareto k̂ is above 0.7 for \d+% of the examples\.", found["nll_verdict"])
    with torch.no_grad():
        vae.decoder.weight.zero_()  # then x says nothing of z, and the prior is the posterior
        vae.encoder.bias.copy_(torch.tensor([0.0, 0.0, *[math.log(math.expm1(1 - 1e-6))] * 2]))
    found = measured(vae, num_samples=500)
    assert found["nll_verdict"] is None
    assert (found["nll_unreliable"], found["nll_pareto_k"]) == (0.0, 0.0)
    assert found["nll_ess"] == pytest.approx(500, rel=1e-4)
    assert found["nll_bias"] == pytest.approx(0, abs=1e-6)
    json.dumps(found, allow_nan=False)


def test_few_samples_do_not_tell() -> None:
    found = measured(linear(StandardNormal(2)), num_samples=20)
    assert found["nll_pareto_k"] is found["nll_unreliable"] is found["nll_verdict"] is None
    assert found["nll_ess"] > 1
    assert reliability.verdict(0.2) is None
    assert reliability.verdict(0.21) is not None


def test_from_python_each_example_tells_for_itself() -> None:
    vae = linear(StandardNormal(2))
    with torch.no_grad():
        vae.encoder.weight[2:] *= 20  # some posteriors far too narrow, some wide
    nll = vae.nll(X, 300)
    assert nll.reliable.tolist() == [k <= 0.7 for k in nll.pareto_k.tolist()]
    assert 0 < int(nll.reliable.sum()) < N
    assert not vae.nll(X, 10).reliable.any()


def test_memory_is_bounded_by_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of small examples many fit in a batch: so many that all samples of all would not."""
    from elboroom.evaluation import likelihood

    monkeypatch.setattr("elboroom.models.inference._WEIGHTS", 1000)
    monkeypatch.setattr(likelihood, "_WEIGHTS", 1000)
    sizes: list[int] = []
    vae = linear(StandardNormal(2))
    importance = vae.importance

    def watched(*given: Any, **named: Any) -> Any:
        for draws in importance(*given, **named):
            sizes.append(draws.log_weights.numel())
            yield draws

    monkeypatch.setattr(vae, "importance", watched)
    assert vae.nll(X, 100).value.shape == (N,)
    measured(vae, num_samples=100)
    assert max(sizes) == 1000
    assert sum(sizes) == 2 * N * 100
