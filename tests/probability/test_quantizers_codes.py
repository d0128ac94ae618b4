"""Priors over codes: normalised, causal, learnable."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator

import pytest
import torch

from elboroom.errors import UsageError
from elboroom.probability import rate
from elboroom.probability.codes import AutoregressiveCodes, UniformCodes, fit_code_prior
from elboroom.probability.quantizers import FiniteScalarQuantizer, VectorQuantizer


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(12)
        yield


def prior_of_triples() -> AutoregressiveCodes:
    """Three indices of four, with weights that are not those of the start."""
    prior = AutoregressiveCodes(VectorQuantizer((3, 2), 4), width=8, layers=2, heads=2)
    with torch.no_grad():
        prior.logits.weight.normal_()
        prior.places.normal_()
        prior.tokens.weight.normal_()
    return prior.eval()


TRIPLES = torch.tensor(list(itertools.product(range(4), repeat=3)))


def test_it_starts_uniform() -> None:
    prior = AutoregressiveCodes(VectorQuantizer((3, 2), 4), width=8, heads=2)
    # float32: three logarithms of size 1
    assert prior.log_prob_of(TRIPLES).tolist() == pytest.approx([-3 * math.log(4)] * 64, rel=1e-6)


@torch.no_grad()
def test_it_sums_to_one() -> None:
    log_p = prior_of_triples().log_prob_of(TRIPLES)
    assert log_p.std() > 0.5  # and is far from uniform
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)  # 64 terms of float32


@torch.no_grad()
def test_no_index_sees_itself_or_what_follows() -> None:
    prior = prior_of_triples()
    first, second = prior(TRIPLES[:1]), prior(torch.tensor([[0, 3, 3]]))
    torch.testing.assert_close(first[:, :2], second[:, :2])
    assert (first[:, 2] - second[:, 2]).abs().max() > 0.1


@torch.no_grad()
def test_samples_have_the_probabilities_it_says() -> None:
    prior = prior_of_triples()
    n = 20_000
    drawn = (prior.sample_indices(n) * torch.tensor([16, 4, 1])).sum(1)
    p = prior.log_prob_of(TRIPLES).exp()
    error = (p * (1 - p) / n).sqrt()
    # five standard errors, 64 comparisons
    assert ((torch.bincount(drawn, minlength=64) / n - p).abs() < 5 * error + 1e-9).all()


@torch.no_grad()
def test_codes_and_indices_are_two_names_for_one_thing() -> None:
    quantizer = VectorQuantizer((3, 2), 4)
    prior = AutoregressiveCodes(quantizer, width=8, heads=2)
    codes = quantizer.codes_of(TRIPLES)
    torch.testing.assert_close(prior.log_prob(codes), prior.log_prob_of(TRIPLES))
    assert prior.log_prob(codes.reshape(8, 8, 6)).shape == (8, 8)
    for each in (prior, UniformCodes(quantizer)):
        assert each.sample(5).shape == (5, 6)
        assert each.sample(0).shape == (0, 6)
        drawn = each.sample(5)
        assert torch.equal(quantizer.codes_of(quantizer.indices_of(drawn)), drawn)


@torch.no_grad()
def test_the_probability_of_a_residual_quantisers_indices_is_not_read_off_their_sum() -> None:
    """Encoding a sum of codes again gives other indices, whose probability may be any other."""
    quantizer = VectorQuantizer((2, 2), 4, depth=3, kmeans_steps=0).eval()
    prior = AutoregressiveCodes(quantizer, width=8, heads=2)
    prior.logits.weight.normal_()
    q = quantizer(torch.randn(5, 2, 2))
    for ask in (prior.log_prob, quantizer.indices_of):
        with pytest.raises(UsageError, match=r"depth = 3: .* prior.log_prob_of\(indices\)"):
            ask(q.mean)
    # The rate is that of the posterior's own indices, one factor at a time.
    by_hand = torch.zeros(5)
    for i in range(6):
        logits = prior(q.indices[:, :i])[:, i]
        by_hand -= logits.log_softmax(-1).gather(1, q.indices[:, i : i + 1])[:, 0]
    torch.testing.assert_close(rate(q, prior, *q.rsample_and_log_prob(1)), by_hand)
    assert by_hand.std() > 0.1
    assert UniformCodes(quantizer).log_prob(q.mean).tolist() == pytest.approx([-6 * math.log(4)] * 5)


def test_the_uniform_prior_is_uniform() -> None:
    fsq = FiniteScalarQuantizer((2, 2), [3, 5])
    prior = UniformCodes(fsq)
    assert prior.log_prob(torch.zeros(4, 7, 4)).tolist() == [[pytest.approx(-2 * math.log(15))] * 7] * 4
    assert torch.equal(prior.log_prob_of(torch.zeros(3, 2)), prior.log_prob(torch.zeros(3, 4)))
    used = torch.bincount(fsq.indices_of(prior.sample(3000)).flatten(), minlength=15)
    assert (used - 400).abs().max() < 5 * math.sqrt(400)


def test_fitting_finds_the_entropy_of_a_pattern() -> None:
    """The second index repeats the first and the third is fair: log 4 + 0 + log 4 nats, and no fewer."""
    first, third = torch.randint(4, (2, 600))
    indices = torch.stack([first, first, third], 1)
    prior = AutoregressiveCodes(VectorQuantizer((3, 2), 4), width=16, layers=1, heads=2)
    history = fit_code_prior(prior, indices, epochs=12, batch_size=50, lr=5e-3)
    entropy = 2 * math.log(4)
    assert history[0] > history[-1]
    # the empirical entropy of 600 draws is below the true by about 15/1200
    assert entropy - 0.05 < history[-1] < entropy + 0.1
    assert (prior.sample_indices(200)[:, :2].diff() == 0).float().mean() > 0.9


def test_gradients_reach_the_prior_and_nothing_else() -> None:
    quantizer = VectorQuantizer((3, 2), 4).train()
    features = torch.randn(5, 3, 2, requires_grad=True)
    prior = AutoregressiveCodes(quantizer, width=8, heads=2)
    (-prior.log_prob_of(quantizer(features).indices)).sum().backward()
    assert features.grad is None
    assert prior.logits.weight.grad is not None


def test_copies_have_a_quantizer_of_their_own() -> None:
    quantizer = VectorQuantizer((3, 2), 4)
    pair = copy.deepcopy(torch.nn.ModuleList([quantizer, AutoregressiveCodes(quantizer, width=8, heads=2)]))
    assert pair[1].quantizer is pair[0]
    assert not any("codebooks" in name for name in pair[1].state_dict())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="width = 9 with heads = 2"):
        AutoregressiveCodes(VectorQuantizer((3, 2), 4), width=9, heads=2)
    prior = AutoregressiveCodes(VectorQuantizer((3, 2), 4), width=8, heads=2)
    with pytest.raises(UsageError, match=r"shape \(0, 3\); the prior takes \(n, 3\)"):
        fit_code_prior(prior, TRIPLES[:0])
