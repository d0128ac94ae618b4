"""Missing cells that :class:`VAEImputer` fills in."""

from __future__ import annotations

import numpy as np
import pytest

from elboroom.errors import UsageError
from elboroom.sklearn import VAEImputer
from elboroom.tables.imputation import impute

RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(600, 1))
X = CODES @ [[1.0, -2.0, 3.0]] + [5.0, 0.0, -1.0] + 0.3 * RNG.normal(size=(600, 3))
MISSING = RNG.random(X.shape) < 0.2
HOLES = np.where(MISSING, np.nan, X)


@pytest.fixture(scope="module")
def imputer() -> VAEImputer:
    return VAEImputer(1, random_state=0).fit(HOLES)


def test_observed_cells_stay_and_missing_ones_follow_the_others(imputer: VAEImputer) -> None:
    filled = imputer.transform(HOLES)
    assert np.array_equal(filled[~MISSING], HOLES[~MISSING])
    means = np.broadcast_to(np.nanmean(HOLES, 0), X.shape)
    error, of_means = (np.square(found - X)[MISSING].mean() for found in (filled, means))
    assert error < 0.4 * of_means
    assert np.array_equal(imputer.transform(X), X)


def test_a_row_is_filled_in_alike_alone_and_among_others(imputer: VAEImputer) -> None:
    rows = HOLES[:40].copy()
    rows[3] = rows[30] = np.nan
    together = imputer.transform(rows)
    alone = np.concatenate([imputer.transform(rows[i : i + 1]) for i in range(len(rows))])
    np.testing.assert_allclose(together, alone, rtol=1e-10)
    assert np.array_equal(together[3], together[30])


def test_it_is_the_imputation_of_the_library(imputer: VAEImputer) -> None:
    """Its means with other noise, within the error of 100 and 20,000 draws."""
    rows = HOLES[MISSING.any(1)][:20]
    found = impute(imputer.vae_, rows, 20_000)
    off = np.abs(imputer.transform(rows) - found.x) / np.where(np.isnan(found.spread), 1, found.spread)
    ess = 100 * found.ess / 20_000  # of 100 draws
    assert (off < 5 / np.sqrt(ess)[:, None]).all()


def test_multiple_imputations_vary_and_repeat(imputer: VAEImputer) -> None:
    one, two = imputer.sample(HOLES, 2)
    assert np.array_equal(one[~MISSING], HOLES[~MISSING])
    assert (one != two)[MISSING].all()
    again = imputer.sample(HOLES, 2)
    assert np.array_equal(one, again[0])
    filled = imputer.transform(HOLES)
    # draws vary about the mean as cells do given the others: 0.3 and a bit
    residual = (one - filled)[MISSING]
    assert 0.2 < residual.std() < 2
    assert np.square(X - filled)[MISSING].mean() == pytest.approx(np.square(residual).mean(), rel=0.5)


def test_columns_without_any_cell_are_refused() -> None:
    empty = X[:30].copy()
    empty[:, 1] = np.nan
    with pytest.raises(UsageError, match="column x1 has no observed cell"):
        VAEImputer(epochs=1).fit(empty)
    with pytest.raises(UsageError, match="likelihood = 'gaussian'"):
        VAEImputer(likelihood="gaussian").fit(X)


def test_names_go_through() -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(HOLES[:50], columns=list("abc"))
    assert VAEImputer(epochs=1).fit(frame).get_feature_names_out().tolist() == ["a", "b", "c"]
