"""Codes on a grid: where they are kept, what a place of the code changes, and the networks around them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.networks.spatial import Attention, SpatialDecoder, SpatialEncoder, plan_grid


@pytest.mark.parametrize(
    ("shape", "levels", "grid"),
    [
        ((64, 64, 3), None, (4, 8, 8)),
        ((64, 96, 3), 2, (4, 16, 24)),
        ((65, 33, 1), None, (4, 9, 5)),
        ((28, 28, 1), None, (4, 4, 4)),
        ((8, 8, 1), None, (4, 4, 4)),
        ((256, 256, 3), 4, (4, 16, 16)),
        ((3, 2, 1), None, (4, 2, 1)),
    ],
)
def test_grids(shape: tuple[int, ...], levels: int | None, grid: tuple[int, int, int]) -> None:
    vae = VAE.build(
        shape=shape,
        network="spatial",
        likelihood="gaussian",
        conv_width=4,
        conv_levels=levels,
        latent_channels=4,
    )
    assert vae.latent_shape == grid
    assert vae.latent_dim == math.prod(grid)
    x = torch.rand(2, *shape)
    assert vae(x).rate.shape == (2,)
    assert vae.reconstruct(x).shape == (2, *shape)
    assert vae.sample(3).shape == (3, *shape)


def test_codes_are_kept_channel_by_channel_and_means_before_scales() -> None:
    """A number of the code is the mean of its channel and place, with the scale of the same."""
    torch.manual_seed(0)
    vae = VAE.build(
        shape=(16, 24, 1), network="spatial", likelihood="gaussian", conv_width=4, latent_channels=2
    )
    x = torch.rand(3, 16, 24, 1)
    c, h, w = vae.latent_shape
    features = x
    for layer in [*list(vae.encoder)[:-1], *list(vae.encoder.code)[:-1]]:
        features = layer(features)  # (b, 2c, h, w) at last
    assert features.shape == (3, 2 * c, h, w)
    q = vae.infer(x)
    torch.testing.assert_close(q.mean.unflatten(1, (c, h, w)), features[:, :c])
    expected = F.softplus(features[:, c:]) + 1e-6
    torch.testing.assert_close(q.scale.unflatten(1, (c, h, w)), expected)


@pytest.mark.parametrize(("attention", "everywhere"), [(False, False), (True, True)])
def test_a_place_of_the_code_changes_the_pixels_around_it(attention: bool, everywhere: bool) -> None:
    torch.manual_seed(0)
    decoder = SpatialDecoder(2, 0, (64, 64, 1), width=4, levels=2, attention=attention, normalization="none")
    with torch.no_grad():
        for parameter in decoder.parameters():  # blocks begin as the identity
            parameter.copy_(0.3 * torch.randn_like(parameter))
        z = torch.randn(1, 2, 16, 16)
        other = z.clone()
        other[0, 1, 3, 12] += 1
        changed = (decoder(z.flatten(1)) - decoder(other.flatten(1))).abs()[0, ..., 0] > 1e-7
    rows, columns = torch.nonzero(changed, as_tuple=True)
    assert changed[14, 50]  # the middle of its 4×4 pixels
    far = bool(changed[48:, :16].any())
    assert far is everywhere
    if not everywhere:
        assert rows.max() < 48
        assert columns.min() > 16


@pytest.mark.parametrize(
    ("quantised", "channels"),
    [
        ({"posterior": "vq", "codebook_size": 7, "latent_channels": 3}, 3),
        ({"posterior": "vq", "codebook_size": 5, "codebook_depth": 2, "latent_channels": 2}, 2),
        ({"posterior": "fsq", "fsq_levels": (5, 4, 3)}, 3),
        ({"posterior": "fsq"}, 4),
    ],
)
def test_each_place_of_a_quantised_grid_is_an_entry_of_the_codebook(
    quantised: dict[str, Any], channels: int
) -> None:
    torch.manual_seed(0)
    vae = VAE.build(
        shape=(16, 24, 2), network="spatial", likelihood="gaussian", conv_width=4, conv_levels=2, **quantised
    )
    x = torch.rand(3, 16, 24, 2)
    vae(x)  # a codebook starts from its first batch
    vae.eval()
    assert vae.latent_shape == (channels, 4, 6)
    q = vae.infer(x)
    depth = quantised.get("codebook_depth", 1)
    places = q.mean.unflatten(1, vae.latent_shape).permute(0, 2, 3, 1).reshape(-1, channels)
    indices = q.indices.reshape(-1, depth)
    if vae.config is not None and vae.config.posterior == "vq":
        books = [book.codes for book in vae.posterior.codebooks]
        entries = sum(book[indices[:, i]] for i, book in enumerate(books))
        features = vae.encoder(x).unflatten(1, vae.latent_shape).permute(0, 2, 3, 1).reshape(-1, channels)
        features = (features - features.mean(0)) / (features.var(0) + 1e-5).sqrt()  # as in its only batch
        nearest = torch.cdist(features, books[0]).argmin(1)
        assert torch.equal(indices[:, 0], nearest)
    else:
        levels = torch.tensor(quantised.get("fsq_levels", (8, 5, 5, 5)))
        bases = torch.cat([torch.ones(1, dtype=torch.long), levels.cumprod(0)[:-1]])
        entries = (indices // bases % levels - levels // 2) / (levels // 2)
    torch.testing.assert_close(places, entries, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(vae.posterior.codes_of(q.indices), q.mean)
    if depth == 1:
        assert torch.equal(vae.posterior.indices_of(q.mean), q.indices)
    assert vae.sample(2).shape == (2, 16, 24, 2)
    assert q.indices.shape == (3, 24 * depth)


def test_a_condition_reaches_every_place() -> None:
    torch.manual_seed(0)
    decoder = SpatialDecoder(2, 3, (16, 16, 1), width=4, levels=1)
    z = torch.randn(1, 2 * 8 * 8).expand(2, -1)
    condition = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    with torch.no_grad():
        decoder.last.weight.normal_()
        one, other = decoder(torch.cat([z, condition], 1))
    assert ((one - other).abs() > 1e-6).all()


def test_attention_by_hand() -> None:
    """Softmax of scaled products over all places, added to what came in."""
    torch.manual_seed(0)
    layer = Attention(4, torch.nn.Identity())
    torch.nn.init.normal_(layer.out.weight)
    x = torch.randn(2, 4, 3, 5)
    places = x.flatten(2).transpose(1, 2)
    q, k, v = (places @ layer.queries.weight[:, :, 0, 0].T).chunk(3, -1)
    mixed = torch.softmax(q @ k.transpose(1, 2) / 2, -1) @ v @ layer.out.weight[:, :, 0, 0].T
    torch.testing.assert_close(layer(x), x + mixed.transpose(1, 2).reshape(x.shape), rtol=1e-4, atol=1e-5)


def test_networks_begin_near_nothing_and_keep_the_scale_of_signals() -> None:
    torch.manual_seed(0)
    encoder = SpatialEncoder((64, 64, 3), 4)
    decoder = SpatialDecoder(4, 0, (64, 64, 3))
    with torch.no_grad():
        features = encoder(torch.randn(8, 64, 64, 3))
        assert 0.3 < float(features.std()) < 3
        assert float(decoder(torch.randn(8, 256)).std()) < 0.5


def test_what_does_not_fit() -> None:
    with pytest.raises(UsageError, match=r"examples of shape \(5,\)"):
        VAE.build(shape=(5,), network="spatial", likelihood="gaussian")
    with pytest.raises(UsageError, match="latent_dim = 8 requires network"):
        VAE.build(shape=(8, 8, 1), network="spatial", likelihood="gaussian", latent_dim=8)
    with pytest.raises(UsageError, match="posterior = 'full' does not fit network"):
        VAE.build(shape=(8, 8, 1), network="spatial", likelihood="gaussian", posterior="full")
    with pytest.raises(UsageError, match=r"code_grid = \(4,\) requires network = 'mlp' or 'conv'"):
        VAE.build(shape=(8, 8, 1), network="spatial", likelihood="gaussian", posterior="vq", code_grid=(4,))
    with pytest.raises(UsageError, match="a channel for each of the 3 numbers of fsq_levels"):
        VAE.build(
            shape=(8, 8, 1),
            network="spatial",
            likelihood="gaussian",
            posterior="fsq",
            fsq_levels=(3, 3, 3),
            latent_channels=5,
        )
    with pytest.raises(UsageError, match="at least one halving"):
        plan_grid((8, 8, 1), 4, levels=0)
    with pytest.raises(UsageError, match="conv_levels = 9"):
        VAE.build(shape=(8, 8, 1), network="spatial", likelihood="gaussian", conv_levels=9)
