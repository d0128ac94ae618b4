"""Estimators saved as folders and by joblib are the same estimators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from elboroom.errors import UsageError
from elboroom.sklearn import VAEAnomalyDetector, VAEImputer, VAETransformer

X = np.random.default_rng(0).normal(size=(120, 3))
HOLES = np.where(np.random.default_rng(1).random(X.shape) < 0.2, np.nan, X)
ESTIMATORS: list[Any] = [
    VAETransformer(epochs=2, random_state=0),
    VAEAnomalyDetector(epochs=2, random_state=3, hidden=(8, 8)),
    VAEImputer(epochs=2, random_state=0, kinds={"x1": "real/student_t"}),
]


@pytest.fixture(params=ESTIMATORS, ids=lambda each: type(each).__name__)
def fitted(request: pytest.FixtureRequest) -> Any:
    return request.param.fit(HOLES)


def results(estimator: Any) -> list[np.ndarray[Any, Any]]:
    methods = ["transform", "predict", "contributions", "p_values", "score_samples"]
    found = [getattr(estimator, name)(HOLES) for name in methods if hasattr(estimator, name)]
    return [*found, estimator.sample(HOLES)[0] if isinstance(estimator, VAEImputer) else found[0]]


def test_a_folder_gives_the_same_numbers(fitted: Any, tmp_path: Path) -> None:
    before = results(fitted)
    fitted.save(tmp_path / "model")
    assert all(map(np.array_equal, before, results(fitted), [True] * len(before)))
    found = type(fitted).load(tmp_path / "model")
    for one, other in zip(before, results(found), strict=True):
        np.testing.assert_array_equal(one, other)
    assert repr(found) == repr(fitted)
    assert found.columns_ == fitted.columns_
    assert found.history_ == fitted.history_
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"estimator.json", "model.safetensors"}


def test_joblib_gives_the_same_numbers(fitted: Any, tmp_path: Path) -> None:
    joblib.dump(fitted, tmp_path / "model.joblib")
    for one, other in zip(results(fitted), results(joblib.load(tmp_path / "model.joblib")), strict=True):
        np.testing.assert_array_equal(one, other)


def test_folders_are_not_replaced_by_accident(tmp_path: Path) -> None:
    model = VAETransformer(epochs=1, random_state=0).fit(X)
    model.save(tmp_path / "model")
    with pytest.raises(UsageError, match="model exists; set overwrite=True"):
        model.save(tmp_path / "model")
    model.save(tmp_path / "model", overwrite=True)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UsageError, match="mine holds no estimator, so it is not replaced"):
        model.save(tmp_path / "mine", overwrite=True)


def test_what_is_no_such_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no folder of an estimator"):
        VAETransformer.load(tmp_path)
    VAETransformer(epochs=1, random_state=0).fit(X).save(tmp_path / "model")
    with pytest.raises(UsageError, match=r"holds a 'VAETransformer', and this is VAEImputer.load"):
        VAEImputer.load(tmp_path / "model")
    file = tmp_path / "model" / "estimator.json"
    facts = json.loads(file.read_text())
    for change, words in (
        ({"format": 2}, "has format 2"),
        ({"parameters": {"colour": 1}}, "does not describe a VAETransformer"),
        ({"parameters": {"hidden": {"code": "1"}}}, "does not describe a VAETransformer"),
        ({"fitted": {"fit": 1}}, "'fit' is no attribute of a fitted VAETransformer"),
        ({"fitted": {"__class__": 1}}, "'__class__' is no attribute"),
    ):
        file.write_text(json.dumps({**facts, **change}))
        with pytest.raises(UsageError, match=words):
            VAETransformer.load(tmp_path / "model")


def test_what_a_folder_cannot_hold_is_named(tmp_path: Path) -> None:
    model = VAETransformer(epochs=1, random_state=np.random.RandomState(0)).fit(X)
    with pytest.raises(UsageError, match="random_state = RandomState"):
        model.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()
