from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from torch import Tensor

from elboroom.config import ObjectiveConfig
from elboroom.config.bounds import BOUNDS as ROWS
from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.objectives import (
    Objective,
    capacity,
    ciwae,
    dreg,
    elbo,
    iwae,
    miwae,
    piwae,
    sticking_the_landing,
)
from elboroom.objectives.bounds import Bound
from elboroom.objectives.choice import BOUNDS
from elboroom.objectives.schedules import constant, linear
from elboroom.probability import DiagonalGaussian

from .given import (
    FLOAT64,
    ONE,
    Deterministic,
    LinearGaussian,
    WithLogProb,
    assert_equal,
    assert_mean,
    gaussian,
    gradients,
    terms_of,
)

WRONG = {"shift": 0.2, "widen": 1.3}  # wider than the truth, so that the weights have a variance
OPTIONS = {"bound_groups": 2, "elbo_share": 0.3}


def bound_of(name: str) -> Bound:
    row = ROWS[name]
    options = {option: OPTIONS[option] for option in row.options if option in OPTIONS}
    samples = 4 if row.num_samples > 1 else 1
    return BOUNDS[name](ObjectiveConfig(bound=name, num_samples=samples, **options), 1)


# Where beta weighs something else than the rate, the value is no bound on log p(x).
ALL = {name: bound_of(name) for name, row in ROWS.items() if row.beta_weighs == "the rate"}
each = pytest.mark.parametrize("name", sorted(ALL))


@pytest.fixture
def truth() -> LinearGaussian:
    return LinearGaussian()


def values(truth: LinearGaussian, bound: Bound, num_samples: int, n: int = 10_000) -> Tensor:
    """Independent values (n,) of a bound of the wrong model."""
    return bound(truth.vae(n, **WRONG)(truth.copies(n), num_samples), ONE).detach()


def log_weights(num_samples: int = 6) -> tuple[VAE, np.ndarray]:
    vae = VAE.build(shape=(5,), latent_dim=3, hidden=[4])
    torch.manual_seed(7)
    return vae, vae(torch.full((2, 5), 0.4), num_samples).log_weights.detach().numpy()


def of(vae: VAE, bound: Bound, num_samples: int = 6, beta: float = 1.0) -> Tensor:
    """Value on the noise of :func:`log_weights`."""
    torch.manual_seed(7)
    return bound(vae(torch.full((2, 5), 0.4), num_samples), torch.tensor(beta))


# Values.


def test_iwae_is_the_log_of_the_mean_weight() -> None:
    vae, log_w = log_weights()
    expected = logsumexp(log_w, 0) - math.log(6)
    for bound in (iwae(), dreg(), piwae(3)):
        assert_equal(of(vae, bound), expected, **FLOAT64)


def test_miwae_is_the_mean_over_groups_of_iwae() -> None:
    vae, log_w = log_weights()
    groups = [logsumexp(log_w[i : i + 3], 0) - math.log(3) for i in (0, 3)]
    assert_equal(of(vae, miwae(2)), np.mean(groups, 0), **FLOAT64)
    assert_equal(of(vae, miwae(1)), of(vae, iwae()))
    assert_equal(of(vae, miwae(6)), log_w.mean(0), **FLOAT64)


def test_ciwae_lies_between_the_elbo_and_iwae() -> None:
    vae, _ = log_weights()
    assert_equal(of(vae, ciwae(1.0)), of(vae, elbo))
    assert_equal(of(vae, ciwae(0.0)), of(vae, iwae()))
    assert_equal(of(vae, ciwae(0.25)), 0.25 * of(vae, elbo) + 0.75 * of(vae, iwae()), **FLOAT64)


def test_a_surrogate_gradient_leaves_the_value_alone() -> None:
    vae, _ = log_weights()
    assert_equal(of(vae, sticking_the_landing()), of(vae, elbo))


@each
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 4.0])
def test_one_sample_is_the_elbo_in_mean_at_every_beta(truth: LinearGaussian, name: str, beta: float) -> None:
    bound = {**ALL, "miwae": miwae(1), "piwae": piwae(1)}[name]
    terms = truth.vae(20_000, **WRONG)(truth.copies(20_000), 1)
    weight = torch.tensor(beta)
    # the elbo's own mean is as noisy, so the difference is what has to vanish
    assert_mean((bound(terms, weight) - elbo(terms, weight)).detach()[:, None], np.zeros(1))


@each
def test_every_bound_lies_below_the_evidence(truth: LinearGaussian, name: str) -> None:
    drawn = values(truth, ALL[name], 4)
    assert drawn.mean().item() < truth.evidence + 5 * float(drawn.std()) / len(drawn) ** 0.5


@pytest.mark.parametrize("name", ["iwae", "miwae", "piwae", "dreg"])  # ciwae: in mean, as its elbo
def test_with_the_exact_posterior_the_weighted_bounds_are_the_evidence(
    truth: LinearGaussian, name: str
) -> None:
    terms = truth.vae(3)(truth.copies(3), 4)
    assert_equal(ALL[name](terms, ONE), np.full(3, truth.evidence), **FLOAT64)


def test_the_weighted_bound_tightens_with_k(truth: LinearGaussian) -> None:
    drawn = {k: values(truth, iwae(), k) for k in (1, 2, 8, 32)}
    for few, many in [(1, 2), (2, 8), (8, 32)]:
        noise = ((drawn[few].var() + drawn[many].var()) / 10_000) ** 0.5
        assert drawn[many].mean() - drawn[few].mean() > 5 * noise


def test_miwae_and_ciwae_lie_between(truth: LinearGaussian) -> None:
    low, high = values(truth, elbo, 8), values(truth, iwae(), 8)
    for bound in (miwae(4), ciwae(0.5)):
        between = values(truth, bound, 8)
        assert low.mean() + 5 * low.std() / 10_000**0.5 < between.mean()
        assert between.mean() < high.mean() - 5 * between.std() / 10_000**0.5


# Gradients.


def learned(truth: LinearGaussian) -> VAE:
    """A wrong model whose every part has parameters."""
    vae = truth.vae(5, **WRONG)
    vae.prior = WithLogProb(2)
    return vae


def both(vae: VAE, bound: Bound, x: Tensor, num_samples: int) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients for the encoder and for what generates, with the same noise for every bound."""
    inference = list(vae.encoder.parameters())
    generative = [*vae.decoder.parameters(), *vae.prior.parameters()]
    found = gradients(lambda: bound(vae(x, num_samples), ONE).mean(), *inference, *generative)
    return found[: len(inference)], found[len(inference) :]


def assert_all_equal(actual: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(actual, expected, strict=True):
        assert_equal(one, other, rtol=1e-10, atol=1e-10)  # sums of 80 terms that partly cancel
        assert one.abs().max() > 1e-3


def test_piwae_has_miwaes_gradient_for_the_encoder_and_iwaes_beside(truth: LinearGaussian) -> None:
    vae, x = learned(truth), truth.copies(5)
    encoder, generator = both(vae, piwae(4), x, 8)
    assert_all_equal(encoder, both(vae, miwae(4), x, 8)[0])
    assert_all_equal(generator, both(vae, iwae(), x, 8)[1])
    assert (encoder[0] - both(vae, iwae(), x, 8)[0][0]).abs().max() > 1e-3


def test_dreg_has_iwaes_gradient_for_what_generates(truth: LinearGaussian) -> None:
    vae, x = learned(truth), truth.copies(5)
    assert_all_equal(both(vae, dreg(), x, 8)[1], both(vae, iwae(), x, 8)[1])


def per_example(truth: LinearGaussian, bound: Bound, num_samples: int, beta: float, **how: float) -> Tensor:
    """Independent estimates (n, 2d) of the gradient in one example's posterior parameters."""
    vae = truth.vae(20_000, **how)
    terms = vae(truth.copies(20_000), num_samples)
    (found,) = torch.autograd.grad(bound(terms, torch.tensor(beta)).sum(), list(vae.encoder.parameters()))
    return found


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_dregs_gradient_is_iwaes_in_mean_and_less_noisy(truth: LinearGaussian, beta: float) -> None:
    ours = per_example(truth, dreg(), 8, beta, **WRONG)
    theirs = per_example(truth, iwae(), 8, beta, **WRONG)
    assert_mean(ours - theirs, np.zeros(4))
    if beta <= 1:
        assert (ours.var(0) < 0.5 * theirs.var(0)).all()


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_sticking_the_landing_has_the_elbos_gradient_in_mean(truth: LinearGaussian, beta: float) -> None:
    ours = per_example(truth, sticking_the_landing(), 2, beta, **WRONG)
    assert_mean(ours - per_example(truth, elbo, 2, beta, **WRONG), np.zeros(4))


@pytest.mark.parametrize("bound", [sticking_the_landing(), dreg()])
def test_at_the_exact_posterior_the_path_gradients_are_zero(truth: LinearGaussian, bound: Bound) -> None:
    # differences of numbers up to 1e2, whose float64 rounding is 1e-14
    assert per_example(truth, bound, 3, 1.0).abs().max() < 1e-11
    assert per_example(truth, iwae(), 3, 1.0).abs().max() > 0.1


@pytest.mark.parametrize("bound", [dreg(), piwae(2), sticking_the_landing()])
def test_a_surrogate_adds_up_with_penalties(truth: LinearGaussian, bound: Bound) -> None:
    """A penalty on codes and pictures gets its own gradient, whatever the bound does to that of its own."""
    vae, x = learned(truth), truth.copies(5)
    penalty = lambda terms: (terms.z.square().sum(-1) * terms.likelihood.mean.square().sum(-1)).mean()  # noqa: E731
    parameters = list(vae.parameters())

    def grads(objective: Objective) -> list[Tensor]:
        return gradients(lambda: objective(vae(x, 4), torch.tensor(objective.coefficients(0))), *parameters)

    alone, with_it = (
        grads(Objective(bound=bound)),
        grads(Objective(bound=bound, penalties={"some": (penalty, constant(0.7))})),
    )
    its_own = gradients(lambda: 0.7 * penalty(vae(x, 4)), *parameters)
    for total, one, other in zip(with_it, alone, its_own, strict=True):
        assert_equal(total, one + other, rtol=1e-10, atol=1e-10)


@each
def test_without_gradients_a_bound_decodes_nothing_again(name: str) -> None:
    def refuse(_: Tensor) -> Tensor:
        raise AssertionError("decoded again")

    with torch.no_grad():
        terms = dataclasses.replace(terms_of(gaussian(3, 2), 4), generate=refuse)
        assert ALL[name](terms, ONE).shape == (3,)


@each
def test_gradients_are_finite_in_float32_where_all_weight_is_on_one_sample(name: str) -> None:
    vae = VAE.build(shape=(200,), latent_dim=30, hidden=[8]).float()
    torch.nn.init.normal_(vae.encoder[-1].weight, std=3.0)
    value = ALL[name](vae(torch.rand(4, 200, dtype=torch.float32), 8), ONE.float())
    assert value.dtype == torch.float32
    value.mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in vae.parameters())


# Capacity.


def test_capacity_leads_the_mean_rate_to_its_target() -> None:
    objective = Objective(1000.0, bound=capacity(linear(25.0, ramp=100)))
    assert list(objective.schedules) == ["beta", "capacity"]
    assert objective.coefficients(40) == [1000.0, 10.0]
    terms = terms_of(gaussian(6, 3))
    rate = terms.rate.mean()
    for step, target in [(0, 0.0), (40, 10.0), (100, 25.0)]:
        loss = objective(terms, torch.tensor(objective.coefficients(step)))
        assert_equal(loss, terms.distortion.mean() + 1000 * (rate - target).abs(), **FLOAT64)


def test_capacity_holds_the_mean_of_the_rates_and_not_each() -> None:
    """Rates of 1 and 9 nats have a mean of 5: at a capacity of 5 nothing is paid, at 3 two nats."""
    posterior = DiagonalGaussian(torch.tensor([[2.0**0.5], [18.0**0.5]]), torch.ones(2, 1))
    terms = terms_of(posterior)
    assert_equal(terms.rate, [1.0, 9.0], **FLOAT64)  # ½μ²
    for target, paid in [(5.0, 0.0), (3.0, 2.0), (7.5, 2.5)]:
        bound = capacity(constant(target))(terms, torch.tensor(10.0), torch.tensor(target))
        assert_equal(-bound.mean() - terms.distortion.mean(), 10 * paid, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("target", "sign"), [(0.0, 1.0), (1e3, -1.0)])
def test_capacity_pushes_the_rate_up_or_down(target: float, sign: float) -> None:
    posterior = gaussian(6, 3)
    parameters = (posterior.mean, posterior.scale)
    bound = capacity(constant(target))
    found = gradients(
        lambda: -bound(terms_of(posterior), torch.tensor(5.0), torch.tensor(target)).mean(), *parameters
    )
    expected = gradients(lambda: -elbo(terms_of(posterior), torch.tensor(5.0 * sign)).mean(), *parameters)
    for one, other in zip(found, expected, strict=True):
        assert_equal(one, other, **FLOAT64)


def test_a_penalty_may_not_take_the_name_of_a_bounds_coefficient() -> None:
    with pytest.raises(UsageError, match="'capacity'"):
        Objective(bound=capacity(constant(1.0)), penalties={"capacity": (lambda t: t.z.sum(), constant(1.0))})
    with pytest.raises(UsageError, match="num_samples = 0"):
        Objective(num_samples=0)


# Refusals.


@pytest.mark.parametrize("make", [miwae, piwae])
def test_groups_must_divide_the_samples(make: type) -> None:
    with pytest.raises(UsageError, match=r"groups=0"):
        make(0)
    with pytest.raises(UsageError, match=r"groups=4\) does not divide num_samples = 6"):
        make(4)(terms_of(gaussian(3, 2), 6), ONE)


def test_a_share_is_between_0_and_1() -> None:
    with pytest.raises(UsageError, match=r"ciwae\(weight=1.5\)"):
        ciwae(1.5)


@pytest.mark.parametrize("bound", [dreg(), sticking_the_landing()])
def test_a_posterior_without_a_density_at_given_codes_is_refused(bound: Bound) -> None:
    @dataclasses.dataclass
    class Flow:
        mean: Tensor

    drawn = terms_of(gaussian(3, 2))
    terms = dataclasses.replace(drawn, posterior=Flow(torch.zeros(3, 2)), known={"log_q": drawn.log_q})
    with pytest.raises(UsageError, match="Flow has no log_prob; use iwae"):
        bound(terms, ONE)


@pytest.mark.parametrize("name", sorted(ALL.keys() - {"elbo"}))
def test_a_posterior_without_noise_is_refused(name: str) -> None:
    drawn = terms_of(gaussian(3, 2), 4)
    still = Deterministic(torch.zeros(3, 2))
    terms = dataclasses.replace(drawn, posterior=still, known={"log_q": drawn.log_q})
    with pytest.raises(UsageError, match="Deterministic has none; use elbo"):
        ALL[name](terms, ONE)
