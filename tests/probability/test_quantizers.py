"""Quantisers against their definitions, brute force and vector-quantize-pytorch."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.networks import MLP
from elboroom.probability.codebooks import Codebook, perplexity
from elboroom.probability.codes import UniformCodes
from elboroom.probability.quantizers import FiniteScalarQuantizer, VectorQuantizer

# float32 rounds at 6e-8 relative; sums here have at most a few dozen terms of size about 1.
FLOAT32 = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(11)
        yield


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, **FLOAT32)


def quantizer(size: int = 5, dim: int = 3, places: int = 4, **options: float) -> VectorQuantizer:
    return VectorQuantizer((places, dim), size, **{"kmeans_steps": 0, **options})  # type: ignore[arg-type]


def book_of(vq: VectorQuantizer, i: int = 0) -> Codebook:
    book = vq.codebooks[i]
    assert isinstance(book, Codebook)
    return book


# The vector quantiser


def test_each_vector_gets_its_nearest_code() -> None:
    vq, features = quantizer().eval(), torch.randn(6, 4, 3)
    q = vq(features)
    codes = book_of(vq).codes
    nearest = torch.cdist(features, codes, compute_mode="donot_use_mm_for_euclid_dist").argmin(-1)
    assert torch.equal(q.indices, nearest)
    assert torch.equal(q.mean, codes[nearest].reshape(6, 12))  # exactly codes, bit for bit
    assert torch.equal(vq.codes_of(q.indices), q.mean)
    assert torch.equal(vq.indices_of(q.mean), q.indices)


def test_the_gradient_goes_straight_through_and_the_commitment_pulls() -> None:
    """∂/∂v of f(code) + β‖v − sg(code)‖² is f'(code) + 2β(v − code) (arXiv:1711.00937 eq. 3)."""
    vq = quantizer(commitment=0.7).eval()
    features, direction = torch.randn(6, 4, 3, requires_grad=True), torch.randn(6, 12)
    q = vq(features)
    ((q.mean**2 * direction).sum() + q.loss.sum()).backward()
    code = q.mean.detach()
    expected = 2 * code * direction + 2 * 0.7 * (features.detach().flatten(1) - code)
    assert features.grad is not None
    close(features.grad.flatten(1), expected)
    assert not list(vq.parameters())  # nothing for an optimiser
    squares = (features.detach().flatten(1) - code).square().sum(1)
    close(q.loss.detach(), 0.7 * squares)


def test_codes_follow_the_running_means_of_what_chose_them() -> None:
    vq = quantizer(decay=0.8, revive_below=0).train()
    book = book_of(vq)
    codes, usage, sums = book.codes.clone(), torch.ones(5), book.codes.clone()
    for _ in range(3):
        features = torch.randn(6, 4, 3)
        vectors = features.reshape(-1, 3)
        chosen = torch.cdist(vectors, codes).argmin(1)
        vq(features)
        for k in range(5):
            mine = vectors[chosen == k]
            usage[k] = 0.8 * usage[k] + 0.2 * len(mine)
            sums[k] = 0.8 * sums[k] + 0.2 * mine.sum(0)
        smoothed = (usage + 1e-5) / (usage.sum() + 5e-5) * usage.sum()
        codes = sums / smoothed[:, None]
        close(book.codes, codes)


def test_rarely_used_codes_are_smoothed() -> None:
    """Code k is sum / smoothed usage, (n_k + ε)/(Σn + Kε) · Σn with ε = 1e-5 (arXiv:1711.00937 appendix A.1).

    Where a usage is 1e-5 itself, that halves the code.
    """
    vq = quantizer(size=3, dim=2, decay=0.0, revive_below=0).train()
    book = book_of(vq)
    book.decay = 1.0  # nothing new: what is there is divided
    book.usage.copy_(torch.tensor([1e-5, 2.0, 6.0]))
    book.sums.copy_(torch.tensor([[2e-5, -4e-5], [1.0, 3.0], [6.0, 0.6]]))
    book.follow(torch.zeros(4, 2), torch.zeros(4, dtype=torch.long))
    # Σn/(Σn + Kε) and ε beside 2 are less than 1e-5 from 1.
    expected = torch.tensor([[1.0, -2.0], [0.5, 1.5], [1.0, 0.1]])
    torch.testing.assert_close(book.codes, expected, rtol=1e-5, atol=0)


def test_the_running_averages_are_those_of_vector_quantize_pytorch() -> None:
    theirs = pytest.importorskip("vector_quantize_pytorch").VectorQuantize(
        dim=3, codebook_size=5, decay=0.8, rotation_trick=False, commitment_weight=1.0
    )
    vq = quantizer(decay=0.8, revive_below=0, commitment=1.0).train()
    ours = book_of(vq)
    theirs._codebook.embed.copy_(ours.codes[None])
    theirs._codebook.embed_avg.copy_(ours.codes[None])
    for _ in range(4):
        features = torch.randn(6, 4, 3)
        q = vq(features)
        code, indices, loss = theirs(features)
        assert torch.equal(q.indices, indices)
        close(q.mean, code.flatten(1))
        close(q.loss.mean() / 12, loss)  # theirs is a mean over numbers, ours a sum over an example's
        close(ours.codes, theirs.codebook)


def test_evaluation_changes_nothing() -> None:
    vq = quantizer(kmeans_steps=5).eval()
    before = copy.deepcopy(vq.state_dict())
    vq(torch.randn(6, 4, 3))
    assert all(torch.equal(before[name], value) for name, value in vq.state_dict().items())


def test_kmeans_starts_in_the_clusters() -> None:
    centers = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])
    # From 6 codes on 3 far clusters of equal size, at least one start lies in each with this seed.
    vectors = (centers.repeat(40, 1) + 0.01 * torch.randn(120, 2)).reshape(30, 4, 2)
    vq = VectorQuantizer((4, 2), 6, revive_below=0, decay=0.0).train()
    q = vq(vectors)
    # 0.01 of noise, and codes that are means of vectors
    assert (q.mean.reshape(vectors.shape) - vectors).detach().abs().max() < 0.1
    assert bool(book_of(vq).started)


def test_kmeans_takes_fewer_vectors_than_codes() -> None:
    vq = VectorQuantizer((1, 2), 50).train()
    q = vq(torch.randn(7, 1, 2))
    assert torch.isfinite(q.mean).all()
    assert torch.isfinite(book_of(vq).codes).all()


def test_dead_codes_come_back_among_the_vectors() -> None:
    vq = quantizer(size=16, dim=2, decay=0.5, revive_below=0.1).train()
    book_of(vq).codes[1:] = 1000.0  # nobody's nearest
    book_of(vq).sums[1:] = 1000.0
    used = []
    for _ in range(20):
        used.append(vq(torch.randn(32, 4, 2)).perplexity.item())
    assert used[0] == pytest.approx(1.0)
    # 16 codes used evenly have a perplexity of 16; random ones on a normal use more than half of that
    assert used[-1] > 8


def test_perplexity_of_known_histograms() -> None:
    assert perplexity(torch.tensor([3.0, 3, 3, 3, 0])).item() == pytest.approx(4)
    assert perplexity(torch.tensor([7.0, 0, 0])).item() == pytest.approx(1)
    # ½, ¼, ¼ has an entropy of 1.5 bits
    assert perplexity(torch.tensor([2.0, 1, 1])).item() == pytest.approx(2**1.5)


def test_training_goes_on_bit_for_bit_from_the_saved_state() -> None:
    batches = torch.randn(6, 8, 4, 3)
    one = VectorQuantizer((4, 3), 7, decay=0.9, revive_below=0.5, depth=2).train()
    for batch in batches[:3]:
        one(batch)
    noise, state = torch.get_rng_state(), copy.deepcopy(one.state_dict())
    for batch in batches[3:]:
        one(batch)
    other = VectorQuantizer((4, 3), 7, decay=0.9, revive_below=0.5, depth=2).train()
    other.load_state_dict(state)
    torch.set_rng_state(noise)
    for batch in batches[3:]:
        other(batch)
    assert all(torch.equal(one.state_dict()[name], value) for name, value in other.state_dict().items())


def test_an_unstarted_state_makes_a_started_codebook_start_again() -> None:
    vq = VectorQuantizer((4, 3), 7).train()
    fresh = copy.deepcopy(vq.state_dict())
    vq(torch.randn(8, 4, 3))
    vq.load_state_dict(fresh)
    assert not book_of(vq).started
    vq(torch.randn(8, 4, 3))
    assert book_of(vq).started


# Residual


def test_each_codebook_quantises_what_the_last_left_over() -> None:
    vq, features = quantizer(depth=3).eval(), torch.randn(6, 4, 3)
    q = vq(features)
    rest, total, loss = features, torch.zeros(6, 4, 3), torch.zeros(6)
    for i in range(3):
        codes = book_of(vq, i).codes
        code = codes[torch.cdist(rest, codes).argmin(-1)]
        rest, total = rest - code, total + code
        loss = loss + 0.25 * rest.square().sum((1, 2))
    close(q.mean, total.flatten(1))
    close(q.loss, loss)
    assert q.indices.shape == (6, 12)
    close(vq.codes_of(q.indices), q.mean)


def test_deeper_is_closer_after_training_on_the_same_vectors() -> None:
    features = torch.randn(200, 4, 3)
    errors = []
    for depth in (1, 2, 3):
        vq = VectorQuantizer((4, 3), 8, depth=depth, decay=0.5).train()
        for _ in range(20):
            vq(features)
        errors.append((vq.eval()(features).mean - features.flatten(1)).square().mean().item())
    assert errors[0] > 1.5 * errors[1] > 2.25 * errors[2]


# Finite scalars


def test_fsq_is_that_of_vector_quantize_pytorch() -> None:
    levels = [8, 5, 4, 3]
    theirs = pytest.importorskip("vector_quantize_pytorch").FSQ(levels)
    features = (3 * torch.randn(50, 6, 4)).requires_grad_()
    q, (code, indices) = FiniteScalarQuantizer((6, 4), levels)(features), theirs(features)
    close(q.mean, code.flatten(1))
    assert torch.equal(q.indices, indices.long())
    weights = torch.randn(50, 24)
    ours = torch.autograd.grad((q.mean * weights).sum(), features)[0]
    close(ours, torch.autograd.grad((code.flatten(1) * weights).sum(), features)[0])


def test_fsq_reaches_all_its_codes_and_names_them_apart() -> None:
    levels = [3, 4, 5]
    fsq = FiniteScalarQuantizer((1, 3), levels)
    grid = torch.linspace(-6, 6, 121)  # tanh(6) is 1 to 1e-5, within the margin of 1e-3
    features = torch.stack([torch.cartesian_prod(grid[::4], grid[::4], grid[::4])], 1)
    q = fsq(features)
    assert torch.equal(q.indices.unique(), torch.arange(60))
    everything = torch.arange(60)[:, None]
    values = [[(step - level // 2) / (level // 2) for step in range(level)] for level in levels]
    expected = {tuple(np.float32(v) for v in reversed(c)) for c in itertools.product(*reversed(values))}
    assert {tuple(np.float32(c)) for c in fsq.codes_of(everything).tolist()} == expected
    assert torch.equal(fsq.indices_of(fsq.codes_of(everything)), everything)
    assert torch.equal(q.loss, torch.zeros(len(features)))


@pytest.mark.parametrize("level", [3, 4, 255, 256])
def test_fsq_has_no_level_too_many(level: int) -> None:
    fsq = FiniteScalarQuantizer((1, 1), [level])
    indices = fsq(torch.tensor([[[-1e4]], [[1e4]], [[0.0]]])).indices
    assert indices.flatten().tolist() == [0, level - 1, level // 2]


# In a VAE


def model(head: VectorQuantizer | FiniteScalarQuantizer) -> VAE:
    return VAE(
        MLP((6,), head.in_shape, [16]),
        MLP((head.latent_dim,), (6,), [16]),
        UniformCodes(head),
        shape=(6,),
        posterior=head,
        scale=1.0,
    )


HEADS = {
    "vq": lambda: VectorQuantizer((4, 2), 8),
    "residual": lambda: VectorQuantizer((4, 2), 8, depth=2),
    "fsq": lambda: FiniteScalarQuantizer((4, 2), [5, 3]),
}
each_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)


@each_head
def test_the_rate_is_what_it_takes_to_name_the_codes(head) -> None:
    vae, x = model(head()), torch.rand(9, 6)
    terms = vae(x, 2)
    nats = {"VectorQuantizer": math.log(8), "FiniteScalarQuantizer": math.log(15)}[
        type(vae.posterior).__name__
    ] * vae.posterior.num_indices
    close(terms.rate, torch.full((9,), nats))
    assert terms.z.shape == (2, 9, 8)
    close(terms.log_weights, terms.log_likelihood - nats)
    assert vae.sample(3).shape == (3, 6)
    assert torch.equal(vae.embed(x), vae.embed(x))


def test_the_elbo_bounds_the_evidence_summed_over_all_codes() -> None:
    """Log p(x) = log Σ p(code) p(x|code), exactly, with 3 · 3 codes; the ELBO is one of its terms."""
    vae, x = model(FiniteScalarQuantizer((1, 2), [3, 3])), torch.bernoulli(torch.full((5, 6), 0.5))
    codes = vae.posterior.codes_of(torch.arange(9)[:, None])
    log_joint = vae.decode(codes[:, None].expand(9, 5, 2)).log_prob(x) - math.log(9)
    evidence = torch.logsumexp(log_joint, 0)
    assert (vae.elbo(x) <= evidence).all()
    chosen = vae.encode(x).indices.flatten()
    close(vae.elbo(x), log_joint[chosen, torch.arange(5)])


@each_head
def test_a_model_learns_through_it(head) -> None:
    vae = model(head()).train()
    x = torch.bernoulli(torch.full((8, 6), 0.5)).repeat(8, 1)
    optimizer = torch.optim.Adam(vae.parameters(), 1e-2)
    distortions = []
    for _ in range(150):
        terms = vae(x)
        loss = terms.distortion.mean() + terms.posterior.loss.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        distortions.append(terms.distortion.mean().item())
    # 8 different rows of 6 fair coins: 4.2 nats to begin with, and codes enough to know them all
    assert distortions[0] > 4
    assert distortions[-1] < 1


@each_head
def test_half_precision_networks_leave_the_codes_in_full(head) -> None:
    vae, x = model(head()), torch.rand(16, 6)
    with torch.autocast("cpu", torch.bfloat16):
        q = vae.posterior(vae.encoder(x).float())
    assert q.mean.dtype == torch.float32
    assert all(b.dtype == torch.float32 for b in vae.posterior.buffers() if b.is_floating_point())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VectorQuantizer((16,)), r"in_shape = \(16,\): a quantiser takes vectors on a grid"),
        (lambda: VectorQuantizer((4, 2), 1), "codebook_size = 1: at least 2"),
        (lambda: VectorQuantizer((4, 2), 8, depth=0), "depth = 0: at least 1"),
        (lambda: VectorQuantizer((4, 2), 8, decay=1.0), r"decay = 1.0: must be at least 0 and below 1"),
        (lambda: VectorQuantizer((4, 2), 8, commitment=-1.0), r"commitment = -1.0: must be at least 0"),
        (lambda: FiniteScalarQuantizer((4, 2), [5]), r"levels = \[5\]: give one for each of the 2"),
        (lambda: FiniteScalarQuantizer((4, 1), [2]), r"levels = \[2\]: each must be from 3 to 256"),
    ],
)
def test_what_cannot_be_is_refused(make, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


def test_the_modules_move_and_copy_like_others() -> None:
    vae = copy.deepcopy(model(VectorQuantizer((4, 2), 8))).double()
    assert vae.prior.quantizer is vae.posterior  # the copy's, not the original's
    assert vae.embed(np.zeros((2, 6))).dtype == torch.float64
    assert not any(name.startswith("prior.") for name in vae.state_dict())
    assert isinstance(vae.posterior, nn.Module)
