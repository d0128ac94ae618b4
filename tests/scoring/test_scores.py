"""Scores of a model of which everything is known exactly, and beside `evaluate`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.distributed.noise import SharedNoise, noise_from
from elboroom.errors import UsageError
from elboroom.evaluation import evaluate
from elboroom.models.vae import VAE
from elboroom.scoring import score
from elboroom.scoring.measures import Scores
from elboroom.scoring.scores import SCORES, default_score, score_array, score_rows

from .known import MARGINAL, gap, make_vae, observe

NAMES = ("elbo", "nll", "reconstruction")
double = pytest.mark.usefixtures("float64")


def _within(found: Scores, exact: np.ndarray[Any, Any], errors: float = 5.0) -> None:
    off = np.abs(found.value - exact)
    assert (off <= errors * found.stderr).all(), off / found.stderr


@double
def test_scores_are_the_exact_ones() -> None:
    vae, x = make_vae(), observe(6)
    q = vae.encode(x)
    evidence, rate = -MARGINAL.logpdf(x), vae.elbo(x) * 0 + _rate(q)
    elbo = evidence + gap(q, x).numpy()
    _within(score_array(vae, x, "elbo", num_samples=20_000), elbo)
    _within(score_array(vae, x, "nll", num_samples=20_000), evidence)
    reconstruction = score_array(vae, x, "reconstruction", num_samples=20_000)
    _within(reconstruction, elbo - rate.numpy())
    assert (reconstruction.stderr < 0.1).all()


def _rate(q: Any) -> torch.Tensor:
    normal = torch.distributions.Normal
    return torch.distributions.kl_divergence(normal(q.mean, q.scale), normal(0.0, 1.0)).sum(-1)


@double
def test_regret_is_the_gap_to_the_exact_posterior() -> None:
    """To 1e-3, about the standard error of so many draws; what the refinement leaves is far less."""
    vae, x = make_vae(error=0.4), observe(4)
    exact = gap(vae.encode(x), x).numpy()
    assert 0.03 < exact.min() < exact.max() / 2
    found = score_array(vae, x, "regret", num_samples=400_000)
    np.testing.assert_allclose(found.value, exact, atol=1e-3)
    assert found.stderr.max() < 1.2e-3
    _within(score_array(make_vae(), x, "regret", num_samples=500), gap(make_vae().encode(x), x).numpy())


@double
def test_refinement_finds_the_exact_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    from elboroom.latent import refinement as module

    vae, x = make_vae(), observe(20)
    with vae.at_rest():
        _, features = module.encoded(vae, torch.from_numpy(x), None)
        refined = module.refine(vae, torch.from_numpy(x), None, features, 100)
        assert gap(vae.posterior(refined), x).max() < 1e-3
        longer = module.refine(vae, torch.from_numpy(x), None, features, 300)
        assert gap(vae.posterior(longer), x).max() < 1e-8


@double
def test_regret_of_the_best_posterior_is_nothing() -> None:
    vae, x = make_vae(), observe(8)
    with torch.no_grad():
        vae.encoder.weight.zero_()
        vae.encoder.bias.zero_()
        vae.decoder.weight.zero_()  # x says nothing of z, and the best posterior is the prior
        vae.encoder.bias[2:] = np.log(np.expm1(1 - 1e-6))
    found = score_array(vae, x, "regret")
    assert (found.value >= 0).all()
    np.testing.assert_allclose(found.value, 0, atol=1e-12)
    np.testing.assert_array_equal(found.contributions.total, found.value)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(
    "options",
    [
        {"shape": (5,), "likelihood": "gaussian", "learn_scale": "pixel"},
        {"shape": (4, 4, 1)},
        {"shape": (5,), "likelihood": "student_t", "posterior": "full"},
        {"shape": (5,), "likelihood": "gaussian", "posterior": "iaf"},
        {"shape": (5,), "likelihood": "gaussian", "prior": "vamp", "prior_components": 3},
        {"shape": (5,), "likelihood": "gaussian", "posterior": "power_spherical", "prior": "sphere"},
    ],
    ids=["pixel", "image", "full", "iaf", "vamp", "sphere"],
)
def test_parts_sum_to_the_score(name: Any, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    vae = VAE.build(latent_dim=3, hidden=[16], **options)
    x = np.random.default_rng(0).random((9, *vae.shape), np.float32)
    before = {key: value.clone() for key, value in vae.state_dict().items()}
    found = score_array(vae, x, name, num_samples=30, steps=5)
    assert found.contributions.by_column.shape == x.shape
    # Tolerance: rounding of sums in float64.
    np.testing.assert_allclose(found.contributions.total, found.value, rtol=1e-12, atol=1e-12)
    assert np.isfinite(found.value).all()
    assert (found.stderr >= 0).all()
    if name == "reconstruction":
        np.testing.assert_array_equal(found.contributions.latent, 0)
    if name == "regret":
        assert (found.value >= 0).all()
        assert found.value.max() > 0
    assert all(torch.equal(before[key], value) for key, value in vae.state_dict().items())
    assert all(parameter.grad is None for parameter in vae.parameters())
    assert vae.training


@pytest.mark.parametrize("posterior", ["diagonal", "iaf"])
@pytest.mark.parametrize("network", ["mlp", "chain"])
def test_means_are_those_of_evaluate(network: str, posterior: str) -> None:
    """The same noise draws the same codes, so the numbers agree to the rounding of float32."""
    if network == "chain" and posterior == "iaf":
        pytest.skip("a hierarchy has Gaussian layers")
    torch.manual_seed(1)
    layers: dict[str, Any] = {"latent_dim": 3, "hidden": [16]}
    if network == "chain":
        layers = {"chain_dims": [2, 3], "chain_hidden": [8, 8]}
    vae = VAE.build(shape=(5,), likelihood="gaussian", posterior=posterior, network=network, **layers)
    x = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    data = Dataset("rows", x, np.zeros(40))
    batches, rows = Batches(data, torch.device("cpu")), np.arange(40)
    with noise_from(SharedNoise(7)):
        numbers = evaluate(vae, batches, rows, num_samples=50)
    for name, key in zip(NAMES, ("elbo", "nll", "distortion"), strict=True):
        ((_, found),) = score_rows(vae, batches, rows, name, num_samples=50, seed=7)  # type: ignore[arg-type]
        sign = -1 if name == "elbo" else 1
        np.testing.assert_allclose(found.value.mean(), sign * numbers[key], rtol=2e-6)
        error = np.sqrt(np.square(found.stderr).sum()) / 40
        np.testing.assert_allclose(error, numbers[f"{key}_stderr"], rtol=1e-4)


def test_a_quantiser_has_exact_scores_and_no_likelihood() -> None:
    vae = VAE.build(shape=(5,), hidden=[8], likelihood="gaussian", posterior="fsq", code_grid=(3,))
    x = np.random.default_rng(0).normal(size=(6, 5))
    found = score_array(vae.eval(), x, "elbo")
    np.testing.assert_allclose(found.value, -vae.elbo(x).numpy(), rtol=1e-6)
    np.testing.assert_array_equal(found.stderr, 0)
    np.testing.assert_allclose(found.contributions.total, found.value, rtol=1e-12)
    for name in ("nll", "regret"):
        with pytest.raises(UsageError, match=r"density.*take 'elbo' or 'reconstruction'"):
            score_array(vae, x, name)  # type: ignore[arg-type]


def test_regret_of_several_layers_is_refused() -> None:
    vae = VAE.build(shape=(5,), network="chain", chain_dims=[2, 2], chain_hidden=[8, 8])
    with pytest.raises(UsageError, match="this one has 2 stochastic layers; take 'elbo'"):
        score_array(vae, np.zeros((2, 5)), "regret")


def test_each_model_has_a_score_that_suits_it() -> None:
    image = {"shape": (4, 4, 1), "hidden": [8]}
    suits = {
        "regret": [VAE.build(**image), VAE.build(**image, posterior="iaf")],
        "elbo": [
            VAE.build(shape=(5,), hidden=[8], likelihood="gaussian"),
            VAE.build(**image, posterior="fsq", code_grid=(3,)),
            VAE.build(**image, posterior="deterministic"),
            VAE.build(shape=(4, 4, 1), network="chain", chain_dims=[2, 2], chain_hidden=[8, 8]),
        ],
    }
    for name, models in suits.items():
        for vae in models:
            assert default_score(vae) == name
            found = score_array(vae, np.zeros((2, *vae.shape)), default_score(vae), num_samples=2, steps=2)
            assert found.value.shape == (2,)


def test_no_example_changes_the_scores_of_others() -> None:
    """A row that no number fits leaves the rest as they are."""
    torch.manual_seed(0)
    vae = VAE.build(shape=(4,), latent_dim=2, hidden=[8], likelihood="gaussian")
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    odd = x.copy()
    odd[2] = 1e25  # its square overflows
    for name in SCORES:
        usual, found = (score_array(vae, each, name, num_samples=20, steps=5) for each in (x, odd))
        rest = [0, 1, 3, 4]
        np.testing.assert_allclose(found.value[rest], usual.value[rest], rtol=1e-6)
        assert not np.isfinite(found.value[2])


@pytest.mark.parametrize(
    "parts",
    [
        {"posterior": "diagonal"},
        {"posterior": "iaf"},
        {"posterior": "power_spherical", "prior": "sphere"},
        {"network": "chain", "chain_dims": [2, 3], "chain_hidden": [8, 8]},
    ],
)
def test_a_score_depends_on_its_example_alone(parts: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """In any order, in part, a few at a time, and with draws in pieces of another size."""
    torch.manual_seed(0)
    size = {} if "network" in parts else {"latent_dim": 3, "hidden": [8]}
    vae = VAE.build(shape=(4,), likelihood="gaussian", **size, **parts)
    x = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    order = np.random.default_rng(1).permutation(30)
    for name in SCORES if "network" not in parts else NAMES:
        whole = score_array(vae, x, name, num_samples=12, steps=3)
        assert len(np.unique(whole.value)) > 20
        some = score_array(vae, x[order][:7], name, num_samples=12, steps=3)
        with monkeypatch.context() as patch:
            patch.setattr("elboroom.scoring.scores._ROWS", 4)
            patch.setattr(VAE, "_most_draws", lambda _self, _x: 5)
            pieces = score_array(vae, x, name, num_samples=12, steps=3)
        for found, rows in ((some, order[:7]), (pieces, np.arange(30))):
            np.testing.assert_allclose(found.value, whole.value[rows], rtol=2e-5, atol=1e-5)
            np.testing.assert_allclose(found.stderr, whole.stderr[rows], rtol=1e-3, atol=1e-5)


def test_noise_that_is_added_to_pixels_is_that_of_the_pixel() -> None:
    vae = VAE.build(shape=(4, 4, 1), latent_dim=2, hidden=[8], likelihood="gaussian")
    x = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 1)).astype(np.uint8)
    for noise in ({"dequantize": "uniform"}, {"binarize": "stochastic"}):
        batches = Batches(Dataset("x", x, np.zeros(20), scale=255.0), torch.device("cpu"), **noise)  # type: ignore[arg-type]
        (_, whole), (_, some) = (
            next(score_rows(vae, batches, np.array(rows), "elbo", num_samples=5))
            for rows in (range(20), [13, 2])
        )
        np.testing.assert_allclose(some.value, whole.value[[13, 2]], rtol=2e-5)


@double
def test_false_alarms_of_a_model_over_50_splits() -> None:
    """Of the model's own data about one in twenty is called anomalous, and shifted data nearly always."""
    vae, x = make_vae(), observe(6000)
    value = score_array(vae, x, "elbo", num_samples=10).value
    from elboroom.scoring import conformal_threshold

    rates = []
    for seed in range(50):
        order = np.random.default_rng(seed).permutation(6000)
        rates.append((value[order[300:]] > conformal_threshold(value[order[:300]], 0.05)).mean())
    assert abs(np.mean(rates) - 0.05) < 0.02
    judged = score(vae, x[:20] + 8.0, x[20:320], score="elbo", num_samples=10)
    assert judged.anomalous.all()
    assert (judged.p_value <= 0.05).all()
    usual = score(vae, x[320:1320], x[20:320], score="elbo", num_samples=10)
    assert 0.02 < usual.anomalous.mean() < 0.08
    np.testing.assert_array_equal(usual.anomalous, usual.p_value <= 0.05)


def test_the_callers_randomness_is_left_alone() -> None:
    vae = VAE.build(shape=(3,), latent_dim=1, hidden=[4], likelihood="gaussian")
    x, state = np.zeros((2, 3)), torch.get_rng_state()
    for name in SCORES:
        first, second = (score_array(vae, x, name, num_samples=3, steps=2).value for _ in range(2))
        np.testing.assert_array_equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "loss"}, "score = 'loss': must be one of"),
        ({"score": "elbo", "num_samples": 0}, "num_samples = 0: at least 1"),
        ({"score": "regret", "steps": 0}, "steps = 0: must be at least 1"),
        ({"score": "elbo", "false_alarms": 0.001}, r"30 calibration examples hold no rate below 0\.0323"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    vae = VAE.build(shape=(3,), latent_dim=1, hidden=[4], likelihood="gaussian")
    with pytest.raises(UsageError, match=message):
        score(vae, np.zeros((2, 3)), np.zeros((30, 3)), **options)


def test_scores_of_some_examples() -> None:
    vae = VAE.build(shape=(3,), latent_dim=1, hidden=[4], likelihood="gaussian")
    found = score_array(vae, np.random.default_rng(0).normal(size=(6, 3)), "elbo", num_samples=4)
    again = Scores.joined([found[:2], found[np.array([2, 3, 4, 5])]])
    np.testing.assert_array_equal(again.value, found.value)
    np.testing.assert_array_equal(again.contributions.parts(), found.contributions.parts())


@double
def test_what_the_rate_alone_gains_is_exact() -> None:
    """Where x says nothing of z the best posterior is the prior, and the regret is the encoder's rate."""
    vae, x = make_vae(), observe(8)
    with torch.no_grad():
        vae.decoder.weight.zero_()
    found = score_array(vae, x, "regret", num_samples=3, steps=300)
    rate = _rate(vae.encode(x)).numpy()
    assert rate.min() > 0.05
    # The refined posterior is the prior to 1e-8 nats; nothing else is random.
    np.testing.assert_allclose(found.value, rate, atol=1e-6)
    np.testing.assert_allclose(found.contributions.latent, rate, atol=1e-6)
    np.testing.assert_allclose(found.stderr, 0, atol=1e-12)
