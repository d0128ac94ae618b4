from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.networks.conv import ConvDecoder, ConvEncoder
from elboroom.networks.conv_parts import ResidualBlock, Shuffle
from elboroom.networks.levels import plan_levels
from elboroom.networks.mlp import ACTIVATIONS
from elboroom.probability import GaussianHead, StandardNormal

SHAPES = [
    (28, 28, 1),
    (64, 64, 3),
    (128, 128, 3),
    (65, 33, 1),
    (17, 40, 3),
    (8, 8, 1),
    (5, 7, 2),
    (1, 40, 1),
    (40, 1, 3),
    (1, 2, 1),
    (1, 1, 1),
]
NORMALIZATIONS = ["group", "layer", "batch", "none"]


def networks(
    shape: tuple[int, int, int], features: int = 6, **options: Any
) -> tuple[ConvEncoder, ConvDecoder]:
    options = {"width": 8, **options}
    return ConvEncoder(shape, (features,), **options), ConvDecoder((3,), shape, **options)


def awaken(net: nn.Module) -> nn.Module:
    """Give residual branches, which start at 0, something to say."""
    for block in net.modules():
        if isinstance(block, ResidualBlock):
            nn.init.normal_(block.branch[-1].weight, std=0.1)
    return net


def grids(shape: tuple[int, ...], **options: Any) -> list[tuple[int, int]]:
    return [(level.height, level.width) for level in plan_levels(shape, **options)]


# The plan.


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((28, 28, 1), [(14, 14), (7, 7), (4, 4)]),
        ((64, 64, 3), [(32, 32), (16, 16), (8, 8), (4, 4)]),
        ((128, 128, 3), [(64, 64), (32, 32), (16, 16), (8, 8), (4, 4)]),
        ((65, 65, 1), [(33, 33), (17, 17), (9, 9), (5, 5)]),
        ((17, 40, 3), [(9, 20), (5, 10), (5, 5)]),
        ((1, 40, 1), [(1, 20), (1, 10), (1, 5)]),
        ((6, 6, 1), [(6, 6)]),
        ((7, 6, 1), [(4, 6)]),
    ],
    ids=str,
)
def test_automatic_levels_end_near_four(shape: tuple[int, ...], expected: list[tuple[int, int]]) -> None:
    assert grids(shape) == expected


def test_levels_asked_for_go_down_to_one_pixel() -> None:
    assert grids((9, 5, 1), levels=0) == [(9, 5)]
    assert grids((9, 5, 1), levels=2) == [(5, 5), (3, 3)]
    assert grids((9, 5, 1), levels=4) == [(5, 5), (3, 3), (2, 2), (1, 1)]


def test_channels_double_up_to_eight_times() -> None:
    assert [level.channels for level in plan_levels((256, 256, 3), width=5)] == [5, 10, 20, 40, 40, 40]
    automatic = [plan_levels((side, side, 3))[0].channels for side in (28, 48, 64, 128, 160, 161, 256)]
    assert automatic == [32, 32, 24, 24, 24, 16, 16]


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ((784,), {}, ["(784,)", "mlp"]),
        ((3, 28, 28, 1), {}, ["(3, 28, 28, 1)"]),
        ((0, 28, 1), {}, ["(0, 28, 1)"]),
        ((1, 7, 1), {"levels": 4}, ["conv_levels = 4", "level 4", "1×1", "1×7", "at most 3"]),
        ((64, 64, 3), {"levels": 9}, ["level 7", "1×1", "64×64", "at most 6"]),
        ((64, 64, 3), {"levels": -1}, ["conv_levels = -1", "at least 0"]),
        ((64, 64, 3), {"width": 0}, ["conv_width = 0", "at least 1"]),
        ((64, 64, 3), {"blocks": -1}, ["conv_blocks = -1", "at least 0"]),
        ((64, 64, 3), {"normalization": "goup"}, ["goup", "did you mean 'group'"]),
        ((64, 64, 3), {"activation": "sillu"}, ["sillu", "did you mean 'silu'"]),
    ],
    ids=str,
)
def test_what_cannot_be_says_which_layer_and_why(
    shape: tuple[int, ...], options: dict[str, Any], words: list[str]
) -> None:
    for build in (lambda: ConvEncoder(shape, (4,), **options), lambda: ConvDecoder((2,), shape, **options)):
        with pytest.raises(UsageError) as error:
            build()
        assert all(word in str(error.value) for word in words), str(error.value)
        assert "\n" not in str(error.value)


# Shapes.


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_size_in_and_out(shape: tuple[int, int, int]) -> None:
    encoder, decoder = networks(shape)
    features = encoder(torch.rand(2, *shape))
    assert features.shape == (2, 6)
    assert decoder(torch.randn(2, 3)).shape == (2, *shape)
    assert encoder(torch.rand(0, *shape)).shape == (0, 6)
    assert decoder(torch.randn(0, 3)).shape == (0, *shape)


def test_features_and_codes_of_any_shape() -> None:
    assert ConvEncoder((8, 8, 1), (2, 3), width=4)(torch.rand(5, 8, 8, 1)).shape == (5, 2, 3)
    assert ConvDecoder((2, 3), (8, 8, 4), width=4)(torch.rand(5, 2, 3)).shape == (5, 8, 8, 4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_decoder_mirrors_the_encoder(shape: tuple[int, int, int]) -> None:
    encoder, decoder = networks(shape)
    assert encoder.plan == decoder.plan
    seen: dict[nn.Module, dict[str, tuple[int, ...]]] = {encoder: {}, decoder: {}}
    for net, sizes in seen.items():
        for name, stage in net.named_children():
            stage.register_forward_hook(
                lambda _m, _i, out, sizes=sizes, name=name: sizes.update({name: tuple(out.shape[1:])})
            )
    encoder(torch.rand(2, *shape))
    decoder(torch.randn(2, 3))
    up = list(seen[decoder].items())
    # what encoder level n puts out is what decoder level n takes in, that is what the one before it gives
    for (_, grid), (level, _) in pairwise(up):
        assert seen[encoder][level] == grid


def test_blocks_stand_on_coarse_grids_and_can_be_left_out() -> None:
    def count(net: nn.Module) -> int:
        return sum(isinstance(module, ResidualBlock) for module in net.modules())

    for blocks in (0, 1, 3):
        assert [count(net) for net in networks((64, 64, 3), blocks=blocks)] == [2 * blocks] * 2


# Known answers.


def test_parameters_by_hand() -> None:
    encoder, decoder = networks((16, 16, 3), features=10, width=4, normalization="none")
    # 16 → 8 → 4, channels 3 → 4 → 8; a block of c channels is c→c/2→c
    blocks = (4 * 2 * 9 + 2 + 2 * 4 * 9 + 4) + (8 * 4 * 9 + 4 + 4 * 8 * 9 + 8)
    convolutions = (3 * 4 * 9 + 4) + (4 * 8 * 9 + 8)
    assert sum(p.numel() for p in encoder.parameters()) == convolutions + blocks + (8 * 16 * 10 + 10)
    # and back: 8 → 4, then 4 pixels of 3 channels
    convolutions = (8 * 4 * 9 + 4) + (4 * 12 * 9 + 12)
    assert sum(p.numel() for p in decoder.parameters()) == (3 * 128 + 128) + blocks + convolutions


def test_a_block_starts_as_the_identity() -> None:
    block, x = ResidualBlock(8, nn.BatchNorm2d, nn.SiLU), torch.randn(2, 8, 5, 5)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(("shape", "stride"), [((4, 6, 3), (2, 2)), ((3, 5, 1), (2, 2)), ((1, 5, 2), (1, 2))])
def test_shuffle_puts_each_pixel_where_it_belongs(
    shape: tuple[int, int, int], stride: tuple[int, int]
) -> None:
    (height, width, channels), (rows, columns) = shape, stride
    features = torch.randn(2, channels * rows * columns, math.ceil(height / rows), math.ceil(width / columns))
    image = Shuffle(shape, stride)(features)
    assert image.shape == (2, *shape)
    for i in range(height):
        for j in range(width):
            first = ((i % rows) * columns + j % columns) * channels
            expected = features[:, first : first + channels, i // rows, j // columns]
            assert torch.equal(image[:, i, j], expected)


def test_signals_keep_their_size_and_pictures_start_near_grey() -> None:
    encoder, decoder = networks((64, 64, 3), features=64, width=32)
    features, image = encoder(torch.rand(8, 64, 64, 3)), decoder(torch.randn(8, 3))
    # A network whose signal shrinks by 0.4 a layer would be at 1e-3; one that grows, at 1e3.
    assert 0.2 < features.std() < 5
    assert 0.01 < image.abs().mean() < 0.3
    assert image.mean().abs() < 0.1


# Memory.


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("shape", [(64, 64, 3), (28, 28, 1), (17, 40, 3), (1, 40, 1)], ids=str)
def test_features_lie_channels_last_all_the_way(shape: tuple[int, int, int], normalization: str) -> None:
    """Forward and back: a layer that turned them would cost a copy, and so would all after it."""
    turned: list[str] = []
    looked = 0

    def look(name: str, tensor: Tensor) -> None:
        nonlocal looked
        looked += 1
        if not tensor.is_contiguous(memory_format=torch.channels_last):
            turned.append(name)

    for net in networks(shape, normalization=normalization):
        for name, module in net.named_modules():
            if isinstance(module, nn.Conv2d | nn.GroupNorm | nn.BatchNorm2d | nn.SiLU | nn.Upsample):

                def hook(_m: nn.Module, _i: Any, out: Tensor, name: str = name) -> None:
                    look(name, out)
                    out.register_hook(lambda gradient: look(f"gradient of {name}", gradient))

                module.register_forward_hook(hook)
        x = torch.rand(2, *shape) if isinstance(net, ConvEncoder) else torch.randn(2, 3)
        net(x).square().sum().backward()
    assert turned == []
    assert looked > 20


def test_neither_end_copies() -> None:
    encoder, decoder = networks((64, 64, 3))
    x = torch.rand(2, 64, 64, 3)
    grid = encoder.image(x)
    assert grid.data_ptr() == x.data_ptr()
    assert grid.is_contiguous(memory_format=torch.channels_last)
    last = torch.randn(2, 64, 4, 4).to(memory_format=torch.channels_last)
    assert encoder.code.rows(last).data_ptr() == last.data_ptr()
    assert decoder.code.grid(torch.randn(2, 4, 4, 64)).is_contiguous(memory_format=torch.channels_last)
    assert decoder(torch.randn(2, 3)).is_contiguous()


def test_weights_lie_plainly_so_that_any_writer_takes_them() -> None:
    assert all(p.is_contiguous() for net in networks((28, 28, 1)) for p in net.parameters())


# Behaviour.


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("shape", [(28, 28, 1), (17, 40, 3), (1, 40, 1), (5, 7, 2)], ids=str)
def test_every_weight_gets_a_finite_gradient(shape: tuple[int, int, int], normalization: str) -> None:
    for net, x in zip(
        networks(shape, normalization=normalization), (torch.rand(4, *shape), torch.randn(4, 3)), strict=True
    ):
        awaken(net)(x).square().sum().backward()
        for name, p in net.named_parameters():
            assert p.grad is not None, name
            assert p.grad.isfinite().all(), name
            # a bias before a batch norm has none, by design; every filter has
            assert p.ndim == 1 or p.grad.abs().max() > 0, name


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_an_example_comes_out_alike_in_any_batch(normalization: str) -> None:
    for net, x in zip(
        networks((17, 40, 3), normalization=normalization),
        (torch.rand(9, 17, 40, 3), torch.randn(9, 3)),
        strict=True,
    ):
        awaken(net).eval()
        with torch.no_grad():
            together, alone = net(x), torch.cat([net(one[None]) for one in x])
        # float32 sums of some hundred terms in another order
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_has_a_place(activation: str) -> None:
    encoder, decoder = networks((8, 8, 1), activation=activation)
    kinds = {type(module) for net in (encoder, decoder) for module in net.modules()}
    assert type(ACTIVATIONS[activation]()) in kinds
    assert encoder(torch.rand(2, 8, 8, 1)).isfinite().all()


def test_one_seed_gives_one_network() -> None:
    def output() -> Tensor:
        torch.manual_seed(3)
        encoder, decoder = networks((17, 40, 3))
        return decoder(encoder(torch.rand(2, 17, 40, 3))[:, :3])

    assert torch.equal(output(), output())


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_state_dict_round_trip(normalization: str) -> None:
    for number, net in enumerate(networks((28, 28, 1), normalization=normalization)):
        other = networks((28, 28, 1), normalization=normalization)[number]
        other.load_state_dict(load(save(dict(net.state_dict()))))
        x = torch.rand(2, 28, 28, 1) if number == 0 else torch.randn(2, 3)
        assert torch.equal(net(x), other(x))


def test_it_learns_a_bright_square_in_its_place() -> None:
    shape = (16, 16, 1)
    images = torch.zeros(64, *shape)
    for i in range(64):
        row, column = 2 + 8 * (i % 2), 2 + 8 * (i // 2 % 2)
        images[i, row : row + 4, column : column + 4] = 1
    encoder, decoder = networks(shape, features=4)
    decoder = ConvDecoder((2,), shape, width=8)
    vae = VAE(encoder, decoder, StandardNormal(2), shape=shape, likelihood=GaussianHead(shape))
    optimizer = torch.optim.Adam(vae.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        terms = vae(images)
        loss = (terms.distortion + terms.rate).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(terms.distortion.mean().item())
    constant = 0.5 * 256 * math.log(math.pi)  # of the Gaussian of variance ½
    # the mean picture, without a code, leaves 16·4·(¾·¼) = 12 of squared error
    assert losses[0] - constant > 12
    assert losses[-1] - constant < 6
