"""scikit-learn's own checks of its API, none of which is expected to fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from elboroom.sklearn import VAEAnomalyDetector, VAEImputer, VAETransformer

ESTIMATORS = [VAETransformer(epochs=3), VAEAnomalyDetector(epochs=3), VAEImputer(epochs=3)]


@parametrize_with_checks(ESTIMATORS)
@pytest.mark.filterwarnings(
    "ignore:.*rows? for calibration holds? no rate:elboroom.errors.RunWarning"
)  # of 20 rows and fewer
def test_scikit_learns_check(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)
