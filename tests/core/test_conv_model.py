"""The convolutional VAE that a configuration builds: shapes, sizes asked for, options that go together."""

from pathlib import Path

import numpy as np
import pytest
import torch

import elboroom
from elboroom.config import ModelConfig, read_preset
from elboroom.errors import UsageError
from elboroom.networks import ConvDecoder, ConvEncoder


@pytest.mark.parametrize("shape", [(64, 64, 3), (33, 20, 1)], ids=str)
def test_a_convolutional_vae_is_used_like_any_other(shape: tuple[int, int, int]) -> None:
    vae = elboroom.VAE.build(shape=shape, latent_dim=5, network="conv", conv_width=4)
    assert isinstance(vae.encoder, ConvEncoder)
    assert isinstance(vae.decoder, ConvDecoder)
    x = torch.rand(3, *shape)
    assert vae.embed(x).shape == (3, 5)
    assert vae.reconstruct(x).shape == x.shape
    assert vae.sample(2).shape == (2, *shape)
    assert vae.nll(x, 4).value.shape == (3,)


def test_sizes_that_are_asked_for_reach_both_networks() -> None:
    small = elboroom.VAE.build(shape=(16, 16, 1), network="conv", conv_width=4, conv_levels=1, conv_blocks=0)
    big = elboroom.VAE.build(shape=(16, 16, 1), network="conv", conv_width=8, conv_levels=2, conv_blocks=2)
    for half in ("encoder", "decoder"):
        sizes = [sum(p.numel() for p in getattr(vae, half).parameters()) for vae in (small, big)]
        assert sizes[0] < sizes[1]


def test_it_trains_resumes_and_reloads(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, 12, 10, 3), dtype=np.uint8)

    def train(out: Path, epochs: int, *, resume: bool = False) -> elboroom.VAE:
        torch.manual_seed(0)
        vae = elboroom.VAE.build(shape=(12, 10, 3), network="conv", conv_width=4, activation="silu")
        elboroom.fit(vae, x, out=out, epochs=epochs, resume=resume, batch_size=16, quiet=True)
        return vae

    whole = train(tmp_path / "whole", 2)
    train(tmp_path / "parts", 1)
    train(tmp_path / "parts", 2, resume=True)
    again = elboroom.load(tmp_path / "parts")
    assert all(torch.equal(p, q) for p, q in zip(whole.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"conv_width": 8}, "conv_width = 8 requires network = 'conv'"),
        ({"network": "conv", "hidden": (7,)}, r"hidden = \(7,\) requires network = 'mlp'"),
        ({"network": "conv", "init": "xavier"}, "init = 'xavier' requires network = 'mlp'"),
        ({"network": "mlp", "normalization": "group"}, "an mlp takes none, layer or batch"),
        (
            {"learn_scale": True},
            "learn_scale = 'shared' requires likelihood = 'gaussian', 'laplace' or 'student_t'",
        ),
    ],
)
def test_options_without_effect_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        ModelConfig(**fields)


def test_dogpeople_presets() -> None:
    ours, haskell = read_preset("dogpeople"), read_preset("haskell-dogpeople")
    assert ours.model.network == "spatial"
    assert ours.objective.penalties.keys() == {"patch_critic"}
    elbo = read_preset("dogpeople-elbo")
    assert elbo.model.network == "conv"
    assert elbo.objective.penalties == {}
    for preset in (ours, elbo):
        assert preset.data.flip
        assert preset.model.learn_scale == "shared"
    assert haskell.data.size == 50
    assert haskell.objective.beta == 0
    assert haskell.objective.beta_unit == "mean_kl_sum"  # so that eps is of the mean over pixels too
    assert haskell.optimizer.optimizer_options["eps"] == 1e-6
