"""One buffer for all weights, and chains of layers that write their gradients into it, against autograd."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from elboroom.config import Config
from elboroom.training.step.chains import _ACTIVATIONS, Chains
from elboroom.training.step.flat import FlatParameters
from elboroom.training.step.optimizers import _ELEMENTWISE, make_optimizer

Net = Callable[[], nn.Module]


class Residual(nn.Module):
    """Linear layers that are in no sequence, one of them used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)) + self.first(x.square()))


class Tied(nn.Module):
    """Two layers with one weight, which is also used outside of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x))) + self.first.weight.square().sum()


def frozen() -> nn.Module:
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    net[0].requires_grad_(False)
    return net


def hooked() -> nn.Module:
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    net[0].register_forward_hook(lambda _module, _inputs, output: 2 * output)
    return net


NETS: dict[str, Net] = {
    **{
        kind.__name__: lambda kind=kind: nn.Sequential(nn.Linear(6, 5), kind(), nn.Linear(5, 3), kind())
        for kind in _ACTIVATIONS
    },
    "options": lambda: nn.Sequential(nn.Linear(6, 5), nn.LeakyReLU(0.3), nn.Linear(5, 3), nn.ELU(0.5)),
    "inplace": lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)),
    "images": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 6), nn.Unflatten(1, (3, 2))
    ),
    "norms": lambda: nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, 3)),
    "residual": Residual,
    "tied": Tied,
    "frozen": frozen,
    "hooked": hooked,
    "spectral": lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(6, 5)).eval(),
}


@pytest.mark.parametrize("name", NETS)
def test_a_chain_gives_the_values_and_gradients_of_autograd(name: str) -> None:
    torch.manual_seed(0)
    net = NETS[name]().double()
    x = (
        torch.randn(7, 3, 2, dtype=torch.float64)
        if name == "images"
        else torch.randn(7, 6, dtype=torch.float64)
    )
    expected, there = x.clone().requires_grad_(), x.clone().requires_grad_()
    wanted = net(expected)
    wanted.square().sum().backward()
    gradients = [None if p.grad is None else p.grad.clone() for p in net.parameters()]

    flat = FlatParameters([p for p in net.parameters() if p.requires_grad])
    chains = Chains(net, flat, torch.float64)
    for _ in range(2):  # a second step starts anew
        there.grad = None
        flat.begin()
        with chains():
            found = net(there)
        found.square().sum().backward()
        flat.collect()
        # The same sums in another order: double precision leaves a few units in the last place.
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(there.grad, expected.grad, rtol=1e-12, atol=1e-12)
        for parameter, gradient in zip(net.parameters(), gradients, strict=True):
            if gradient is not None:
                torch.testing.assert_close(flat.gradient(parameter), gradient, rtol=1e-12, atol=1e-12)
    assert "forward" not in net.__dict__


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        *((name, True) for name in ("ReLU", "inplace", "images", "residual", "options")),
        *((name, False) for name in ("frozen", "hooked", "spectral")),
    ],
)
def test_chains_take_what_they_can(name: str, taken: bool) -> None:
    net = NETS[name]()
    chains = Chains(net, FlatParameters([p for p in net.parameters() if p.requires_grad]), torch.float32)
    assert chains.hold_all_products == taken


def test_a_weight_without_a_gradient_has_zero() -> None:
    net = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    flat = FlatParameters(list(net.parameters()))
    flat.gradients[0].fill_(9.0)
    chains = Chains(net, flat, torch.float32)
    flat.begin()
    with chains():
        net[0](torch.ones(1, 2)).sum().backward()
    flat.collect()
    assert flat.gradient(net[0].weight).eq(1).all()
    assert flat.gradient(net[1].weight).eq(0).all()


def test_low_precision_rounds_as_bfloat16_does() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    x = torch.randn(16, 64)
    flat = FlatParameters(list(net.parameters()))
    chains = Chains(net, flat, torch.bfloat16)
    chains.refresh()
    with chains():
        y = net(x)
    assert y.dtype == torch.bfloat16
    half = copy.deepcopy(net).bfloat16()(x.bfloat16())
    # The bias is added to a product that was rounded already: one more rounding, of 2^-9 each.
    torch.testing.assert_close(y, half, rtol=2**-7, atol=2**-8)


def test_buffers_hold_mixed_dtypes_and_release_them() -> None:
    single, double = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2, dtype=torch.float64))
    flat = FlatParameters([single, double])
    assert [values.dtype for values in flat.values] == [torch.float32, torch.float64]
    with torch.no_grad():
        flat.values[1].fill_(5.0)
    assert double.tolist() == [5.0, 5.0]
    flat.release()
    with torch.no_grad():
        flat.values[1].fill_(7.0)
    assert double.tolist() == [5.0, 5.0]


@pytest.mark.parametrize("name", sorted(_ELEMENTWISE))
def test_an_elementwise_optimiser_gives_the_same_on_the_buffer(name: str) -> None:
    torch.manual_seed(0)
    config = Config().updated(optimizer=name, lr=0.01).optimizer
    one = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2))
    other = copy.deepcopy(one)
    flat = FlatParameters(list(other.parameters()))
    apart = make_optimizer(one.parameters(), config, torch.device("cpu"))
    joined = make_optimizer(flat.values, config, torch.device("cpu"))
    for _ in range(5):
        x = torch.randn(4, 3)
        one.zero_grad()
        one(x).square().sum().backward()
        apart.step()
        flat.begin()
        other(x).square().sum().backward()
        flat.collect()
        joined.step()
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        # Vectorised kernels fuse multiplications and additions in other places: single-precision rounding.
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
