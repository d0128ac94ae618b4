"""Dequantised data, and bits per dimension against exact probabilities of whole numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn

from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.distributed.noise import part_of_batch
from elboroom.errors import UsageError
from elboroom.evaluation import evaluate
from elboroom.models.vae import VAE
from elboroom.probability import DiagonalGaussianHead, GaussianHead, StandardNormal
from elboroom.runs.run import load
from elboroom.training import fit

ALL = np.arange(256, dtype=np.uint8)[:, None]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(6)
        yield


def dataset(x: np.ndarray[Any, Any], scale: float = 256.0) -> Dataset:
    return Dataset("x", x, np.zeros(len(x)), scale=scale)


def deaf(likelihood: str, shape: tuple[int, ...] = (1,), **options: Any) -> VAE:
    """A model whose code says nothing of x, and whose posterior is the prior: its NLL is exact."""
    options = {"scale": 255.0, "latent_dim": 1, "hidden": [], **options}
    vae = VAE.build(shape=shape, likelihood=likelihood, posterior_scale="exp", **options)
    with torch.no_grad():
        for parameter in (*vae.encoder.parameters(), *vae.decoder.parameters()):
            parameter.zero_()
        vae.decoder.load_state_dict(
            {k: 0.3 * torch.randn_like(v) if v.ndim == 1 else v for k, v in vae.decoder.state_dict().items()}
        )
    return vae


def measured(vae: VAE, data: Dataset, **seen: Any) -> dict[str, Any]:
    batches = Batches(data, torch.device("cpu"), **seen)
    return evaluate(vae, batches, np.arange(len(data)), num_samples=2)


def test_a_uniform_density_has_eight_bits() -> None:
    vae = deaf("continuous_bernoulli", (5,), scale=256.0)
    with torch.no_grad():
        for parameter in vae.decoder.parameters():
            parameter.zero_()
    x = np.random.default_rng(0).integers(0, 256, (40, 5), dtype=np.uint8)
    found = measured(vae, dataset(x), dequantize="uniform")
    assert found["nll"] == pytest.approx(0, abs=1e-6)
    assert (found["bits_per_dim"], found["bits_per_dim_reason"]) == (pytest.approx(8, abs=1e-6), None)


@pytest.mark.parametrize("likelihood", ["discretized_logistic", "categorical", "poisson"])
def test_bits_of_a_likelihood_of_levels_are_of_probabilities(likelihood: str) -> None:
    """Σ 2^−bits over all levels is the probability of them all."""
    scale = 1.0 if likelihood == "poisson" else 255.0
    vae = deaf(likelihood, scale=scale)
    with torch.no_grad():
        x = torch.from_numpy(ALL.astype(np.float32) / scale)
        log_p = vae.decode(torch.zeros(256, 1)).log_prob(x).double() / math.log(2)
    bits = [-measured(vae, dataset(ALL[i : i + 1], scale))["bits_per_dim"] for i in range(0, 256, 5)]
    np.testing.assert_allclose(bits, log_p[::5], rtol=1e-5)  # float32
    assert float((2**log_p).sum()) == pytest.approx(1, abs=1e-5)


class Linear:
    """x = 256 (w z + b + σ noise) in one dimension, with its exact posterior: log p(x) has no error."""

    w, b, sigma = 0.2, 0.45, 0.1

    def vae(self) -> VAE:
        encoder, decoder = nn.Linear(1, 2), nn.Linear(1, 1)
        scale = (1 + self.w**2 / self.sigma**2) ** -0.5
        slope = self.w / self.sigma**2 * scale**2
        with torch.no_grad():
            encoder.weight.copy_(torch.tensor([[slope], [0.0]]))
            encoder.bias.copy_(torch.tensor([-self.b * slope, math.log(math.expm1(scale - 1e-6))]))
            decoder.weight.fill_(self.w)
            decoder.bias.fill_(self.b)
        return VAE(
            encoder,
            decoder,
            StandardNormal(1),
            shape=(1,),
            posterior=DiagonalGaussianHead(1),
            likelihood=GaussianHead((1,), scale=self.sigma),
            scale=256.0,
        )

    @property
    def density(self) -> Any:
        """p(x) of x in pixel values."""
        return stats.norm(256 * self.b, 256 * math.hypot(self.w, self.sigma))


@pytest.mark.parametrize("value", [0, 40, 130, 255])
def test_bits_of_a_linear_gaussian_are_the_integral_over_the_bin(value: int) -> None:
    truth = Linear()
    x = np.full((4000, 1), value, dtype=np.uint8)
    found = measured(truth.vae(), dataset(x), dequantize="uniform")
    bits, _ = integrate.quad(lambda u: -truth.density.logpdf(value + u) / math.log(2), 0, 1)
    # −log₂ p varies over a bin by up to 0.03 bits: the mean of 4,000 draws is good to 1e-3.
    assert found["bits_per_dim"] == pytest.approx(bits, abs=1e-3)
    mass = -math.log2(truth.density.cdf(value + 1) - truth.density.cdf(value))
    assert mass <= bits < mass + 1e-3  # a bound on the probability of the bin, close as the density is smooth
    assert found["bits_per_dim"] == pytest.approx(found["nll"] / math.log(2) + 8, abs=1e-9)


@pytest.mark.parametrize(
    ("likelihood", "seen", "words"),
    [
        ("discretized_logistic", {}, "the 8-bit numbers, discretised: probabilities of levels"),
        ("categorical", {}, "the 8-bit numbers, discretised: probabilities of levels"),
        ("poisson", {}, "the 8-bit numbers as they are: probabilities of whole numbers"),
        (
            "gaussian",
            {"dequantize": "uniform"},
            "upper bound for the 8-bit numbers, of a density with uniform dequantisation, log2(256) added",
        ),
    ],
)
def test_the_record_says_what_the_bits_are_of(likelihood: str, seen: Any, words: str) -> None:
    scale = 1.0 if likelihood == "poisson" else 256.0 if seen else 255.0
    found = measured(deaf(likelihood, scale=scale), dataset(ALL, scale), **seen)
    assert found["bits_per_dim_of"] == words
    assert found["likelihood_of"] == "log p(x)"


def test_bits_of_a_discretised_logistic_are_the_mass_of_each_level() -> None:
    """P(v) = F((v + ½) / 255) − F((v − ½) / 255), the tails being of the outermost (arXiv:1606.04934)."""
    vae = deaf("discretized_logistic")
    with torch.no_grad():
        p = vae.decode(torch.zeros(1, 1))
    truth = stats.logistic(float(p.location.flatten()[0]), float(p.scale.flatten()[0]))
    edges = np.concatenate([[-np.inf], (np.arange(255) + 0.5) / 255, [np.inf]])
    mass = np.diff(truth.cdf(edges))
    found = [measured(vae, dataset(ALL[v : v + 1], 255.0))["bits_per_dim"] for v in (0, 7, 130, 255)]
    np.testing.assert_allclose(found, -np.log2(mass[[0, 7, 130, 255]]), rtol=1e-4)  # float32


@pytest.mark.parametrize(
    ("likelihood", "seen", "x", "words"),
    [
        ("bernoulli", {}, ALL, "BernoulliHead gives grey values no normalised probability"),
        ("bernoulli", {"binarize": "stochastic"}, ALL, "the data are binarised"),
        (
            "gaussian",
            {},
            ALL,
            "a density of whole numbers is not a probability; train with --dequantize uniform",
        ),
        ("gaussian", {}, ALL.astype(np.float32), "the data are not 8-bit numbers"),
    ],
)
def test_where_bits_are_not_defined_a_reason_is_given(
    likelihood: str, seen: Any, x: np.ndarray[Any, Any], words: str
) -> None:
    found = measured(deaf(likelihood), dataset(x, 255.0 if x.dtype == np.uint8 else 1.0), **seen)
    assert found["bits_per_dim"] is None
    assert words in found["bits_per_dim_reason"]


def test_without_an_nll_there_are_no_bits() -> None:
    batches = Batches(dataset(ALL), torch.device("cpu"), dequantize="uniform")
    found = evaluate(deaf("gaussian", scale=256.0), batches, np.arange(256), num_samples=0)
    assert found["bits_per_dim"] is None
    assert "no importance samples" in found["bits_per_dim_reason"]


def test_noise_is_uniform_within_each_step_and_new_at_every_look() -> None:
    x = np.repeat(ALL, 60, 0)
    batches = Batches(dataset(x), torch.device("cpu"), dequantize="uniform")
    rows = torch.arange(len(x))
    one, other = batches[rows], batches[rows]
    noise = (256 * one.double().numpy() - x).flatten()
    assert noise.min() >= 0
    assert noise.max() < 1
    assert stats.kstest(noise, "uniform").pvalue > 1e-3
    assert (one != other).float().mean() > 0.99
    assert float(one.max()) < 1
    torch.manual_seed(3)
    whole = batches[rows]
    torch.manual_seed(3)
    with part_of_batch(100, 50, len(x)):  # as one of several processes
        part = batches[rows[100:150]]
    assert torch.equal(part, whole[100:150])


def test_the_highest_noise_stays_in_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 rounds 255 + 0.99999994 to 256, which is the next step, or no value of the support."""
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, 1 - 2**-24))
    seen = Batches(dataset(ALL), torch.device("cpu"), dequantize="uniform")[torch.arange(256)]
    assert (seen * 256 < torch.from_numpy(ALL + 1.0)).all()


def test_training_sees_noise_and_the_run_says_so(tmp_path: Path) -> None:
    x = np.random.default_rng(1).integers(0, 256, (50, 4, 4, 1), dtype=np.uint8)
    vae = VAE.build(shape=(4, 4, 1), likelihood="continuous_bernoulli", hidden=[8], latent_dim=2, scale=256.0)
    fit(vae, x, dequantize="uniform", epochs=1, out=tmp_path / "run", quiet=True)
    again = load(tmp_path / "run")
    assert again.scale == 256.0
    with pytest.raises(UsageError, match=r"build it with scale=256"):
        fit(VAE.build(shape=(4, 4, 1), likelihood="gaussian", hidden=[8]), x, dequantize="uniform")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"likelihood": "categorical"}, "likelihood = 'categorical' is none"),
        ({"likelihood": "bernoulli"}, "likelihood = 'bernoulli' is none"),
        ({"likelihood": "gaussian", "binarize": "threshold"}, "binarize = 'threshold' removes it"),
    ],
)
def test_noise_goes_with_densities_alone(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Config().updated(dequantize="uniform", **fields)


def test_noise_is_for_8_bit_data_within_the_support() -> None:
    floats = np.random.default_rng(0).random((50, 3), dtype=np.float32)
    vae = VAE.build(shape=(3,), likelihood="gaussian", hidden=[8])
    with pytest.raises(UsageError, match=r"adds noise to 8-bit values, and .* contains float32"):
        fit(vae, floats, dequantize="uniform", quiet=True)
    vae = VAE.build(shape=(1,), likelihood="continuous_bernoulli", hidden=[8], scale=255.0)
    with pytest.raises(UsageError, match=r"pixel_scale = 255, and with noise .* reaches 256"):
        fit(vae, ALL, dequantize="uniform", pixel_scale=255.0, quiet=True)
