"""Flow steps: their Jacobians by autograd, their inverses by brute force, and the density they leave."""

from __future__ import annotations

import copy
import sys
from typing import Any

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import Tensor, distributions, nn

from elboroom.models.conditioning import Conditioning
from elboroom.models.vae import VAE
from elboroom.probability import (
    DiagonalGaussian,
    FlowPosterior,
    InverseAutoregressiveHead,
    PlanarHead,
    StandardNormal,
)
from elboroom.probability.flows import InverseAutoregressive, Planar, Step, masked_mlp

from .known import FLOAT64, assert_equal, assert_mean

pytestmark = pytest.mark.usefixtures("seeded_float64")


def disturb(network: nn.Module) -> nn.Module:
    """Give weights that start at zero, and all others, random values of a trained network's size."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return network


def planar(b: int, d: int) -> Planar:
    return Planar(2 * torch.randn(b, d), 2 * torch.randn(b, d), torch.randn(b, 1))


def autoregressive(b: int, d: int, *, descending: bool = False) -> InverseAutoregressive:
    order = torch.arange(d).flip(0) if descending else torch.arange(d)
    return InverseAutoregressive(disturb(masked_mlp(order, 3, [16, 16])), torch.randn(b, 3))


STEPS = {"planar": planar, "autoregressive": autoregressive}


def jacobians(step: Step, z: Tensor) -> Tensor:
    """dz'/dz of each example, (b, d, d), for z (b, d)."""
    full = torch.autograd.functional.jacobian(lambda codes: step(codes[None])[0][0], z)
    return torch.stack([full[i, :, i] for i in range(len(z))])


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("d", [1, 2, 5])
def test_log_determinant_is_autograds(name: str, d: int) -> None:
    step, z = STEPS[name](6, d), torch.randn(6, d)
    _, log_det = step(z[None])
    determinant = torch.linalg.det(jacobians(step, z))
    assert (determinant > 0).all()
    # a planar step treats ‖w‖² below 1e-8 as no direction, in map and determinant alike
    assert_equal(log_det[0], determinant.log(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("length", [0.0, 1e-6, 1e-4, 1e-2])
def test_a_planar_step_with_hardly_a_direction_has_the_right_determinant(length: float) -> None:
    step = Planar(torch.randn(6, 3), length * torch.randn(6, 3), torch.randn(6, 1))
    z = torch.randn(6, 3)
    moved, log_det = step(z[None])
    assert_equal(log_det[0], torch.linalg.det(jacobians(step, z)).log(), rtol=1e-9, atol=1e-9)
    assert (moved - z).abs().max() < 10


def test_a_planar_step_without_parameters_is_the_identity() -> None:
    step = Planar(torch.zeros(2, 3), torch.zeros(2, 3), torch.randn(2, 1))
    z = torch.randn(4, 2, 3)
    moved, log_det = step(z)
    assert_equal(moved, z, **FLOAT64)
    assert_equal(log_det, np.zeros((4, 2)), **FLOAT64)


def test_a_planar_step_is_invertible_however_hard_u_pushes_against_w() -> None:
    w = torch.tensor([[1.0, 2.0, -1.0]])
    step = Planar(-50 * w + torch.tensor([[0.0, 1.0, 2.0]]), w, torch.tensor([[0.3]]))
    along = w / w.norm()
    for position in (-2.0, -0.2, 0.0, 0.4):
        z = position * along + torch.tensor([[0.5, 0.0, 0.5]])
        moved, _ = step(z[None])

        def height_left(t: float, z: Tensor = z, moved: Tensor = moved) -> float:
            """How far along w the image of a point at t is from the image searched for."""
            return ((step((z + t * along)[None])[0] - moved) * w).sum().item()

        ts = np.linspace(-3, 3, 400)
        assert (np.diff([height_left(t) for t in ts]) > 0).all()  # it does not fold over
        assert optimize.brentq(height_left, -3, 3.1, xtol=1e-13) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("descending", [False, True])
def test_an_autoregressive_step_is_triangular_and_inverted_number_by_number(descending: bool) -> None:
    step, z = autoregressive(3, 4, descending=descending), torch.randn(3, 4)
    jacobian = jacobians(step, z)
    past = jacobian.triu(1) if not descending else jacobian.tril(-1)
    assert_equal(past, np.zeros((3, 4, 4)))
    assert (jacobian - past).abs().gt(0).sum() == 3 * 10  # all of the rest is used
    target, _ = step(z[None])
    found = torch.zeros_like(z)
    for _ in range(4):  # each pass gets one more number right
        image, _ = step(found[None])
        slope = torch.diagonal(jacobians(step, found), dim1=-2, dim2=-1)
        found = found + (target[0] - image[0]) / slope
    assert_equal(found, z, rtol=1e-10, atol=1e-10)


def test_an_autoregressive_step_starts_with_open_gates() -> None:
    head = InverseAutoregressiveHead(3, steps=2, context=4)
    q = head(torch.randn(5, *head.in_shape))
    gate = 1 / (1 + np.exp(-2))
    assert_equal(q.mean, gate**2 * q.base.mean, **FLOAT64)


@pytest.mark.parametrize("name", ["planar", "iaf"])
def test_log_q_is_a_normalised_density(name: str) -> None:
    # for any density r, E_q r(z)/q(z) = 1; r is narrower than q, so that the weights stay bounded
    head = PlanarHead(2, steps=3) if name == "planar" else InverseAutoregressiveHead(2, steps=3)
    disturb(head)
    q = head(0.5 * torch.randn(3, *head.in_shape))
    z, log_q = q.rsample_and_log_prob(20_000)
    r = distributions.Normal(z.mean(0).detach(), 0.4 * z.std(0).detach())
    assert_mean((r.log_prob(z).sum(-1) - log_q).exp().detach(), np.ones(3))


def heads(name: str, d: int) -> PlanarHead | InverseAutoregressiveHead:
    head = PlanarHead(d, steps=3) if name == "planar" else InverseAutoregressiveHead(d, steps=3)
    disturb(head)
    return head


@pytest.mark.parametrize("name", ["planar", "iaf"])
@pytest.mark.parametrize("d", [1, 3])
def test_log_q_is_change_of_variables_by_the_whole_chains_jacobian(name: str, d: int) -> None:
    head = heads(name, d)
    q = head(torch.randn(1, *head.in_shape))
    torch.manual_seed(5)
    z, log_q = q.rsample_and_log_prob(1)
    torch.manual_seed(5)
    start, log_base = q.base.rsample_and_log_prob(1)
    jacobian = torch.autograd.functional.jacobian(lambda s: through(q, s[None])[0], start[0])[0, :, 0]
    assert_equal(z, through(q, start))
    assert_equal(log_q[0], log_base[0] - torch.linalg.det(jacobian).log(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["planar", "iaf"])
def test_log_q_given_a_condition_is_that_of_the_numerically_inverted_chain(name: str) -> None:
    """q(z|x, c) = base(f⁻¹(z)) / |det df/dz|, with f inverted by a root finder and differenced."""
    head = heads(name, 2)
    conditioning = Conditioning("labels", 2, shape=(4,), parts=("encoder", "decoder"))
    parts = {"posterior": head, "conditioning": conditioning, "shape": (4,)}
    vae = VAE(nn.Linear(4, head.in_shape[0]), nn.Linear(4, 4), StandardNormal(2), **parts)
    disturb(vae.conditioning)
    x, found = torch.rand(1, 4), []
    for label in (0, 1):
        with torch.no_grad():
            q: Any = vae.infer(x, torch.eye(2)[[label]])
            z, log_q = q.rsample_and_log_prob(1)

            def f(start: np.ndarray[Any, Any], q: Any = q) -> np.ndarray[Any, Any]:
                with torch.no_grad():
                    return through(q, torch.from_numpy(start).reshape(1, 1, 2)).numpy().ravel()

            start = optimize.fsolve(lambda s, z=z: f(s) - z.numpy().ravel(), q.base.mean.numpy(), xtol=1e-13)
            assert f(start) == pytest.approx(z.numpy().ravel(), abs=1e-10)
            steps = 1e-5 * np.eye(2)
            jacobian = np.stack([(f(start + h) - f(start - h)) / 2e-5 for h in steps], -1)
            base = distributions.Normal(q.base.mean, q.base.scale).log_prob(torch.from_numpy(start)).sum()
            # central differences are off by 1e-10 times a third derivative
            assert log_q.item() == pytest.approx(base.item() - np.log(abs(np.linalg.det(jacobian))), abs=1e-7)
            found.append(q.mean)
    assert (found[0] - found[1]).abs().max() > 1e-3  # the condition matters


def through(q: FlowPosterior, z: Tensor) -> Tensor:
    for step in q.steps:
        z, _ = step(z)
    return z


def test_the_code_is_the_image_of_the_bases_mean() -> None:
    head = PlanarHead(3, steps=2)
    q = head(torch.randn(4, *head.in_shape))
    sharp = FlowPosterior(DiagonalGaussian(q.base.mean, 1e-9 * q.base.scale), q.steps)
    z, _ = sharp.rsample_and_log_prob(1)
    assert_equal(q.mean, z[0], atol=1e-6)  # noise of 1e-9 times the steps' slopes


def test_detached_steps_leave_the_shared_weights_alone() -> None:
    head = InverseAutoregressiveHead(3, steps=2)
    disturb(head)
    q = head(torch.randn(4, *head.in_shape)).detached()
    assert not q.mean.requires_grad
    assert all(weight.requires_grad for weight in head.parameters())


def test_a_flow_head_is_copied_and_its_weights_are_all_it_saves() -> None:
    head = InverseAutoregressiveHead(3, steps=2)
    disturb(head)
    raw = torch.randn(4, *head.in_shape)
    other = InverseAutoregressiveHead(3, steps=2)
    other.load_state_dict(head.state_dict())
    for same in (copy.deepcopy(head), other):
        assert_equal(same(raw).mean, head(raw).mean)


def test_zuko_leaves_torchs_argument_checks_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "zuko"]:
        monkeypatch.delitem(sys.modules, name)  # as if it had never been imported
    masked_mlp(torch.arange(2), 1, [4])
    with pytest.raises(ValueError, match="found invalid values"):
        distributions.Normal(0.0, -torch.ones(1))
