"""Data frames of columns of all kinds, with holes, in and out of the estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from elboroom.errors import UsageError
from elboroom.sklearn import VAEAnomalyDetector, VAEImputer, VAETransformer

pd = pytest.importorskip("pandas")


def people(n: int = 200, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    job = rng.integers(0, 3, n)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, n),
            "pay": np.exp(rng.normal(7 + job, 0.3)).round(2),
            "job": np.array(["cook", "nurse", "smith"])[job],
            "grade": pd.Categorical(np.array([10, 20, 30])[job], ordered=True),
            "here": rng.random(n) < 0.3,
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), unit="D"),
            "visits": pd.array(rng.poisson(3, n), dtype="Int64"),
        },
        index=range(1000, 1000 + n),
    )
    for name, hole in (("pay", np.nan), ("job", None), ("grade", None), ("day", pd.NaT), ("visits", pd.NA)):
        frame.loc[rng.random(n) < 0.1, name] = hole
    return frame


PEOPLE = people()


@pytest.fixture(scope="module")
def model() -> VAETransformer:
    return VAETransformer(epochs=5, random_state=0).fit(PEOPLE)


def test_columns_are_what_they_hold_and_numbers_real(model: VAETransformer) -> None:
    kinds = {column.name: column.kind for column in model.columns_}
    assert kinds == {
        **dict.fromkeys(("age", "pay", "visits"), "real"),
        **{"job": "category", "grade": "ordinal", "here": "boolean", "day": "datetime"},
    }
    inferred = VAETransformer(epochs=1, kinds="infer", random_state=0).fit(PEOPLE)
    assert {c.name: c.kind for c in inferred.columns_}["visits"] == "count"
    said = VAETransformer(epochs=1, kinds={"pay": "positive", "age": "ignored"}, random_state=0).fit(PEOPLE)
    assert {c.name: c.kind for c in said.columns_}["pay"] == "positive"
    assert "age" not in said.sample(2)
    with pytest.raises(UsageError, match="no column 'colour'"):
        VAETransformer(kinds={"colour": "category"}).fit(PEOPLE)


def test_rows_come_out_in_the_types_and_categories_that_went_in(model: VAETransformer) -> None:
    for rows in (model.sample(50), model.inverse_transform(model.transform(PEOPLE))):
        assert (rows.dtypes == PEOPLE.dtypes).all()
        assert rows["grade"].cat.categories.tolist() == [10, 20, 30]
        assert set(rows["job"]) <= {"cook", "nurse", "smith"}
        assert not rows.isna().any().any()


def test_imputed_frames_keep_what_was_observed_and_lose_every_hole() -> None:
    imputer = VAEImputer(epochs=50, random_state=0).fit(PEOPLE)
    for filled in (imputer.transform(PEOPLE), *imputer.sample(PEOPLE, 2)):
        assert not filled.isna().any().any()
        assert (filled.dtypes == PEOPLE.dtypes).all()
        assert filled.index.equals(PEOPLE.index)
        for name in PEOPLE:
            known = PEOPLE[name].notna()
            assert (filled[name][known] == PEOPLE[name][known]).all()
    one = imputer.transform(PEOPLE)
    missing = PEOPLE["job"].isna() & PEOPLE["grade"].notna()
    right = one["job"][missing].map({"cook": 10, "nurse": 20, "smith": 30}).astype(int)
    assert (right == PEOPLE["grade"][missing].astype(int)).mean() > 0.8  # the grade tells the job
    assert imputer.set_output(transform="pandas").transform(PEOPLE).columns.tolist() == [*PEOPLE]


def test_columns_that_are_not_modelled_pass_through_the_imputer() -> None:
    imputer = VAEImputer(epochs=1, kinds={"age": "ignored"}, random_state=0).fit(PEOPLE)
    assert (imputer.transform(PEOPLE)["age"] == PEOPLE["age"]).all()


def test_an_unknown_category_is_refused_or_missing(model: VAETransformer) -> None:
    new = PEOPLE.head(3).copy()
    new.loc[1000, "job"] = "pilot"
    with pytest.raises(UsageError, match="column 'job' has 'pilot' in row 0"):
        model.transform(new)
    lenient = VAETransformer(epochs=2, random_state=0, unseen="missing").fit(PEOPLE)
    blank = new.copy()
    blank.loc[1000, "job"] = None
    assert np.array_equal(lenient.transform(new), lenient.transform(blank))


def test_a_detector_names_the_columns_of_a_frame() -> None:
    detector = VAEAnomalyDetector(epochs=30, random_state=0).fit(people(400))
    odd = people(5, seed=9)
    odd["pay"] = odd["pay"].fillna(2000.0)
    odd.loc[1002, "pay"] = 1e6
    assert detector.predict(odd)[2] == -1
    assert detector.reasons(odd)[2][0].name == "pay"
    parts = detector.contributions(odd)
    assert parts.shape == (5, 8)
    assert (parts[:, :-1][odd.isna().to_numpy()] == 0).all()
    np.testing.assert_allclose(parts.sum(1), detector.score_samples(odd))


def test_frames_and_arrays_of_the_same_numbers_agree() -> None:
    x = np.random.default_rng(0).normal(size=(150, 3)).astype(np.float32).astype(float)
    frame = pd.DataFrame(x, columns=list("abc"))
    of_frame, of_array = (VAETransformer(epochs=3, random_state=0).fit(each) for each in (frame, x))
    np.testing.assert_allclose(of_frame.transform(frame), of_array.transform(x), rtol=1e-6, atol=1e-7)


def test_an_array_may_have_columns_of_other_kinds() -> None:
    x = np.random.default_rng(0).integers(0, 3, (150, 2)).astype(float)
    model = VAETransformer(epochs=2, random_state=0, kinds={"x1": "category"}).fit(x)
    assert [column.kind for column in model.columns_] == ["real", "category"]
    drawn = model.sample(40)
    assert set(drawn[:, 1]) <= {0.0, 1.0, 2.0}
    assert np.isfinite(model.transform(x)).all()


def test_a_folder_keeps_frames(model: VAETransformer, tmp_path: Any) -> None:
    model.save(tmp_path / "model")
    found = VAETransformer.load(tmp_path / "model")
    pd.testing.assert_frame_equal(found.sample(5), model.sample(5))
    assert np.array_equal(found.transform(PEOPLE), model.transform(PEOPLE))
