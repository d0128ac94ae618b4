from __future__ import annotations

import itertools
import math
import typing

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import nn

from elboroom import config
from elboroom.networks import MLP
from elboroom.networks.conv_parts import CONV_NORMALIZATIONS
from elboroom.networks.mlp import ACTIVATIONS, GATES, INITS, NORMALIZATIONS

from .known import FLOAT64, assert_equal

pytestmark = pytest.mark.usefixtures("float64")

# What each name means, by its formula.
FORMULAS = {
    "relu": lambda t: np.maximum(t, 0),
    "tanh": np.tanh,
    "gelu": lambda t: t * stats.norm.cdf(t),
    "silu": lambda t: t * special.expit(t),
    "elu": lambda t: np.where(t > 0, t, np.expm1(t)),
    "leaky_relu": lambda t: np.where(t > 0, t, 0.01 * t),
    "softplus": lambda t: np.logaddexp(0, t),
    "sigmoid": special.expit,
    "identity": lambda t: t,
}


def linears(net: MLP) -> list[nn.Linear]:
    return [layer for layer in net if isinstance(layer, nn.Linear)]


@pytest.mark.parametrize(
    ("names", "table"),
    [
        (config.Activation, {*ACTIVATIONS, *GATES}),
        (config.Init, {*INITS}),
        (config.Normalization, {*NORMALIZATIONS, *CONV_NORMALIZATIONS, "none", "auto"}),
        (config.Activation, {*FORMULAS, "gated"}),
    ],
    ids=["activations", "inits", "normalizations", "tested activations"],
)
def test_the_configurations_names_are_the_networks(names: typing.Any, table: set[str]) -> None:
    assert set(typing.get_args(names)) == table


@pytest.mark.parametrize("name", FORMULAS)
def test_activations_are_their_formulas(name: str) -> None:
    t = np.linspace(-6, 6, 101)
    assert_equal(ACTIVATIONS[name]()(torch.from_numpy(t)), FORMULAS[name](t), **FLOAT64)


@pytest.mark.parametrize("name", FORMULAS)
def test_output_by_hand(name: str) -> None:
    net = MLP((3, 2), (2, 2), [5, 4], activation=name)
    x = torch.randn(6, 3, 2)
    (w1, b1), (w2, b2), (w3, b3) = (
        (p.weight.detach().numpy(), p.bias.detach().numpy()) for p in linears(net)
    )
    act = FORMULAS[name]
    expected = act(act(x.numpy().reshape(6, 6) @ w1.T + b1) @ w2.T + b2) @ w3.T + b3
    assert_equal(net(x), expected.reshape(6, 2, 2), **FLOAT64)


def test_gated_layers_by_hand() -> None:
    """The layers of arXiv:1705.07120: a linear layer times the sigmoid of another one."""
    net = MLP((6,), (4,), [5], activation="gated")
    x = torch.randn(7, 6)
    (w, b), (w2, b2) = ((p.weight.detach().numpy(), p.bias.detach().numpy()) for p in linears(net))
    h = (x.numpy() @ w[:5].T + b[:5]) * special.expit(x.numpy() @ w[5:].T + b[5:])
    assert w.shape == (10, 6)
    assert_equal(net(x), h @ w2.T + b2, **FLOAT64)


def test_the_last_bias_starts_from_log_odds_until_weights_are_loaded() -> None:
    net = MLP((2,), (2, 2), [3], init="xavier")
    assert not net.wants_examples
    net.ask_for_examples()
    mean = torch.tensor([[0.2, 0.5], [0.0, 1.0]], dtype=torch.float64)
    net.start_from(mean)
    expected = special.logit([0.2, 0.5, 0.001, 0.999])
    assert_equal(linears(net)[-1].bias, expected, **FLOAT64)
    assert not net.wants_examples
    net.ask_for_examples()
    net.load_state_dict(net.state_dict())
    assert not net.wants_examples


@pytest.mark.parametrize("hidden", [(), (5,), (5, 4, 3), (1,) * 8], ids=str)
@pytest.mark.parametrize("in_shape", [(6,), (3, 2), (3, 1, 2)], ids=str)
@pytest.mark.parametrize("out_shape", [(4,), (2, 3, 1)], ids=str)
def test_widths_and_depth(
    in_shape: tuple[int, ...], out_shape: tuple[int, ...], hidden: tuple[int, ...]
) -> None:
    net = MLP(in_shape, out_shape, hidden)
    widths = [math.prod(in_shape), *hidden, math.prod(out_shape)]
    assert [(m.in_features, m.out_features) for m in linears(net)] == list(itertools.pairwise(widths))
    assert net(torch.randn(7, *in_shape)).shape == (7, *out_shape)


def test_without_hidden_layers_it_is_affine() -> None:
    net, (a, b) = MLP((4,), (3,), (), activation="relu"), torch.randn(2, 5, 4)
    assert_equal(net(0.3 * a + 0.7 * b), 0.3 * net(a) + 0.7 * net(b), **FLOAT64)
    (layer,) = linears(net)
    assert_equal(net(a), a @ layer.weight.T + layer.bias, **FLOAT64)


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_normalisation_stands_between_layer_and_activation(name: str) -> None:
    net = MLP((4,), (3,), [6, 5], normalization=name, activation="tanh")
    kinds = [type(layer) for layer in net]
    block = [nn.Linear, {"layer": nn.LayerNorm, "batch": nn.BatchNorm1d}[name], nn.Tanh]
    assert kinds == [*block, *block, nn.Linear]


@pytest.mark.parametrize(("name", "axis"), [("layer", 1), ("batch", 0)])
def test_normalisation_by_hand(name: str, axis: int) -> None:
    net = MLP((4,), (3,), [6], normalization=name, activation="identity")
    x = torch.randn(50, 4)
    first, last = linears(net)
    h = first(x).detach().numpy()
    h = (h - h.mean(axis, keepdims=True)) / np.sqrt(h.var(axis, keepdims=True) + 1e-5)
    assert_equal(net(x), last(torch.from_numpy(h)), **FLOAT64)


# U(±bound) or N(0, σ) of a layer with fan_in 80 and fan_out 50; the bound of the bias, 0 where it is zero.
BOUNDS = {
    "torch": (1 / math.sqrt(80), 1 / math.sqrt(80)),
    "xavier": (math.sqrt(6 / 130), 0.0),
    "affine": (1 / math.sqrt(81), 1 / math.sqrt(81)),
}


@pytest.mark.parametrize("init", BOUNDS)
def test_uniform_inits_fill_their_bounds(init: str) -> None:
    for layer in linears(MLP((80,), (80,), [50, 80, 50], init=init))[::2]:
        bounds = zip((layer.weight, layer.bias), BOUNDS[init], strict=True)
        for values, bound in bounds:
            assert values.abs().max() <= bound
            # n draws stay below (1 − t)·bound with probability exp(−n t): 1e-9 with t = 20/n
            assert values.abs().max() >= bound * (1 - 20 / values.numel())
        # 4000 uniform draws: the relative error of their variance is √(0.8/4000) = 1.4 %, five times that
        assert layer.weight.var().item() == pytest.approx(BOUNDS[init][0] ** 2 / 3, rel=0.07)


def test_kaiming_init_is_normal_with_zero_bias() -> None:
    first = linears(MLP((80,), (1,), [50], init="kaiming"))[0]
    # 4000 normal draws: √(2/4000) = 2.2 %, five times that
    assert first.weight.var().item() == pytest.approx(2 / 80, rel=0.11)
    assert stats.kstest(first.weight.detach().flatten(), stats.norm(0, math.sqrt(2 / 80)).cdf).pvalue > 1e-4
    assert_equal(first.bias, np.zeros(50))
