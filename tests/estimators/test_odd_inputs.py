"""Estimators given what their page does not show: other frames, wrong parameters and the like."""

from __future__ import annotations

import datetime
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from elboroom.errors import RunWarning, UsageError
from elboroom.sklearn import VAEAnomalyDetector, VAEImputer, VAETransformer

N = 120
FEW: dict[str, Any] = {"epochs": 2, "random_state": 0, "hidden": (8,), "importance_samples": 20}


def _people() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    people = pd.DataFrame({"job": rng.choice(["cook", "nurse"], N), "pay": rng.lognormal(8, 1, N)})
    people["kids"] = rng.poisson(1.5, N)
    people.loc[::3, "pay"] = np.nan
    people.loc[1::4, "job"] = None
    return people


@pytest.mark.parametrize("kinds", [{"pay": "positive", "kids": "count"}, {"pay": "positive/quantile"}, None])
def test_what_is_imputed_in_a_row_depends_on_the_row_alone(kinds: Any) -> None:
    people = _people()
    imputer = VAEImputer(kinds=kinds, **FEW).fit(people)
    whole = imputer.transform(people)
    mixed = imputer.transform(people.sample(frac=0.4, random_state=1))
    assert not whole.isna().to_numpy().any()
    pd.testing.assert_frame_equal(mixed, whole.loc[mixed.index], rtol=1e-9)
    assert len(whole["pay"][::3].unique()) > 5


@pytest.mark.parametrize("kind", [VAETransformer, VAEAnomalyDetector, VAEImputer])
def test_columns_that_are_not_modelled_are_warned_of(kind: Any) -> None:
    people = _people().assign(same="x", name=[f"n{i}" for i in range(N)], none=np.nan)
    people.loc[::2, "same"] = None
    with pytest.warns(RunWarning) as caught:
        fitted = kind(**FEW).fit(people)
    said = [str(warning.message) for warning in caught if warning.category is RunWarning]
    assert said[:3] == [
        "column 'same' has one value ('x'); it is not modelled",
        "column 'name' holds a different text in each row; it is not modelled",
        "column 'none' is empty; it is not modelled",
    ]
    if kind is VAEImputer:  # they are left as they are
        filled = fitted.transform(people)
        assert filled[["same", "none"]].equals(people[["same", "none"]])
    with warnings.catch_warnings():
        warnings.simplefilter("error", RunWarning)
        declared = {"same": "ignored", "name": "identifier", "none": "ignored"}
        kind(kinds=declared, calibration_fraction=0.3, **FEW).fit(
            people
        ) if kind is VAEAnomalyDetector else kind(kinds=declared, **FEW).fit(people)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"n_components": 0}, "n_components = 0: must be at least 1"),
        ({"learning_rate": -1.0}, "learning_rate = -1.0: must be above 0"),
        ({"validation_fraction": 2.0}, "validation_fraction = 2.0: must be below 1"),
        ({"validation_fraction": 0.0, "patience": 3}, "hold some out with validation_fraction=0.1"),
    ],
)
def test_messages_name_the_estimators_own_parameters(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as error:
        VAETransformer(**{**FEW, **parameters}).fit(np.random.default_rng(0).normal(size=(30, 2)))
    assert said in str(error.value)


def test_a_folder_of_an_estimator_with_other_parameters_is_named(tmp_path: Path) -> None:
    VAEAnomalyDetector(**FEW).fit(np.random.default_rng(0).normal(size=(150, 2))).save(tmp_path / "saved")
    with pytest.raises(UsageError, match=r"holds a 'VAEAnomalyDetector', and this is VAEImputer\.load"):
        VAEImputer.load(tmp_path / "saved")


def test_frames_of_polars_come_back_in_their_types() -> None:
    pl = pytest.importorskip("polars")
    people = _people()
    hours = [
        datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(hours=i % 50)
        for i in range(N)
    ]
    frame = pl.DataFrame(
        {
            "job": people["job"].astype(object).where(people["job"].notna(), None).to_list(),
            "pay": pl.Series(people["pay"].to_numpy(), nan_to_null=True),
            "kids": pl.Series([None if i % 5 == 0 else i % 4 for i in range(N)], dtype=pl.Int8),
            "day": [datetime.date(2020, 1, 1) + datetime.timedelta(days=i % 40) for i in range(N)],
            "at": pl.Series(hours).dt.convert_time_zone("Europe/Berlin"),
            "size": pl.Series(["S", "L", None, "M"] * (N // 4), dtype=pl.Enum(["S", "M", "L"])),
            "took": [None if i % 7 == 0 else datetime.timedelta(seconds=i % 9 + 0.5) for i in range(N)],
            "ok": [i % 3 == 0 for i in range(N)],
            "half": pl.Series([i % 6 / 2 for i in range(N)], dtype=pl.Float32),
        }
    )
    filled = VAEImputer(**FEW).fit(frame).transform(frame)
    assert filled.schema == frame.schema
    assert sum(filled.null_count().row(0)) == 0
    for name in frame.columns:  # observed cells are as they were
        observed = frame[name].is_not_null()
        assert filled[name].filter(observed).equals(frame[name].filter(observed))
    assert VAETransformer(**FEW).fit(frame).sample(4).schema == frame.schema


def test_a_category_that_is_replaced_as_unknown_is_warned_of() -> None:
    people = _people()
    imputer = VAEImputer(unseen="missing", **FEW).fit(people)
    odd = people.head(4).assign(job=["cook", "king", "cook", "nurse"])
    with pytest.warns(RunWarning, match=r"'king' in row 1 \(counting from 0\) is taken as missing: no known"):
        filled = imputer.transform(odd)
    assert filled["job"].isin(["cook", "nurse"]).all()
