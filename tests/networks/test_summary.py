from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elboroom.models.vae import VAE
from elboroom.networks import MLP
from elboroom.networks.conv import ConvDecoder, ConvEncoder
from elboroom.networks.summary import format_bytes, summarize
from elboroom.probability import GaussianHead, StandardNormal


def conv_vae(shape: tuple[int, int, int] = (28, 28, 1), *, normalization: str = "group") -> VAE:
    options: dict[str, Any] = {"width": 8, "normalization": normalization}
    return VAE(
        ConvEncoder(shape, (4,), **options),
        ConvDecoder((2,), shape, **options),
        StandardNormal(2),
        shape=shape,
        likelihood=GaussianHead(shape, learn_scale=True),
    )


def test_an_mlp_by_hand() -> None:
    counted = summarize(MLP((3, 2), (2,), [5]), (3, 2), batch_size=10)
    (chain,) = counted.chains
    assert [(row.name, row.what, row.shape, row.parameters) for row in chain.rows] == [
        ("0", "Flatten", (6,), 0),
        ("1", "Linear 6→5", (5,), 35),
        ("2", "ReLU", (5,), 0),
        ("3", "Linear 5→2", (2,), 12),
    ]
    # for the backward pass: the input, and what the ReLU puts out, which is also the next layer's input
    assert [row.kept for row in chain.rows] == [0, 10 * 6 * 4, 10 * 5 * 4, 0]
    assert counted.parameters == 47
    assert counted.parameter_bytes == 47 * 4
    assert counted.training_bytes == 47 * 4 * 4
    assert counted.activation_bytes == 440


def test_a_convolutional_encoder_by_hand() -> None:
    net = ConvEncoder((8, 8, 3), (2,), width=4, blocks=0, normalization="none")
    (chain,) = summarize(net, (8, 8, 3), batch_size=5).chains
    assert [(row.name, row.shape, row.parameters, row.kept) for row in chain.rows] == [
        ("image", (3, 8, 8), 0, 0),
        ("level1.down", (4, 4, 4), 3 * 4 * 9 + 4, 5 * 192 * 4),
        ("code.normalization", (4, 4, 4), 0, 0),
        ("code.activation", (4, 4, 4), 0, 5 * 64 * 4),
        ("code.rows", (64,), 0, 0),
        ("code.linear", (2,), 64 * 2 + 2, 5 * 64 * 4),
    ]


@pytest.mark.parametrize("normalization", ["group", "batch", "none"])
def test_a_vae_adds_up(normalization: str) -> None:
    vae = conv_vae(normalization=normalization)
    counted = summarize(vae, vae.shape, batch_size=3)
    assert [chain.name for chain in counted.chains] == ["encoder", "decoder"]
    for chain, part in zip(counted.chains, (vae.encoder, vae.decoder), strict=True):
        assert chain.parameters == sum(p.numel() for p in part.parameters())
    assert counted.other_parameters == 1  # the likelihood's scale
    assert counted.parameters == sum(p.numel() for p in vae.parameters())
    assert counted.training_bytes == 16 * counted.parameters


def test_activations_are_what_autograd_keeps_of_a_whole_batch() -> None:
    net, batch = ConvEncoder((28, 28, 1), (4,), width=8), 7
    own = {p.untyped_storage().data_ptr() for p in net.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage().data_ptr()
        if address not in own:
            kept[address] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = net(torch.rand(batch, 28, 28, 1))
    assert output.requires_grad
    counted = summarize(net, (28, 28, 1), batch).activation_bytes
    assert counted == sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


class Own(nn.Module):
    """A network with a weight of its own, a layer used twice and one never used."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.twice = nn.Linear(4, 4)
        self.never = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.twice(self.twice(x)) * self.weight


def test_networks_of_ones_own_are_counted_too() -> None:
    (chain,) = summarize(Own(), (4,), 1).chains
    assert {row.name: row.parameters for row in chain.rows} == {"twice": 20, "never": 9, "": 4}


def test_a_tensor_used_by_both_networks_counts_once() -> None:
    class Both(nn.Module):
        latent_dim = 3

        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(3, 3))
            self.decoder = nn.Sequential(self.encoder[0])

    counted = summarize(Both(), (3,), 1)
    assert [chain.parameters for chain in counted.chains] == [12, 0]
    assert counted.parameters == 12


def test_nothing_is_left_behind() -> None:
    vae = conv_vae(normalization="batch")
    vae.encoder.eval()
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    modes = [module.training for module in vae.modules()]
    noise = torch.get_rng_state()
    summarize(vae, vae.shape, 4)
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())
    assert [module.training for module in vae.modules()] == modes
    assert torch.equal(torch.get_rng_state(), noise)
    assert all(p.grad is None for p in vae.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in vae.modules())


def test_the_table_is_aligned_and_narrow() -> None:
    vae = conv_vae((128, 128, 3))
    text = str(summarize(vae, vae.shape, 64))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 110
    rows = [line for line in lines if line.startswith(("level", "code", "total", "image"))]
    assert len({len(line) for line in rows}) == 1
    assert f"{sum(p.numel() for p in vae.parameters()):,}" in text
    assert "batch of 64" in text


def test_bytes_in_their_unit() -> None:
    assert [format_bytes(n) for n in (0, 999, 1000, 1_250_000, 3_000_000_000)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.2 MB",
        "3.0 GB",
    ]
