"""The networks of AutoencoderKL against formulas written out here; tests/exports compares with diffusers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from elboroom import VAE
from elboroom.errors import UsageError
from elboroom.networks import summarize
from elboroom.networks.autoencoder_kl import Halve, KLAttention, KLBlock, Moments, Sizes
from elboroom.networks.recompute import recompute_activations

TINY: dict[str, Any] = {
    **{"shape": (8, 12, 3), "network": "autoencoder-kl", "block_channels": (4, 8), "norm_groups": 2},
    **{"latent_channels": 3, "likelihood": "gaussian", "attention": True},
}


def test_a_code_is_a_grid_and_its_scale_that_of_a_clamped_log_variance() -> None:
    torch.manual_seed(0)
    vae = VAE.build(**TINY)
    assert vae.latent_shape == (3, 4, 6)
    with torch.no_grad():
        vae.encoder.quant_conv.bias.copy_(torch.tensor([0.0, 1.0, 2.0, -100.0, 100.0, 0.0]))
        vae.encoder.quant_conv.weight.zero_()
        q = vae.infer(torch.rand(2, 8, 12, 3))
    mean, scale = (part.reshape(2, 3, 24) for part in (q.mean, q.scale))
    assert mean[0, :, 0].tolist() == [0, 1, 2]
    expected = [math.exp(-15), math.exp(10), 1]
    np.testing.assert_allclose(scale[1, :, 5], expected, rtol=1e-6)
    assert Moments()(torch.tensor([[[[7.0]], [[-50.0]]]])).tolist() == [[7, -30]]


def test_halving_pads_at_the_right_and_at_the_bottom_only() -> None:
    halve = Halve(1)
    with torch.no_grad():
        halve[1].weight.copy_(torch.arange(9.0).reshape(1, 1, 3, 3))
        halve[1].bias.zero_()
        found = halve(torch.ones(1, 1, 4, 4))
    # Rows 0-2 of the kernel at the top; below only its rows 0-1, and at the right its columns 0-1.
    assert found[0, 0].tolist() == [[36, 36 - 2 - 5 - 8], [0 + 1 + 2 + 3 + 4 + 5, 0 + 1 + 3 + 4]]


def test_a_block_adds_its_branch_to_the_shortcut() -> None:
    torch.manual_seed(0)
    block = KLBlock(4, 6, 2)
    x = torch.randn(2, 4, 3, 5)
    group = x.reshape(2, 2, -1)
    normal = (group - group.mean(-1, keepdim=True)) / (
        group.var(-1, correction=0, keepdim=True) + 1e-6
    ).sqrt()
    first = F.conv2d(F.silu(normal.reshape(x.shape)), block.conv1.weight, block.conv1.bias, padding=1)
    second = block.conv2(F.silu(F.group_norm(first, 2, eps=1e-6)))
    assert block.conv_shortcut is not None
    torch.testing.assert_close(block(x), second + block.conv_shortcut(x), rtol=1e-4, atol=1e-5)
    assert KLBlock(4, 4, 2).conv_shortcut is None


def test_attention_is_a_softmax_of_products_over_all_places() -> None:
    torch.manual_seed(0)
    attention, x = KLAttention(4, 2), torch.randn(1, 4, 2, 3)
    rows = F.group_norm(x, 2, eps=1e-6).reshape(4, 6).T
    weights = torch.softmax(attention.to_q(rows) @ attention.to_k(rows).T / 2, -1)
    expected = x + attention.to_out(weights @ attention.to_v(rows)).T.reshape(1, 4, 2, 3)
    torch.testing.assert_close(attention(x), expected)


def test_images_run_from_minus_one_to_one_inside() -> None:
    torch.manual_seed(0)
    vae = VAE.build(**TINY).eval()
    x, seen = torch.rand(1, 8, 12, 3), []
    vae.encoder.conv_in.register_forward_pre_hook(lambda _layer, given: seen.append(given[0]))
    with torch.no_grad():
        vae.infer(x)
        vae.decoder.conv_out.weight.zero_()
        vae.decoder.conv_out.bias.copy_(torch.tensor([-1.0, 0.0, 1.0]))
        mean = vae.generate(torch.zeros(1, 72)).mean
    torch.testing.assert_close(seen[0], (2 * x - 1).permute(0, 3, 1, 2))
    assert mean[0, 3, 3].tolist() == [0, 0.5, 1]


def test_activations_may_be_computed_again() -> None:
    torch.manual_seed(0)
    vae, x = VAE.build(**TINY), torch.rand(2, 8, 12, 3)

    def gradient() -> torch.Tensor:
        vae.zero_grad()
        vae.generate(vae.infer(x).mean).mean.square().sum().backward()
        return vae.encoder.conv_in.weight.grad.clone()

    plain = gradient()
    recompute_activations(vae)
    torch.testing.assert_close(gradient(), plain)
    counted = summarize(vae, vae.shape, 2)
    learned = sum(weight.numel() for weight in vae.parameters())
    assert sum(chain.parameters for chain in counted.chains) + counted.other_parameters == learned


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"shape": (9, 12, 3)}, "9×12 pixels cannot be halved 1 times"),
        ({"norm_groups": 3}, "norm_groups = 3 does not divide the 4 channels"),
        ({"conv_blocks": 0}, "conv_blocks = 0"),
        ({"shape": (5,)}, "takes images"),
        ({"posterior": "full"}, "posterior"),
        ({"condition": "labels", "condition_dim": 2}, "takes no condition"),
        ({"block_channels": (4, 100_000)}, "block_channels"),
        ({"network": "spatial", "block_channels": (32, 64, 128), "norm_groups": 4}, "norm_groups"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as error:
        VAE.build(**{**TINY, **fields})
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_sizes_say_what_divides() -> None:
    with pytest.raises(UsageError, match="take norm_groups = 12"):
        Sizes((24, 36), groups=32).grid((8, 8, 1))
