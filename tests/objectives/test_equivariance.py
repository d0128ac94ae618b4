"""Codes that are turned and halved, against pictures that are turned and halved one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elboroom.config.objective import ObjectiveConfig
from elboroom.distributed.noise import noise_from, part_of_batch
from elboroom.errors import UsageError
from elboroom.models.terms import Terms
from elboroom.models.vae import VAE
from elboroom.networks.spatial import decode_grid
from elboroom.objectives import Objective
from elboroom.objectives.equivariance import equivariance


def model(shape: tuple[int, ...] = (16, 16, 3), **fields: Any) -> VAE:
    torch.manual_seed(0)
    options = {"network": "spatial", "likelihood": "laplace", "conv_width": 4, "conv_levels": 2, **fields}
    vae = VAE.build(shape=shape, **options)
    with torch.no_grad():
        for weight in vae.decoder.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return vae


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"attention": True, "conv_levels": 1},
        {"network": "autoencoder-kl", "latent_channels": 2},
    ],
)
@pytest.mark.parametrize("shape", [(16, 24, 2), (8, 8, 3)])
def test_a_decoder_on_its_own_grid_and_on_others(shape: tuple[int, ...], fields: dict[str, Any]) -> None:
    if fields.get("network") == "autoencoder-kl":
        vae = VAE.build(shape=shape, likelihood="laplace", **fields)
    else:
        vae = model(shape, **fields)
    z = torch.randn(2, *vae.latent_shape)
    torch.testing.assert_close(decode_grid(vae.decoder, z), vae.decoder(z.flatten(1)))
    c, h, w = vae.latent_shape
    pixels = shape[0] // h
    assert decode_grid(vae.decoder, torch.randn(1, c, h + 1, 2 * w)).shape == (
        1,
        pixels * (h + 1),
        pixels * 2 * w,
        shape[2],
    )


def test_sides_that_are_not_halved_together() -> None:
    """17 rows by 40 columns: some levels halve one side only, and the last rows are cut."""
    vae = model((17, 40, 1), conv_levels=3)
    z = torch.randn(2, *vae.latent_shape)
    own = vae.decoder(z.flatten(1))
    assert decode_grid(vae.decoder, z).shape[2] >= own.shape[2]
    with pytest.raises(UsageError, match="does not divide images of 17×40 pixels into squares"):
        equivariance(vae)


@pytest.mark.parametrize(("shape", "k"), [((16, 16, 3), 1), ((16, 24, 1), 2), ((20, 16, 2), 1)])
def test_the_penalty_by_hand(shape: tuple[int, int, int], k: int) -> None:
    """Each picture by itself, turned by numpy and halved by means of four."""
    vae = model(shape)
    b = 7
    x = torch.rand(b, *shape)
    torch.manual_seed(3)
    terms = vae(x, k)
    draws = iter(torch.rand(2, b).unbind())
    kept: list[Tensor] = []

    def drawn(_kind: object, _shape: tuple[int, ...], like: Tensor) -> Tensor:
        kept.append(next(draws).to(like))
        return kept[-1]

    with noise_from(drawn):
        found = equivariance(vae)(terms)
    square = shape[0] == shape[1]
    c, h, w = vae.latent_shape
    of_whole, of_half = ((1, 2, 3), (0, 1, 2, 3)) if square else ((1, 3), (0, 2))
    total = 0.0
    for j in range(k):
        for i in range(b):
            code = terms.z[j, i].detach().numpy().reshape(c, h, w)
            picture = x[i].numpy()
            even = (h // 2 * 2, w // 2 * 2)
            small = code[:, : even[0], : even[1]]
            small = small.reshape(c, even[0] // 2, 2, even[1] // 2, 2).mean((2, 4))
            cut = picture[: even[0] * 4, : even[1] * 4]
            little = cut.reshape(even[0] * 2, 2, even[1] * 2, 2, -1).mean((1, 3))
            for quarters, u, grid, target in (
                (of_whole, kept[0][i], code, picture),
                (of_half, kept[1][i], small, little),
            ):
                number = quarters[int(u * len(quarters))]
                turned_code = np.rot90(grid, number, (1, 2)).copy()
                turned_picture = np.rot90(target, number, (0, 1)).copy()
                features = decode_grid(vae.decoder, torch.from_numpy(turned_code)[None])[0]
                off = (features.detach().numpy() - turned_picture).astype(float)
                total += 0.5 * _laplace(off, vae).sum() * picture.size / target.size
    assert found.item() == pytest.approx(total / (k * b), rel=1e-5)


def _laplace(off: np.ndarray, vae: VAE) -> np.ndarray:
    scale = float(vae.likelihood.log_scale.exp())
    return np.abs(off) / scale + np.log(2 * scale)


def test_turns_are_counterclockwise_for_code_and_picture_alike() -> None:
    """A decoder that copies each place into a square of pixels is equivariant: only the density is left."""

    class Copies(torch.nn.Module):
        code_shape = (1, 4, 4)

        def forward(self, grid: Tensor) -> Tensor:
            return grid.permute(0, 2, 3, 1).repeat_interleave(2, 1).repeat_interleave(2, 2)

    vae = model((8, 8, 1), latent_channels=1, conv_levels=1)
    vae.decoder = Copies()  # type: ignore[assignment]
    blocks = torch.rand(5, 1, 2, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    x = Copies()(blocks)  # halved twice without a loss
    z = x[:, ::2, ::2, 0].reshape(1, 5, 16)
    perfect = Terms(x, None, None, None, z, lambda codes: codes)  # type: ignore[arg-type, return-value]
    least = 64 * np.log(2 * float(vae.likelihood.log_scale.exp()))
    assert equivariance(vae)(perfect).item() == pytest.approx(least, rel=1e-6)


def test_its_gradient_reaches_encoder_and_decoder() -> None:
    vae = model()
    equivariance(vae)(vae(torch.rand(3, *vae.shape), 1)).backward()
    for network in (vae.encoder, vae.decoder):
        assert sum(float(w.grad.abs().sum()) for w in network.parameters() if w.grad is not None) > 0


def test_processes_draw_the_same_turns() -> None:
    """Two halves of a batch have the penalty of the whole."""
    vae = model(posterior="deterministic")
    penalty = equivariance(vae)
    x = torch.rand(6, *vae.shape)
    torch.manual_seed(4)
    whole = penalty(vae(x, 1)).item()
    parts = []
    for start in (0, 2):
        torch.manual_seed(4)
        count = 2 if start == 0 else 4
        with part_of_batch(start, count, 6):
            parts.append(count / 6 * penalty(vae(x[start : start + count], 1)).item())
    assert sum(parts) == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"network": "conv", "latent_dim": 3, "conv_levels": 1}, "codes are 3 numbers without places"),
        ({"posterior": "vq"}, "entries of a codebook cannot be averaged"),
        ({"condition": "labels", "condition_dim": 3}, "the model is conditional"),
        ({"likelihood": "gaussian", "learn_scale": "optimal"}, "GaussianHead, cannot be averaged"),
        ({"likelihood": "categorical", "levels": 4}, "cannot be averaged"),
    ],
)
def test_what_it_cannot_turn_is_refused(fields: dict[str, Any], reason: str) -> None:
    vae = model((8, 8, 1), **fields)
    with pytest.raises(UsageError, match=f"penalty equivariance .*{reason}.*leave it out"):
        Objective.from_config(ObjectiveConfig(penalties={"equivariance": 1.0}), 10, vae=vae, examples=9)
