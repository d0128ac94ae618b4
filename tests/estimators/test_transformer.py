"""Codes, rows, likelihoods and samples of :class:`VAETransformer`."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from elboroom.errors import RunWarning, UsageError
from elboroom.sklearn import VAETransformer

Array = NDArray[Any]
X: Array = load_iris().data


@pytest.fixture(scope="module")
def fitted() -> VAETransformer:
    return VAETransformer(epochs=30, random_state=0).fit(X)


def test_importing_elboroom_imports_no_scikit_learn() -> None:
    code = "import sys, elboroom, elboroom.training; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_codes_and_rows_are_those_of_the_model(fitted: VAETransformer) -> None:
    codes = fitted.transform(X)
    assert np.array_equal(codes, fitted.vae_.embed(X).numpy())
    assert np.array_equal(fitted.inverse_transform(codes), fitted.vae_.reconstruct(X).numpy())


def test_likelihoods_are_in_the_units_of_the_columns() -> None:
    """10 x has a density lower by log 10 for each of the 4 columns, if the model is the same."""
    one, ten = (VAETransformer(epochs=2, random_state=0).fit(scale * X) for scale in (1, 10))
    difference = one.score_samples(X) - ten.score_samples(10 * X)
    # standardised data, and with them all weights, differ by float32 rounding
    np.testing.assert_allclose(difference, 4 * np.log(10), atol=1e-4)


def test_scores_estimate_those_of_independent_noise(fitted: VAETransformer) -> None:
    many = clone(fitted).set_params(importance_samples=5000).fit(X)
    torch.manual_seed(1)
    nll = many.vae_.nll(X, 5000)
    error = np.abs(many.score_samples(X) + nll.value.numpy())
    # five standard errors of a difference of two independent estimates of equal size
    assert (error < 5 * np.sqrt(2) * nll.stderr.numpy() + 1e-9).all()


def test_the_seed_decides_everything_and_nothing_global_does() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one = VAETransformer(epochs=3, random_state=7).fit(X)
    drawn = one.sample(4)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(6)
    other = clone(one).fit(X)
    assert np.array_equal(one.transform(X), other.transform(X))
    assert np.array_equal(one.score_samples(X), other.score_samples(X))
    assert np.array_equal(drawn, other.sample(4))
    assert not np.array_equal(drawn, one.sample(4, random_state=8))
    third = VAETransformer(epochs=3, random_state=8).fit(X)
    assert not np.array_equal(one.transform(X), third.transform(X))


def test_samples_have_the_moments_of_the_data(fitted: VAETransformer) -> None:
    drawn = fitted.sample(20_000, random_state=1)
    np.testing.assert_allclose(drawn.mean(0), X.mean(0), atol=0.5 * X.std(0).max())
    # the noise of p(x|z) is in them: without it, they would spread less than the model says
    assert (drawn.std(0) > 0.7 * X.std(0)).all()


def test_nothing_is_printed_unless_asked(capsys: pytest.CaptureFixture[str]) -> None:
    VAETransformer(epochs=2, random_state=0).fit(X)
    assert capsys.readouterr() == ("", "")
    VAETransformer(epochs=2, random_state=0, verbose=True).fit(X)
    assert "epoch" in "".join(capsys.readouterr())


def test_names_and_frames_come_out(fitted: VAETransformer) -> None:
    pd = pytest.importorskip("pandas")
    assert fitted.get_feature_names_out().tolist() == ["vaetransformer0", "vaetransformer1"]
    frame = pd.DataFrame(X, columns=list("abcd"), index=range(100, 250))
    model = VAETransformer(epochs=2, random_state=0).set_output(transform="pandas").fit(frame)
    codes = model.transform(frame)
    assert codes.columns.tolist() == ["vaetransformer0", "vaetransformer1"]
    assert codes.index.equals(frame.index)
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(frame.rename(columns={"a": "z"}))


def test_it_runs_in_a_grid_of_pipelines_in_two_processes() -> None:
    pipeline = make_pipeline(VAETransformer(epochs=5, random_state=0), LogisticRegression())
    grid = GridSearchCV(pipeline, {"vaetransformer__n_components": [1, 2]}, cv=2, n_jobs=2)
    grid.fit(X, load_iris().target)
    assert grid.predict(X).shape == (150,)
    alone = GridSearchCV(pipeline, {"vaetransformer__n_components": [1, 2]}, cv=2).fit(X, load_iris().target)
    np.testing.assert_allclose(grid.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])


def test_the_default_length_follows_the_number_of_rows() -> None:
    model = VAETransformer()
    assert [model._config(rows, 0).training.epochs for rows in (50, 1000, 10**6)] == [200, 112, 20]
    assert [model._config(rows, 0).training.batch_size for rows in (50, 1000, 10**6)] == [32, 100, 500]
    assert [model._config(rows, 0).data.validation for rows in (99, 100)] == [0.0, 0.1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"beta": -1.0}, "beta = -1.0"),
        ({"hidden": 64}, "hidden = 64: must be a sequence of whole numbers"),
        ({"n_components": 0}, "n_components = 0"),
        ({"importance_samples": 0}, "importance_samples = 0: must be a whole number, 1 or more"),
        ({"device": "tpu"}, "tpu"),
    ],
)
def test_wrong_parameters_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        VAETransformer(**{"epochs": 1, **options}).fit(X).score(X)


def test_missing_cells_are_left_out_of_the_likelihood(fitted: VAETransformer) -> None:
    x = X[:5].copy()
    x[0, 1], x[1], x[2, 2:] = np.nan, np.nan, np.nan
    # a row without any cell is explained by every code alike: log p = log E[p(z)/q(z)] = 0, up to its error
    assert fitted.score_samples(x)[1] == pytest.approx(0, abs=0.2)
    assert np.isfinite(fitted.transform(x)).all()
    assert np.isfinite(fitted.inverse_transform(fitted.transform(x))).all()
    holes = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
    model = VAETransformer(epochs=5, random_state=0).fit(holes)
    known = ~np.isnan(holes)
    mean, deviation = np.nanmean(holes, 0), np.nanstd(holes, 0)
    columns = model.vae_.config.columns
    np.testing.assert_allclose([column.location for column in columns], mean, rtol=0.1)
    np.testing.assert_allclose([column.scale for column in columns], deviation, rtol=0.2)
    assert known.all(1).mean() < 0.5
    with pytest.raises(ValueError, match="Input X contains NaN"):
        VAETransformer(likelihood="gaussian").fit(holes)


def test_numbers_that_float32_cannot_tell_apart_are_refused() -> None:
    seconds = 1.6e9 + X
    with pytest.raises(UsageError, match=r"column x0 runs from .*subtract a constant"):
        VAETransformer(epochs=1).fit(seconds)
    with pytest.warns(RunWarning, match=r"column x0 runs from .*float32 rounds its values"):
        VAETransformer(epochs=1).fit(1e6 + X[:, :1])
