"""Learned priors against scipy, brute-force sums, integrals and their own inverses."""

from __future__ import annotations

import copy
import io
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.networks import MLP
from elboroom.probability import (
    POSTERIORS,
    PRIORS,
    DiagonalGaussianHead,
    FlowPrior,
    MixturePrior,
    StandardNormal,
    VampPrior,
)
from elboroom.probability import priors as priors_module

from .known import FLOAT64, assert_equal, assert_mean

pytestmark = pytest.mark.usefixtures("seeded_float64")


def disturb(module: nn.Module, size: float = 0.1) -> None:
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(size * torch.randn_like(weight))


def vamp(posterior: str = "diagonal", *, d: int = 2, components: int = 5) -> VampPrior:
    head = POSTERIORS[posterior](d)
    encoder = MLP((4, 1), head.in_shape, [8])  # type: ignore[arg-type]
    prior = VampPrior(d, shape=(4, 1), components=components)
    prior.bind(lambda x: head(encoder(x)))
    return prior


def prior_named(name: str, d: int = 2) -> nn.Module:
    if name == "vamp":
        return vamp(d=d)
    prior = PRIORS[name](d)
    disturb(prior)
    return prior


def grid_integral(prior: nn.Module, width: float, steps: int) -> float:
    """∫ p over a square by the trapezium rule."""
    line = torch.linspace(-width, width, steps)
    codes = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)
    with torch.no_grad():
        density = prior.log_prob(codes).exp()  # type: ignore[operator]
    return float(torch.trapezoid(torch.trapezoid(density, line), line))


@pytest.mark.parametrize("name", [name for name in PRIORS if name != "sphere"])
def test_every_prior_integrates_to_one(name: str) -> None:
    # 0.1 between points is a quarter of the narrowest component here; a spline flow's density has kinks,
    # where the trapezium rule is off by the square of that
    assert grid_integral(prior_named(name), 8.0, 161) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", PRIORS)
def test_every_prior_keeps_the_contract(name: str) -> None:
    prior = prior_named(name)
    z: Tensor = prior.sample(6)  # type: ignore[operator]
    assert prior.latent_dim == 2
    assert z.shape == (6, 2)
    assert not z.requires_grad
    assert prior.sample(0).shape == (0, 2)  # type: ignore[operator]
    log_p = prior.log_prob(z)  # type: ignore[operator]
    assert log_p.shape == (6,)
    assert_equal(prior.log_prob(z.reshape(2, 3, 2)), log_p.reshape(2, 3), **FLOAT64)  # type: ignore[operator]
    assert prior.log_prob(z[:0]).shape == (0,)  # type: ignore[operator]
    assert repr(prior)


@pytest.mark.parametrize("name", PRIORS)
def test_samples_and_density_agree(name: str) -> None:
    # for any density r on the same space, E_p r/p = 1: here a narrow normal, or a disc of the circle
    prior = prior_named(name)
    with torch.no_grad():
        z: Tensor = prior.sample(20_000)  # type: ignore[operator]
        log_p = prior.log_prob(z)  # type: ignore[operator]
    if name == "sphere":
        log_r = torch.where(z[:, 0] > 0, -math.log(math.pi), -torch.inf)
    else:
        centre, spread = z.mean(0), 0.4 * z.std(0)
        log_r = torch.distributions.Normal(centre, spread).log_prob(z).sum(-1)
    assert_mean((log_r - log_p).exp(), 1.0)


@pytest.mark.parametrize("name", PRIORS)
def test_float32_has_finite_gradients_far_out(name: str) -> None:
    prior = prior_named(name).float()
    if name == "vamp":
        prior._infer = (lambda x: DiagonalGaussianHead(2)(torch.cat([x.flatten(1)] * 1, -1)),)
    z = torch.tensor([[0.0, 0.0], [5.0, -5.0], [1e4, -1e4]], dtype=torch.float32, requires_grad=True)
    log_p = prior.log_prob(z)  # type: ignore[operator]
    assert log_p.dtype == torch.float32
    assert log_p.isfinite().all()
    if name != "sphere":
        gradients = torch.autograd.grad(log_p.sum(), [z, *prior.parameters()])
        assert all(gradient.isfinite().all() for gradient in gradients)
    assert prior.sample(1000).isfinite().all()  # type: ignore[operator]


def test_mixture_is_scipys_sum() -> None:
    prior = MixturePrior(2, components=3)
    disturb(prior)
    z = torch.randn(7, 2)
    mixture = prior.mixture()
    weights = mixture.log_weights.exp().detach().numpy()
    means, scales = mixture.components.mean.detach(), mixture.components.scale.detach()
    each = [
        stats.multivariate_normal(m, np.diag(s**2)).pdf(z) for m, s in zip(means, scales.numpy(), strict=True)
    ]
    assert weights.sum() == pytest.approx(1, rel=1e-14)
    assert_equal(prior.log_prob(z), np.log(weights @ each), **FLOAT64)


def test_mixture_samples_have_its_moments() -> None:
    prior = MixturePrior(2, components=3)
    disturb(prior)
    mixture = prior.mixture()
    weights, means = mixture.log_weights.exp().detach(), mixture.components.mean.detach()
    z = prior.sample(20_000)
    assert_mean(z, weights @ means)
    assert_mean(z.square(), weights @ (means**2 + mixture.components.variance.detach()))


def test_mixture_starts_about_standard() -> None:
    z = MixturePrior(2, components=1000).sample(20_000)
    # of 1000 random means, their own mean and variance stray by about 1000^-½ = 0.03
    assert_equal(z.mean(0), np.zeros(2), atol=0.15)
    assert_equal(z.var(0), np.ones(2), atol=0.15)


def test_mixture_in_chunks_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, z = prior_named("mixture"), torch.randn(3, 5, 2)
    whole = prior.log_prob(z)  # type: ignore[operator]
    monkeypatch.setattr(priors_module, "_COMPARED_NUMBERS", 80)  # 4 codes of 2 numbers with 10 components
    with torch.no_grad():
        assert_equal(prior.log_prob(z), whole, **FLOAT64)  # type: ignore[operator]


@pytest.mark.parametrize("posterior", ["diagonal", "full", "householder"])
def test_vamp_is_the_mean_of_the_posteriors_of_its_inputs(posterior: str) -> None:
    prior, z = vamp(posterior), torch.randn(7, 2)
    q = prior._infer[0](prior.pseudo_inputs)
    each = torch.stack([q.log_prob(code.expand(5, 2)) for code in z])  # type: ignore[attr-defined]
    assert_equal(prior.log_prob(z), each.exp().mean(-1).log(), **FLOAT64)


def test_vamp_on_the_sphere_is_uniform_enough_to_integrate() -> None:
    prior = vamp("power_spherical")
    angle = torch.linspace(0, 2 * math.pi, 2001)
    density = prior.log_prob(torch.stack([angle.cos(), angle.sin()], -1)).exp()
    # (1 + cos)^κ is periodic and has a cusp of order 2κ ≈ 1.4: points h = 3e-3 apart are off by about h^2.4
    assert torch.trapezoid(density.detach(), angle).item() == pytest.approx(1, abs=1e-5)


def test_vamp_starts_from_data_within_their_range() -> None:
    prior = VampPrior(2, shape=(3,), components=2, support=(-1.0, 1.0))
    x = torch.tensor([[-1.0, 0.0, 0.5], [1.0, -0.9, 0.9], [0.0, 0.0, 0.0]])
    prior.start_from(x)
    assert_equal(prior.pseudo_inputs, [[-0.96, 0, 0.5], [0.96, -0.9, 0.9]], **FLOAT64)
    unbounded = VampPrior(2, shape=(3,), components=2, support=None)
    unbounded.start_from(5 * x)
    assert_equal(unbounded.pseudo_inputs, 5 * x[:2])


@pytest.mark.parametrize("shape", [(4, 3), (5, 2)])
def test_vamp_refuses_data_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"for 5 pseudo-inputs; give at least 5 of shape \(3\)"):
        VampPrior(2, shape=(3,), components=5).start_from(torch.zeros(shape))


def test_vamp_without_encoder_says_so() -> None:
    with pytest.raises(UsageError, match=r"call prior.bind\(vae.infer\) first"):
        VampPrior(2, shape=(3,)).log_prob(torch.zeros(1, 2))


def model_with_vamp() -> VAE:
    prior = VampPrior(2, shape=(4,), components=3)
    vae = VAE(MLP((4,), (4,), [8]), MLP((2,), (4,), [8]), prior, shape=(4,))
    prior.bind(vae.infer)
    return vae


def test_vamp_does_not_own_the_encoder_and_trains_it() -> None:
    vae = model_with_vamp()
    saved = [name for name in vae.state_dict() if name.startswith("prior")]
    assert saved == ["prior.raw_inputs"]
    assert len(list(vae.parameters())) == 9
    terms = vae(torch.rand(5, 4))
    assert_equal(terms.rate, (terms.log_q - vae.prior.log_prob(terms.z))[0], **FLOAT64)
    gradient = torch.autograd.grad(vae.prior.log_prob(torch.zeros(1, 2)).sum(), vae.encoder[0].weight)
    assert gradient[0].abs().sum() > 0


@pytest.mark.parametrize("how", ["deepcopy", "torch.save"])
def test_a_copy_of_the_model_has_a_vamp_prior_of_its_own(how: str) -> None:
    vae = model_with_vamp()
    if how == "deepcopy":
        twin = copy.deepcopy(vae)
    else:
        file = io.BytesIO()
        torch.save(vae, file)
        file.seek(0)
        twin = torch.load(file, weights_only=False)
    z = torch.randn(3, 2)
    assert_equal(twin.prior.log_prob(z), vae.prior.log_prob(z))
    before = vae.prior.log_prob(z)
    disturb(twin)
    assert_equal(vae.prior.log_prob(z), before)
    assert (twin.prior.log_prob(z) != before).all()


@pytest.mark.parametrize("d", [1, 2, 5])
def test_flow_starts_as_the_standard_normal(d: int) -> None:
    z = torch.cat([3 * torch.randn(50, d), torch.full((1, d), 7.0)])
    assert_equal(FlowPrior(d).log_prob(z), StandardNormal(d).log_prob(z), **FLOAT64)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_flow_log_determinant_is_autograds_and_its_inverse_undoes_it(d: int) -> None:
    prior, z = FlowPrior(d, steps=3), 2 * torch.randn(4, d)
    disturb(prior)

    def noise_of(code: Tensor) -> Tensor:
        out: Tensor = prior.layers()((code - prior.shift) / prior.log_scale.exp())
        return out

    jacobian = torch.autograd.functional.jacobian(noise_of, z)
    log_det = torch.stack([torch.linalg.det(jacobian[i, :, i]).log() for i in range(4)])
    noise = noise_of(z)
    assert_equal(prior.log_prob(z), StandardNormal(d).log_prob(noise) + log_det, rtol=1e-9, atol=1e-9)
    # the inverse of a spline is the root of a quadratic, at slopes down to 1e-3
    assert_equal(prior._code(noise), z, rtol=1e-8, atol=1e-8)
    u = torch.rand(4, d)
    assert_equal(prior.quantile(u), prior._code(torch.special.ndtri(u)))


def mass_on_image(prior: FlowPrior, cells: int) -> float:
    """Σ p(z) · size over the images of equal cells of noise, which are small wherever the density is high.

    The sizes are lengths or areas between the corners' codes: no derivative is asked of the prior.
    """
    edges = torch.linspace(-5.5, 5.5, cells + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    with torch.no_grad():
        if prior.latent_dim == 1:
            sizes = prior._code(edges[:, None])[:, 0].diff().abs()
        else:
            corner = prior._code(torch.cartesian_prod(edges, edges)).reshape(cells + 1, cells + 1, 2)
            (a, b), (c, d) = (
                (corner[1:, 1:] - corner[:-1, :-1]).unbind(-1),
                (corner[1:, :-1] - corner[:-1, 1:]).unbind(-1),
            )
            sizes = (a * d - b * c).abs().flatten() / 2  # half the cross product of the diagonals
        noise = torch.cartesian_prod(*[middles] * prior.latent_dim).reshape(-1, prior.latent_dim)
        return float((prior.log_prob(prior._code(noise)).exp() * sizes).sum())


@pytest.mark.parametrize(("size", "tolerance"), [(0.1, 1e-6), (1.0, 5e-4)])
def test_a_flow_in_one_dimension_integrates_to_one_however_bent(size: float, tolerance: float) -> None:
    # midpoints are off by the square of a cell, 1e-3, times the density's curvature; mass beyond ±5.5 is 4e-8
    prior = FlowPrior(1)
    disturb(prior, size)
    assert mass_on_image(prior, 10_000) == pytest.approx(1, abs=tolerance)


def test_a_flow_in_two_dimensions_integrates_to_one_as_cells_shrink() -> None:
    prior = FlowPrior(2)
    disturb(prior)
    coarse, fine = mass_on_image(prior, 50) - 1, mass_on_image(prior, 100) - 1
    assert abs(fine) < 5e-3
    assert fine == pytest.approx(coarse / 4, abs=5e-4)  # of second order, but for the splines' kinks


@pytest.mark.parametrize("d", [2, 3, 5, 8])
def test_flow_mixes_all_dimensions(d: int) -> None:
    prior = FlowPrior(d)
    disturb(prior)
    jacobian = torch.autograd.functional.jacobian(lambda z: prior.layers()(z), torch.randn(d))
    assert jacobian.abs().gt(0).all()  # every number depends on every other


def test_a_mixture_needs_components() -> None:
    for build in (lambda: MixturePrior(2, components=0), lambda: VampPrior(2, shape=(3,), components=0)):
        with pytest.raises(UsageError, match="components = 0: at least 1 is needed"):
            build()
