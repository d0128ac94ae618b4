"""The detector's own choices: scales, units of the score, components, training."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.metrics import roc_auc_score
from sklearn.mixture import GaussianMixture

from elboroom.config import Config
from elboroom.config.columns import Column
from elboroom.data import Dataset
from elboroom.data.column_fits import fitted_column
from elboroom.errors import RunWarning, UsageError
from elboroom.probability.mixed import MixedHead
from elboroom.sklearn import VAEAnomalyDetector, VAETransformer
from elboroom.sklearn.copies import perturbed, with_copies
from elboroom.sklearn.normal import has_heavy_tails, made_normal, steep_beyond


def skewed(n: int, seed: int) -> np.ndarray:
    """Two columns of which the second is log-normal and depends on the first, and one of two values."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=n)
    return np.stack([a, np.exp(a + 0.3 * rng.normal(size=n)), rng.integers(2, size=n)], 1)


def test_slopes_are_the_logarithms_of_the_derivatives_that_scipy_knows() -> None:
    cells = np.exp(np.random.default_rng(0).normal(size=400))
    kinds = [("real", "gaussian"), ("positive", "log_normal"), ("count", "negative_binomial")]
    columns = [fitted_column(Column(name=k, kind=k, family=f), cells.round() + 1) for k, f in kinds]  # type: ignore[arg-type]
    columns.append(Column(name="job", kind="category", categories=("a", "b")))
    head = MixedHead((4,), columns=columns).double()
    x = torch.tensor([[1.5, 2.5, 3, 1], [np.nan, 0.5, np.nan, 0]], dtype=torch.float64)
    found = head.log_slopes(x).numpy()
    real, positive = columns[0].scale, columns[1].scale
    # of y = (x − m)/s and y = (log x − m)/s, as the ratio of scipy's densities of x and of y
    one = stats.norm(columns[0].location, real).logpdf(1.5) - stats.norm.logpdf(
        (1.5 - columns[0].location) / real
    )
    y = (np.log(2.5) - columns[1].location) / positive
    two = stats.lognorm(positive, scale=np.exp(columns[1].location)).logpdf(2.5) - stats.norm.logpdf(y)
    np.testing.assert_allclose(found[0], [one, two, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found[1], [0, -np.log(positive * 0.5), 0, 0], atol=1e-6)


def test_heavy_tails_are_those_of_skewness_or_kurtosis_beyond_the_limits() -> None:
    rng = np.random.default_rng(0)
    assert not has_heavy_tails(rng.normal(size=1000))
    assert not has_heavy_tails(rng.uniform(size=1000))
    assert has_heavy_tails(rng.exponential(size=1000))  # skewness 2
    assert has_heavy_tails(stats.laplace.rvs(size=5000, random_state=0))  # kurtosis 6, skewness 0
    assert not has_heavy_tails((rng.random(1000) < 0.05).astype(float))  # two values
    assert not has_heavy_tails(np.full(50, np.nan))
    assert has_heavy_tails(np.append(rng.exponential(size=500), [np.nan] * 20))


def test_only_heavy_columns_of_undeclared_family_become_quantiles() -> None:
    x = skewed(500, 0)
    columns = [Column(name=name, kind="real") for name in "abc"]
    assert [c.family for c in made_normal(columns, x, ())] == ["gaussian", "quantile", "gaussian"]
    assert [c.family for c in made_normal(columns, x, ("b",))] == ["gaussian"] * 3
    detector = VAEAnomalyDetector(epochs=1, random_state=0).fit(x)
    assert [column.family for column in detector.columns_] == ["gaussian", "quantile", "gaussian"]
    detector = VAEAnomalyDetector(epochs=1, random_state=0, kinds={"x1": "positive"}).fit(x)
    assert [column.family for column in detector.columns_] == ["gaussian", "log_normal", "gaussian"]
    detector = VAEAnomalyDetector(epochs=1, random_state=0, normalize=False).fit(x)
    assert [column.family for column in detector.columns_] == ["gaussian"] * 3


def test_beyond_the_training_rows_a_long_tail_rises_as_if_standardised() -> None:
    """There k deviations are k units; within the rows, and where the line is steeper, nothing changes."""
    cells = np.exp(np.random.default_rng(0).normal(size=300))
    fitted = fitted_column(Column(name="a", kind="real", family="quantile"), cells)
    (steep,) = steep_beyond([fitted])
    head, before = (MixedHead((1,), columns=[c]).double().families[0] for c in (steep, fitted))
    x = torch.tensor([cells.max(), cells.max() + 3 * fitted.scale, cells.max() + 4 * fitted.scale])[
        :, None
    ].double()
    y = head.standardized(x)[0]
    assert (y[1:] - y[0]).flatten().tolist() == pytest.approx([3, 4], rel=1e-4)
    assert float(before.standardized(x)[0][2] - before.standardized(x)[0][0]) < 2
    inner = torch.tensor(np.append(np.sort(cells), -0.5))[
        :, None
    ]  # below the least cell it is steeper anyway
    torch.testing.assert_close(head.standardized(inner)[0], before.standardized(inner)[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(head.original(y), x, rtol=1e-4, atol=0)
    real = Column(name="b", kind="real")
    assert steep_beyond([real]) == (real,)
    trained = [
        VAEAnomalyDetector(epochs=1, random_state=0, noise=noise).fit(skewed(200, 0)) for noise in (0, None)
    ]
    for detector in trained:
        low, high = detector.columns_[1].knots[-2:]
        assert high - low == pytest.approx(detector.columns_[1].scale)


def test_scores_are_log_densities_of_standardised_numbers() -> None:
    """−log p(x) of the model, and log dy/dx of its columns, from their knots and scales."""
    x = skewed(400, 0)
    detector = VAEAnomalyDetector(epochs=3, random_state=0).fit(x)
    rows = np.array([[0.3, 1.4, 1.0], [np.nan, 30.0, 0.0]])
    own = VAETransformer(random_state=0, epochs=1).fit(x)
    own.vae_, own._noise_seed, own.columns_ = detector.vae_, detector._noise_seed, detector.columns_
    heavy = detector.columns_[1]
    knots, levels = np.array(heavy.knots), np.array(heavy.levels)
    piece = np.clip(np.searchsorted(knots, rows[:, 1]) - 1, 0, len(knots) - 2)
    slopes = np.log(np.diff(levels)[piece] / np.diff(knots)[piece])
    slopes -= np.log(detector.columns_[0].scale) * ~np.isnan(rows[:, 0]) + np.log(detector.columns_[2].scale)
    np.testing.assert_allclose(detector.score_samples(rows), own.score_samples(rows) - slopes, rtol=1e-6)
    np.testing.assert_allclose(detector.contributions(rows).sum(1), detector.score_samples(rows), rtol=1e-12)
    assert detector.contributions(rows)[1, 0] == 0


def test_scores_do_not_depend_on_the_units_of_columns() -> None:
    x = skewed(300, 0)
    one = VAEAnomalyDetector(epochs=5, random_state=0).fit(x)
    other = VAEAnomalyDetector(epochs=5, random_state=0).fit(x * [1000, 0.001, 1])
    np.testing.assert_allclose(one.score_samples(x), other.score_samples(x * [1000, 0.001, 1]), atol=0.02)


def test_components_come_from_the_number_of_columns() -> None:
    rng = np.random.default_rng(0)
    for columns, wanted in ((1, 2), (6, 3), (40, 8)):
        detector = VAEAnomalyDetector(epochs=1, random_state=0).fit(rng.normal(size=(200, columns)))
        assert detector.vae_.latent_dim == wanted
    assert VAEAnomalyDetector(5, epochs=1, random_state=0).fit(rng.normal(size=(200, 3))).vae_.latent_dim == 5


def test_the_signature_names_every_parameter_and_keeps_its_order_and_defaults() -> None:
    base, own = (inspect.signature(each.__init__).parameters for each in (VAETransformer, VAEAnomalyDetector))
    assert [*base] == [*own][: len(base)]
    assert {
        "observation_scale",
        "least_scale",
        "normalize",
        "noise",
        "false_alarm_rate",
        "calibration_fraction",
    } == {*own} - {*base}
    assert own["n_components"].default is None
    assert (own["hidden"].default, own["activation"].default) == ((128, 128), base["activation"].default)
    detector = VAEAnomalyDetector(3, beta=0.5, least_scale=0.2)
    assert clone(detector).get_params() == detector.get_params()
    assert (detector.get_params()["beta"], detector.get_params()["least_scale"]) == (0.5, 0.2)
    with pytest.raises(TypeError, match="betta"):
        VAEAnomalyDetector(betta=2)


def test_a_saved_detector_judges_as_before(tmp_path: Path) -> None:
    x = skewed(200, 0)
    detector = VAEAnomalyDetector(epochs=2, random_state=0).fit(x)
    detector.save(tmp_path / "detector")
    loaded = VAEAnomalyDetector.load(tmp_path / "detector")
    assert np.array_equal(loaded.score_samples(x), detector.score_samples(x))
    assert loaded.offset_ == detector.offset_


def test_it_finds_rows_that_a_mixture_of_normals_says_are_odd() -> None:
    """Half of the columns of an odd row come from another; the density is known, and is the ceiling."""
    rng = np.random.default_rng(3)
    truth = GaussianMixture(3, random_state=0).fit(rng.normal(size=(60, 6)) @ rng.normal(size=(6, 6)))
    x = truth.sample(900)[0][rng.permutation(900)]
    odd = x[600:].copy()
    odd[:, :3] = odd[rng.permutation(300), :3]
    rows, label = np.concatenate([x[300:600], odd]), np.repeat([0, 1], 300)
    found = VAEAnomalyDetector(epochs=100, random_state=0).fit(x[:300]).score_samples(rows)
    best = roc_auc_score(label, -truth.score_samples(rows))
    assert roc_auc_score(label, -found) > best - 0.06


def test_noise_is_that_of_standardised_numbers_and_leaves_other_cells_alone() -> None:
    rng = np.random.default_rng(0)
    cells = np.stack([5 + 2 * rng.normal(size=4000), np.exp(rng.normal(size=4000)), rng.poisson(3, 4000)], 1)
    cells[:7, 0] = np.nan
    kinds = [("real", "gaussian"), ("positive", "log_normal"), ("count", "negative_binomial")]
    columns = tuple(
        fitted_column(Column(name=kind, kind=kind, family=family), cells[:, i])  # type: ignore[arg-type]
        for i, (kind, family) in enumerate(kinds)
    )
    found = perturbed(cells, columns, 0.2, np.random.default_rng(1))
    assert np.array_equal(np.isnan(found), np.isnan(cells))
    assert np.array_equal(found[:, 2], cells[:, 2])
    moved = (found[7:, 0] - cells[7:, 0]) / columns[0].scale
    logs = np.log(found[:, 1] / cells[:, 1]) / columns[1].scale
    for noise in (moved, logs):
        assert stats.kstest(noise, stats.norm(0, 0.2).cdf).pvalue > 0.01
    assert abs(np.corrcoef(moved, logs[7:])[0, 1]) < 0.05
    plain = perturbed(cells[7:], (), 0.2, np.random.default_rng(1))
    assert (plain - cells[7:]).std(0) == pytest.approx(0.2 * cells[7:].std(0), rel=0.05)


def test_copies_keep_the_columns_the_passes_and_the_rows_held_out() -> None:
    x = skewed(100, 0).astype(np.float32)
    columns = tuple(Column(name=name, kind="real") for name in "abc")
    data = Dataset("X", x, np.zeros(100, np.uint8), published_split=True, columns=columns)
    config = Config().updated(epochs=400, validation=0.2, patience=50, batch_size=32)
    noisy, changed = with_copies(data, config, 0.1)
    assert (changed.training.epochs, changed.training.patience, changed.data.validation) == (20, 3, 0)
    train, held_out = noisy.indices("train"), noisy.indices("validation")
    assert (len(train), len(held_out)) == (20 * 80, 20)
    known = {tuple(row) for row in x.tolist()}
    assert {tuple(row) for row in noisy.x[held_out].tolist()} <= known
    assert not {tuple(row) for row in noisy.x[train].tolist()} & known
    mean = np.asarray(noisy.x[train]).reshape(20, 80, 3).mean(0)
    assert np.abs(mean - x[:, None]).sum(-1).min(0).max() < 0.5  # each is near its row
    own = x[data.with_validation(0.2, 0).indices("train")]
    assert [c.location for c in changed.model.columns] == pytest.approx(own.mean(0), rel=1e-5)
    few, changed = with_copies(data, config.updated(epochs=3), 0.1)
    assert (changed.training.epochs, len(few.indices("train"))) == (3, 80)


def test_noise_keeps_a_model_of_few_rows_from_overfitting() -> None:
    """New wines of the same kinds score nearly as high as those trained on."""
    wines, kinds = load_wine(return_X_y=True)
    wines = np.random.default_rng(0).permutation(wines[kinds < 2])
    x, new = wines[:60], wines[60:]
    gaps = []
    for noise in (0.0, None):
        detector = VAEAnomalyDetector(noise=noise, epochs=200, hidden=(64,), random_state=0)
        with pytest.warns(RunWarning, match="12 rows"):
            detector.fit(x)
        gaps.append(np.median(detector.score_samples(x)) - np.median(detector.score_samples(new)))
    assert gaps[1] < 0.6 * gaps[0]


@pytest.mark.parametrize("noise", [-0.1, np.inf, "much", True])
def test_other_noise_is_refused(noise: object) -> None:
    with pytest.raises(UsageError, match=r"noise = .*: must be a number, 0 or more, or None"):
        VAEAnomalyDetector(noise=noise).fit(skewed(50, 0))


@pytest.mark.parametrize(
    ("name", "value"), [("normalize", True), ("least_scale", 0.1), ("observation_scale", "cell")]
)
def test_choices_that_one_likelihood_for_all_columns_does_not_have_are_refused(
    name: str, value: object
) -> None:
    wanted = f"{name} = {value!r}: likelihood = 'gaussian' is one for all columns"
    with pytest.raises(UsageError, match=wanted):
        VAEAnomalyDetector(likelihood="gaussian", **{name: value}).fit(skewed(50, 0))
    VAEAnomalyDetector(likelihood="gaussian", normalize=False, epochs=1).fit(skewed(100, 0))
