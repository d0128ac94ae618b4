"""Every recipe × network × likelihood: which there are, and each of them built small."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

import elboroom
from elboroom.config import Config
from elboroom.config.bounds import BOUNDS
from elboroom.config.likelihoods import LIKELIHOODS as ROWS
from elboroom.config.model import LikelihoodName
from elboroom.config.networks import LAYERED
from elboroom.config.networks import NETWORKS as NETWORK_ROWS
from elboroom.config.posteriors import POSTERIORS
from elboroom.data import Dataset
from elboroom.models.vae import VAE
from elboroom.networks.pythae_nets import PythaeDecoder, PythaeEncoder
from elboroom.networks.spectral import with_spectral_norm
from elboroom.objectives import RECIPES, Objective, recipe
from elboroom.objectives.choice import PENALTIES
from elboroom.objectives.critics import prior_critic, total_correlation_critic

SHAPE = (4, 4, 1)
EXAMPLES, BATCH = 24, 8  # three steps an epoch
LABELS = 3
NETWORKS = (*NETWORK_ROWS, "pythae")
# Tables are not pictures: tests/tables has their combinations.
LIKELIHOODS: tuple[str, ...] = tuple(name for name in get_args(LikelihoodName) if name != "mixed")

# Networks in Pythae's convention put out a mean and a variance, and then one number for each pixel.
_PYTHAE_POSTERIORS = ("diagonal", "deterministic")
_PYTHAE_LIKELIHOODS = ("bernoulli", "continuous_bernoulli", "gaussian", "laplace", "student_t")


@dataclass(frozen=True)
class Combination:
    """One cell of the table."""

    recipe: str
    network: str
    likelihood: str
    told: tuple[str, ...] = ()
    """Parts that are told the example's label."""

    def __str__(self) -> str:
        told = f"-told-{'-'.join(self.told)}" if self.told else ""
        return f"{self.recipe}-{self.network}-{self.likelihood}{told}"

    @property
    def fields(self) -> dict[str, Any]:
        """What the recipe says."""
        return dict(RECIPES[self.recipe].fields)

    @property
    def is_a_question(self) -> bool:
        """Whether there is such a cell; what then has no meaning, elboroom itself has to refuse."""
        fields = self.fields
        if fields.get("network", self.network) != self.network:
            return False  # the recipe is its network
        if fields.keys() == {"likelihood"} and fields["likelihood"] != self.likelihood:
            return False  # nothing of the recipe would be left
        if self.network == "pythae":
            fits = fields.get("posterior", "diagonal") in _PYTHAE_POSTERIORS
            return fits and self.likelihood in _PYTHAE_LIKELIHOODS
        return True


def _conditional_variants() -> Iterator[Combination]:
    """Every recipe × network of ours, of one likelihood: the label told to all parts, or to the networks."""
    for name, network in itertools.product(RECIPES, NETWORKS[:-1]):
        likelihood = RECIPES[name].fields.get("likelihood", "bernoulli")
        for parts in (("encoder", "decoder", "prior"), ("encoder", "decoder")):
            yield Combination(name, network, likelihood, parts)


ALL: tuple[Combination, ...] = tuple(
    one
    for one in (
        *itertools.starmap(Combination, itertools.product(RECIPES, NETWORKS, LIKELIHOODS)),
        *_conditional_variants(),
    )
    if one.is_a_question
)


def few_samples(bound: str) -> dict[str, Any]:
    """Four samples in two groups, where a bound takes several."""
    row = BOUNDS[bound]
    groups = {"bound_groups": 2} if "bound_groups" in row.options else {}
    return {"num_samples": 4, **groups} if row.num_samples > 1 else {}


ON_GRIDS = ("spatial", "autoencoder-kl")  # networks whose codes are as large as their grid
# What comes small, by the choice that it goes with.
_SMALL: dict[tuple[str, str], dict[str, Any]] = {
    ("network", "mlp"): {"hidden": (8,)},
    ("network", "pythae"): {"hidden": (8,)},
    ("network", "conv"): {"conv_width": 4, "conv_levels": 1},
    ("network", "spatial"): {"conv_width": 4, "conv_levels": 1, "latent_channels": 2},
    ("network", "autoencoder-kl"): {"block_channels": (4, 4), "norm_groups": 2, "latent_channels": 2},
    ("network", "ladder"): {
        **{"conv_width": 4, "conv_levels": 2},
        **{"ladder_layers": (1, 1), "ladder_z_channels": 1},
    },
    ("network", "chain"): {"chain_dims": (2, 3), "chain_hidden": (4, 6)},
    ("posterior", "planar"): {"posterior_steps": 2},
    ("posterior", "iaf"): {"posterior_steps": 2, "posterior_hidden": (6,), "posterior_context": 2},
    ("posterior", "vq"): {"code_grid": (2,), "code_channels": 3, "codebook_size": 4},
    ("posterior", "fsq"): {"code_grid": (2,), "fsq_levels": (3, 4)},
    ("prior", "mixture"): {"prior_components": 3},
    ("prior", "vamp"): {"prior_components": 3},
    ("prior", "flow"): {"prior_steps": 2, "prior_hidden": (6,), "prior_bins": 3},
    ("likelihood", "categorical"): {"levels": 4},
    ("likelihood", "discretized_logistic"): {"levels": 4},
    **{("bound", bound): few_samples(bound) for bound in BOUNDS},
}


# How many values the data's pixels have, and which of them the model sees as 1.
_OF_MEASURE = {"levels": (4, 3), "counts": (12, 1)}
_VALUES = {"auto": (256, 255)} | {
    name: _OF_MEASURE.get(row.measure, (256, 255)) for name, row in ROWS.items()
}


@cache
def config_of(one: Combination) -> Config:
    """Lay the combination over small parts.

    Raises
    ------
    UsageError
        If it is refused.
    """
    chosen = {"posterior": "diagonal", **one.fields}
    chosen |= {"network": one.network, "likelihood": one.likelihood}
    small: dict[str, Any] = {"epochs": 2, "batch_size": BATCH, "validation": 0.0, "precision": "fp32"}
    for part, name in chosen.items():
        small |= _SMALL.get((part, str(name)), {})
    if one.network == "spatial":  # the grid follows from the image
        small = {name: value for name, value in small.items() if name not in ("code_grid", "code_channels")}
    if one.network not in (*LAYERED, *ON_GRIDS) and "latent_dim" in POSTERIORS[chosen["posterior"]].options:
        small["latent_dim"] = 3
    if one.network == "pythae":  # whose networks take the place of others
        chosen["network"] = "mlp"
        small |= {"posterior_scale": "exp"} if chosen["posterior"] == "diagonal" else {}
    if "critic_start" in one.fields:
        small["critic_start_epochs"] = 1.0
    if one.told:
        small |= {"condition": "labels", "condition_dim": LABELS, "condition_parts": one.told}
    small |= {part: chosen[part] for part in ("network", "likelihood")}
    return recipe(one.recipe, **small)


def data_of(one: Combination) -> Dataset:
    """Noisy copies of three pictures, of values that the likelihood takes; all are to train on."""
    return _data(*_VALUES[one.likelihood])


@cache
def _data(values: int, scale: int) -> Dataset:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, LABELS, EXAMPLES)
    pictures = rng.beta(0.4, 0.4, (LABELS, *SHAPE))[labels]
    x = np.clip(pictures + rng.normal(0, 0.05, pictures.shape), 0, 1) * (values - 1)
    split = np.zeros(EXAMPLES, np.uint8)
    return Dataset("pictures", x.round().astype(np.uint8), split, labels, scale=scale, published_split=True)


def inputs_of(one: Combination, n: int) -> Tensor:
    """First n pictures as the model sees them, (n, 4, 4, 1)."""
    data = data_of(one)
    return torch.from_numpy(np.asarray(data.x[:n])).float() / data.scale


def told_of(one: Combination, rows: slice) -> dict[str, Any]:
    """The condition of these examples, as a model's methods take it; nothing if there is none."""
    labels = data_of(one).labels
    assert labels is not None
    return {"condition": np.asarray(labels[rows])} if one.told else {}


def build(one: Combination, *, seed: int = 0) -> VAE:
    """Make the model; its weights depend on the seed alone.

    Raises
    ------
    UsageError
        If it is refused.
    """
    model = config_of(one).model
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vae = VAE.build(model, shape=SHAPE, scale=_VALUES[one.likelihood][1])
        if one.network != "pythae":
            return vae
        noisy = model.posterior == "diagonal"
        outputs = ("embedding", "log_covariance") if noisy else ("embedding",)
        decoder = _PythaeDecoderNet(vae.latent_dim)
        return VAE(
            PythaeEncoder(_PythaeEncoderNet(vae.latent_dim, outputs), outputs=outputs),
            PythaeDecoder(
                with_spectral_norm(decoder) if model.decoder_norm == "spectral" else decoder,
                logits="bernoulli" in one.likelihood,
            ),
            vae.prior,
            shape=SHAPE,
            posterior=vae.posterior,
            likelihood=vae.likelihood,
            scale=vae.scale,
        )


def objective_of(one: Combination, vae: VAE) -> Objective:
    """Make what is minimised, its schedules in epochs of three steps, its critics narrow.

    Raises
    ------
    UsageError
        If it is refused.
    """
    config = config_of(one).objective
    # One of 5 × 1000 takes longer to make than all else to compute.
    narrow: dict[str, Any] = {
        "total_correlation_critic": lambda vae, *_: total_correlation_critic(vae.latent_dim, hidden=(8,)),
        "prior_critic": lambda vae, *_: prior_critic(vae.latent_dim, hidden=(8,)),
    }
    with patch.dict(PENALTIES, narrow):
        return Objective.from_config(config, EXAMPLES // BATCH, vae=vae, examples=EXAMPLES)


def train(one: Combination, vae: VAE, **options: Any) -> list[dict[str, Any]]:
    """Fit with the combination's configuration, or other options of it, from the same noise at every call."""
    torch.manual_seed(4)  # critics start from it
    return elboroom.fit(vae, data_of(one), config=config_of(one), quiet=True, **options)


class _PythaeEncoderNet(nn.Module):
    """As a Pythae user writes one: pictures channels first, outputs by name."""

    def __init__(self, latent_dim: int, outputs: tuple[str, ...]):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 8), nn.ReLU())
        self.outputs = nn.ModuleDict({name: nn.Linear(8, latent_dim) for name in outputs})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.body(x.view(len(x), 16))
        return {name: layer(features) for name, layer in self.outputs.items()}


class _PythaeDecoderNet(nn.Module):
    """Ends in a sigmoid, as Pythae's do."""

    def __init__(self, latent_dim: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(latent_dim, 8), nn.ReLU(), nn.Linear(8, 16), nn.Sigmoid())

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"reconstruction": self.layers(z).reshape(len(z), 1, 4, 4)}
