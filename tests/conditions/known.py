"""Small data with labels, and a conditional model of which everything is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy import stats  # type: ignore[import-untyped]
from torch import Tensor, nn

from elboroom.data.dataset import Dataset
from elboroom.models.conditioning import Conditioning
from elboroom.models.vae import VAE
from elboroom.networks.ladder_parts import StochasticLayer
from elboroom.probability import ConditionalNormal, GaussianHead

Numbers = np.ndarray[Any, Any]
SIDE = 6
_NOT_FOR_CHAINS = {"hidden": (400, 400)}  # which is as if it had not been given
LAYERED: dict[str, dict[str, Any]] = {
    "chain": {"network": "chain", "chain_dims": (2, 3), "chain_hidden": (8, 16), **_NOT_FOR_CHAINS},
    "ladder": {
        "network": "ladder",
        "conv_width": 8,
        "conv_levels": 2,
        "ladder_layers": (1, 1),
        **_NOT_FOR_CHAINS,
    },
}


def images(n: int = 60, *, split: bool = True) -> Dataset:
    """Noisy images, the left half bright (a cat) or the right half (a dog); the last 12 are for testing."""
    labels = np.arange(n) % 2
    x = np.random.default_rng(0).integers(0, 80, (n, SIDE, SIDE, 1))
    x[labels == 0, :, : SIDE // 2] += 150
    x[labels == 1, :, SIDE // 2 :] += 150
    parts = (np.arange(n) >= n - 12).astype(np.uint8) * split
    vectors = np.stack([labels - 0.5, np.linspace(-1, 1, n)], 1)
    return Dataset(
        "pets",
        x.astype(np.uint8),
        split=parts,
        labels=labels,
        label_names=("cat", "dog"),
        scale=255,
        published_split=True,
        vectors=vectors,
    )


def build(**fields: Any) -> VAE:
    """Make a small conditional VAE of them, always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        told = {"condition": "labels", "condition_dim": 2}
        return VAE.build(
            **{"shape": (SIDE, SIDE, 1), "latent_dim": 2, "hidden": (16,), **told, **fields},
        )


def varied(vae: VAE) -> VAE:
    """Let nothing of what starts at 0 stay there."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in vae.named_parameters():
            if name.startswith(("prior", "conditioning", "decoder.top", "decoder.of_condition")):
                weight.copy_(0.5 * torch.randn(weight.shape, generator=generator))
        for layer in vae.modules():
            if isinstance(layer, StochasticLayer):
                for last in (layer.prior[-1], layer.posterior[-1]):
                    last.weight.copy_(0.1 * torch.randn(last.weight.shape, generator=generator))  # type: ignore
    return vae


@dataclass(frozen=True)
class LinearGaussian:
    """x = W z + V c + b + σ noise, z ~ N(M c, s²): all about p(x|c) is known.

    W (D, d) has orthogonal columns.
    """

    weight: Numbers
    told: Numbers
    prior_mean: Numbers
    prior_scale: float
    bias: Numbers
    sigma: float

    @classmethod
    def example(cls) -> LinearGaussian:
        rng = np.random.default_rng(3)
        directions, _ = np.linalg.qr(rng.normal(size=(6, 2)))
        told, prior_mean, bias = (rng.normal(size=shape) for shape in ((6, 3), (2, 3), 6))
        return cls(directions * [2.0, 0.7], told, prior_mean, 1.4, bias, 0.6)

    def marginal(self, c: Numbers) -> Any:
        """p(x|c) of one condition (C,)."""
        covariance = self.prior_scale**2 * self.weight @ self.weight.T + self.sigma**2 * np.eye(6)
        mean = self.weight @ self.prior_mean @ c + self.told @ c + self.bias
        return stats.multivariate_normal(mean, covariance)

    def observe(self, conditions: Numbers) -> Numbers:
        """One example of each condition (n, C)."""
        drawn = [self.marginal(c).rvs(random_state=i) for i, c in enumerate(conditions)]
        return np.stack(drawn)

    def evidence(self, x: Numbers, conditions: Numbers) -> Numbers:
        """Log p(x|c) of each, (n,)."""
        return np.array([self.marginal(c).logpdf(one) for one, c in zip(x, conditions, strict=True)])

    @cached_property
    def posterior_scale(self) -> Numbers:
        """Standard deviation of p(z|x, c), (d,)."""
        precision = self.prior_scale**-2 + (self.weight**2).sum(0) / self.sigma**2
        return np.asarray(precision**-0.5)

    def vae(self, *, shift: float = 0.0, widen: float = 1.0) -> VAE:
        """Return this as a VAE; its posterior is exact, or moved by ``shift`` and ``widen`` times as wide."""
        (D, d), C = self.weight.shape, self.told.shape[1]
        variance = self.posterior_scale**2
        to_code = (self.weight / self.sigma**2 * variance).T  # of x − b − V c
        from_prior = variance[:, None] * self.prior_mean / self.prior_scale**2
        # The encoder gets x + A c, and so A says what is taken off x and what the prior adds.
        onto_input = np.linalg.pinv(to_code) @ from_prior - self.told
        raw_scale = np.log(np.expm1(widen * self.posterior_scale - 1e-6))  # what softplus + 1e-6 undoes
        encoder, decoder = nn.Linear(D, 2 * d), nn.Linear(d + C, D)
        conditioning = Conditioning("vectors", C, shape=(D,))
        prior = ConditionalNormal(d, C)
        assert conditioning.to_input is not None
        _set(encoder.weight, np.concatenate([to_code, np.zeros((d, D))]))
        _set(encoder.bias, np.concatenate([shift - to_code @ self.bias, raw_scale]))
        _set(decoder.weight, np.concatenate([self.weight, self.told], 1))
        _set(decoder.bias, self.bias)
        _set(conditioning.to_input.weight, onto_input)
        _set(prior.mean.weight, self.prior_mean)
        _set(prior.log_scale.bias, np.full(d, np.log(self.prior_scale)))
        likelihood = GaussianHead((D,), scale=self.sigma)
        return VAE(encoder, decoder, prior, shape=(D,), likelihood=likelihood, conditioning=conditioning)


def _set(weight: Tensor, values: Numbers) -> None:
    with torch.no_grad():
        weight.copy_(torch.from_numpy(values))
