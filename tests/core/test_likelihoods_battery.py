"""What holds for every likelihood that can be named, and for every way its head can be built."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate
from torch import Tensor, nn

from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.networks import MLP
from elboroom.networks.conv import ConvDecoder
from elboroom.probability import LIKELIHOODS, BernoulliHead, StandardNormal
from elboroom.probability.likelihoods import log_prob_by_number
from elboroom.probability.standardized import StandardizedHead

from .known import FLOAT64, assert_equal, assert_mean

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "bernoulli": ("bernoulli", {}),
    "continuous bernoulli": ("continuous_bernoulli", {}),
    "gaussian": ("gaussian", {}),
    "gaussian, shared": ("gaussian", {"learn_scale": "shared", "mean": "sigmoid"}),
    "gaussian, pixel": ("gaussian", {"learn_scale": "pixel"}),
    "gaussian, optimal": ("gaussian", {"learn_scale": "optimal", "scale": 0.3}),
    "laplace": ("laplace", {"learn_scale": "shared"}),
    "laplace, pixel": ("laplace", {"learn_scale": "pixel"}),
    "student t": ("student_t", {"df": 2.5}),
    "student t, learned": ("student_t", {"learn_df": True, "learn_scale": "pixel"}),
    "categorical": ("categorical", {}),
    "categorical of 3": ("categorical", {"levels": 3}),
    "logistic": ("discretized_logistic", {}),
    "logistic of 2 levels": ("discretized_logistic", {"levels": 2}),
    "mixture of 4 logistics": ("discretized_logistic", {"mixtures": 4, "scale": 0.05}),
    "poisson": ("poisson", {}),
    "negative binomial": ("negative_binomial", {}),
    "negative binomial, network": ("negative_binomial", {"dispersion": "network"}),
    "zero-inflated": ("zero_inflated_negative_binomial", {}),
    "zero-inflated, network": ("zero_inflated_negative_binomial", {"dispersion": "network"}),
}
# tests/tables has the likelihood of tables, which takes no pictures.
ELSEWHERE = {"mixed"}
each_case = pytest.mark.parametrize("case", CASES)
double = pytest.mark.usefixtures("float64")


def head_of(case: str, shape: tuple[int, ...]) -> Any:
    """Build a head with parameters that are not those of its start, in evaluation mode."""
    name, options = CASES[case]
    head: Any = LIKELIHOODS[name](shape, **options)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return head.eval()


def values_of(head: Any) -> Tensor | None:
    """Every value that the data may take, in order; counts up to 20,000; None for a density."""
    if head.support == (0.0, np.inf):
        return torch.arange(20_000.0)
    if head.spacing is not None:
        return torch.arange(round(1 / head.spacing) + 1) * head.spacing
    return torch.tensor([0.0, 1.0]) if isinstance(head, BernoulliHead) and not head.extra_repr() else None


def observations(head: Any, *shape: int) -> Tensor:
    """Draw data of a shape that the head takes: of its values, or else real numbers."""
    values = values_of(head)
    if values is not None:
        values = values[:30] if len(values) > 256 else values
        return values[torch.randint(len(values), shape)]
    return torch.rand(shape) if head.support else torch.randn(shape)


def test_every_name_has_a_case() -> None:
    assert {name for name, _ in CASES.values()} | ELSEWHERE == set(LIKELIHOODS)


@double
@each_case
def test_probabilities_add_up_to_one(case: str) -> None:
    head = head_of(case, (1,))
    for features in torch.randn(5, *head.in_shape) * 1.5:
        values = values_of(head)
        if values is not None:
            p = head(features.expand(len(values), -1))
            # Counts beyond 20,000 have less than 1e-12 at means of at most e^5.
            assert_equal(p.log_prob(values[:, None]).exp().sum(), 1.0, **FLOAT64)
            continue
        p = head(features)
        low, high = head.support or (-np.inf, np.inf)
        density = lambda x, p=p: p.log_prob(torch.tensor([x])).exp().item()  # noqa: E731
        middle = p.mean.item()
        mass = sum(
            integrate.quad(density, *ends, epsabs=1e-10)[0] for ends in ((low, middle), (middle, high))
        )
        assert_equal(mass, 1.0, atol=1e-7)  # quad's own error on infinite intervals


@double
@each_case
@pytest.mark.parametrize("shape", [(5,), (3, 2, 1), (2, 3, 3)], ids=str)
def test_codes_of_any_leading_shape_broadcast_against_a_batch(case: str, shape: tuple[int, ...]) -> None:
    head, k, b = head_of(case, shape), 4, 3
    features, x = torch.randn(k, b, *head.in_shape), observations(head, b, *shape)
    p = head(features)
    one_by_one = [
        head(features[i, j]).log_prob(x[j]).item() for i, j in itertools.product(range(k), range(b))
    ]
    assert_equal(p.log_prob(x), np.reshape(one_by_one, (k, b)), **FLOAT64)
    assert p.mean.shape == p.sample().shape == (k, b, *shape)


@double
@each_case
def test_numbers_are_independent_and_do_not_mix(case: str) -> None:
    """The score of an image is the sum over its numbers, each read from features of its own."""
    head = head_of(case, (2, 3, 3))
    features, x = torch.randn(1, *head.in_shape), observations(head, 1, 2, 3, 3)
    features.requires_grad_()
    changed = x.clone()
    changed[0, 1, 2, 1] = observations(head, 4).max() if head.spacing is None else 1 - x[0, 1, 2, 1].sign()
    before, after = (
        torch.autograd.grad(head(features).log_prob(data).sum(), features)[0] for data in (x, changed)
    )
    differs = (before != after)[0].unflatten(-1, (-1, 3)) if head.in_shape[-1] > 3 else (before != after)[0]
    assert differs.flatten(2).any(-1).nonzero().tolist() == [[1, 2]]


@double
@each_case
def test_samples_can_be_observed_and_have_the_mean(case: str) -> None:
    head = head_of(case, (3,))
    p = head(torch.randn(head.in_shape).expand(5000, -1))
    draws = p.sample()
    assert torch.isfinite(p.log_prob(draws)).all()
    if head.support is not None:
        assert head.support[0] <= draws.min()
        assert draws.max() <= head.support[1]
    if head.spacing is not None:
        assert_equal(draws / head.spacing, (draws / head.spacing).round(), atol=1e-9)
    if CASES[case][0] == "discretized_logistic":
        assert (draws.mean(0) - p.mean[0]).abs().max() <= 0.5 * head.spacing + 5 * 0.5 / 5000**0.5
    else:
        assert_mean(draws, p.mean[0])


@each_case
@pytest.mark.parametrize("size", [30.0, 1e3, 1e6])
def test_extreme_features_have_finite_scores_and_gradients(case: str, size: float) -> None:
    head = head_of(case, (4,)).train()
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=3)))
    columns = torch.arange(head.in_shape[0]) * 3 // head.in_shape[0]
    features = (size * signs[:, columns]).requires_grad_()
    for x in (torch.zeros(8, 4), torch.ones(8, 4)):
        features.grad = None
        p = head(features)
        loss = p.log_prob(x).sum()
        loss.backward()
        assert torch.isfinite(loss)
        assert features.grad is not None
        for gradient in (features.grad, *(parameter.grad for parameter in head.parameters())):
            assert gradient is not None
            assert torch.isfinite(gradient).all()
        assert torch.isfinite(p.mean).all()
        assert torch.isfinite(p.sample()).all()


@each_case
def test_heads_keep_single_precision(case: str) -> None:
    head = head_of(case, (40,))
    features, x = torch.randn(3, *head.in_shape), observations(head, 3, 40)
    p32 = head(features)
    assert p32.log_prob(x).dtype == p32.mean.dtype == p32.sample().dtype == torch.float32
    p64 = head.double()(features.double())
    # Forty terms, each rounded at 6e-8 of parts of size up to 100, such as log 29!, that cancel.
    exact_x = (x.double() / head.spacing).round() * head.spacing if head.spacing else x.double()
    assert_equal(p32.log_prob(x), p64.log_prob(exact_x), rtol=1e-5, atol=2e-4)
    assert_equal(p32.mean, p64.mean, rtol=1e-5, atol=1e-5)


@each_case
def test_a_vae_of_any_likelihood_learns(case: str) -> None:
    head = head_of(case, (3, 2, 1)).train()
    vae = VAE(
        MLP((3, 2, 1), (4,), [8]),
        MLP((2,), head.in_shape, [8]),
        StandardNormal(2),
        shape=(3, 2, 1),
        likelihood=head,
    )
    x = observations(head, 1, 3, 2, 1).expand(16, -1, -1, -1)
    optimizer = torch.optim.Adam(vae.parameters(), 0.02)
    losses = []
    for _ in range(25):
        terms = vae(x, 2)
        loss = (terms.distortion + terms.rate).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert all(parameter.grad is not None for parameter in vae.parameters())
    assert torch.isfinite(vae.nll(x[:2], 3).value).all()


@each_case
def test_convolutional_decoders_put_out_what_heads_ask_for(case: str) -> None:
    head = head_of(case, (8, 8, 3))
    decoder: nn.Module = ConvDecoder((2,), head.in_shape, width=4)
    assert head(decoder(torch.zeros(2, 2))).log_prob(observations(head, 2, 8, 8, 3)).shape == (2,)


@each_case
def test_heads_are_rebuilt_from_their_state(case: str) -> None:
    head = head_of(case, (5,))
    again: Any = LIKELIHOODS[CASES[case][0]]((5,), **CASES[case][1]).eval()
    again.load_state_dict(head.state_dict())
    features, x = torch.randn(2, *head.in_shape), observations(head, 2, 5)
    assert_equal(again(features).log_prob(x), head(features).log_prob(x))
    assert repr(again) == repr(head)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gaussian", {"scale": 0.0}, "scale = 0.0: must be a finite number above 0"),
        (
            "gaussian",
            {"scale": 1e-3, "learn_scale": "pixel"},
            "scale = 0.001: must be a finite number above 0.001",
        ),
        (
            "gaussian",
            {"learn_scale": "all"},
            "learn_scale = 'all': must be one of 'none', 'shared', 'pixel', 'o",
        ),
        ("gaussian", {"mean": "tanh"}, "mean = 'tanh': must be one of 'identity', 'sigmoid'"),
        ("gaussian", {"min_scale": float("nan")}, "min_scale = nan: must be"),
        (
            "laplace",
            {"learn_scale": "optimal"},
            "learn_scale = 'optimal': must be one of 'none', 'shared', 'pi",
        ),
        ("student_t", {"learn_scale": "optimal"}, "learn_scale = 'optimal': must be one of"),
        ("student_t", {"df": 0.0}, "df = 0.0: must be a finite number above 0"),
        ("student_t", {"df": 1.0, "learn_df": True}, "df = 1.0: must be a finite number above 1"),
        ("categorical", {"levels": 1}, "levels = 1: must be from 2 to 65536"),
        ("discretized_logistic", {"levels": 70_000}, "levels = 70000: must be from 2 to 65536"),
        ("discretized_logistic", {"mixtures": 0}, "mixtures = 0: must be at least 1"),
        ("discretized_logistic", {"scale": 1e-5}, "scale = 1e-05: must be a finite number above"),
        (
            "negative_binomial",
            {"dispersion": "gene"},
            "dispersion = 'gene': must be one of 'feature', 'network'",
        ),
    ],
)
def test_wrong_options_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match="^" + message.replace("(", r"\(")):
        LIKELIHOODS[name]((4,), **options)


@double
@each_case
@pytest.mark.parametrize("shape", [(5,), (3, 2, 2)])
def test_log_prob_of_each_number(case: str, shape: tuple[int, ...]) -> None:
    """They add up, and each is the log_prob of a likelihood of that number alone."""
    torch.manual_seed(0)
    head = head_of(case, shape)
    if "log_theta" in dict(head.named_parameters()):  # one dispersion for each number
        head.log_theta.data[:] = 0.3
    p, x = head(torch.randn(4, 6, *head.in_shape)), observations(head, 6, *shape)
    each = log_prob_by_number(p, x)
    assert each.shape == (4, 6, *shape)
    # Tolerance: rounding of a sum of 12 numbers in float64.
    torch.testing.assert_close(each.flatten(2).sum(-1), p.log_prob(x), rtol=1e-12, atol=1e-12)
    changed = x.clone().flatten(1)
    changed[:, 1] = changed[:, 0]
    other = log_prob_by_number(p, changed.reshape(x.shape)).flatten(2)
    keep = [i for i in range(other.shape[-1]) if i != 1]
    torch.testing.assert_close(other[..., keep], each.flatten(2)[..., keep], rtol=0, atol=0)


@double
@pytest.mark.parametrize("case", ["gaussian", "gaussian, pixel", "laplace", "student t"])
def test_log_prob_of_each_standardised_number(case: str) -> None:
    head = StandardizedHead(head_of(case, (3,)), (3,))
    head.fit(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.1, 1.0, 10.0]))
    p, x = head(torch.randn(4, 2, *head.in_shape)), torch.randn(2, 3)
    torch.testing.assert_close(log_prob_by_number(p, x).sum(-1), p.log_prob(x), rtol=1e-12, atol=1e-12)
