"""Measures from how well codes predict factors: SAP, DCI and explicitness."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from elboroom.evaluation.disentanglement.factors import Labelled, varies
from elboroom.evaluation.disentanglement.information import gap

Forest = Literal["forest", "boosting"]

_TREES = 50


def sap_table(train: Labelled, test: Labelled) -> NDArray[np.float64]:
    """How well each dimension alone predicts each factor, (d, K) (arXiv:1711.00848 §3).

    For continuous factors the squared correlation on the training part; for discrete ones the accuracy, on
    the test part, of a linear support vector machine with balanced classes.
    """
    return np.array(
        [
            [_sap(train, test, dimension, k) for k in range(len(train.names))]
            for dimension in range(train.codes.shape[1])
        ]
    )


def _sap(train: Labelled, test: Labelled, dimension: int, k: int) -> float:
    code = train.codes[:, dimension]
    if not train.discrete[k]:
        if not varies(code[:, None])[0]:
            return 0.0
        code = (code - code.min()) / np.ptp(code)  # the squares of codes in small units would vanish
        together = np.cov(code, train.values[:, k], ddof=1)
        return float(together[0, 1] ** 2 / (together[0, 0] * together[1, 1]))
    from sklearn.svm import LinearSVC

    machine = LinearSVC(C=0.01, class_weight="balanced", random_state=0)
    fit(machine, code[:, None], train.factors[:, k])
    return float((machine.predict(test.codes[:, [dimension]]) == test.factors[:, k]).mean())


def sap(train: Labelled, test: Labelled) -> NDArray[np.float64]:
    """Separated attribute predictability of each factor: the gap of its two best dimensions."""
    return gap(sap_table(train, test))


def importances(train: Labelled, model: Forest, seed: int) -> tuple[NDArray[np.float64], list[Any]]:
    """How much trees use each dimension to tell each factor, (d, K), and the fitted trees of each factor."""
    from sklearn import ensemble

    trees: list[Any] = []
    for k, discrete in enumerate(train.discrete):
        kind = "Classifier" if discrete else "Regressor"
        if model == "forest":
            tree = getattr(ensemble, f"RandomForest{kind}")(
                _TREES, random_state=seed, min_samples_leaf=2, max_features=None
            )
        else:
            tree = getattr(ensemble, f"GradientBoosting{kind}")(random_state=seed)
        trees.append(tree.fit(train.codes, train.factors[:, k] if discrete else train.values[:, k]))
    return np.stack([np.abs(tree.feature_importances_) for tree in trees], 1), trees


def informativeness(test: Labelled, trees: list[Any]) -> NDArray[np.float64]:
    """Accuracy (discrete factors) or R² (continuous ones) of the trees on the test part, (K,)."""
    wanted = (test.factors[:, k] if test.discrete[k] else test.values[:, k] for k in range(len(trees)))
    return np.array([tree.score(test.codes, one) for tree, one in zip(trees, wanted, strict=True)])


def dci(table: NDArray[np.float64]) -> tuple[float, float]:
    """Disentanglement and completeness of a table of importances (d, K), each 0 to 1.

    One less the entropy of a dimension's importances over the factors, or of a factor's over the dimensions,
    each in units of the largest entropy there could be, weighted by how important it is (Eastwood and
    Williams, 2018).

    Examples
    --------
    >>> [round(part, 6) for part in dci(np.eye(3))]
    [1.0, 1.0]
    >>> [round(part, 6) for part in dci(np.ones((3, 2)))]
    [0.0, 0.0]
    """
    return _concentration(table.T), _concentration(table)


def _concentration(table: NDArray[np.float64]) -> float:
    """One less the relative entropy of each column, weighted by the columns' sums."""
    if not table.sum():
        return 0.0
    if len(table) == 1:
        return 1.0
    p = table + 1e-11
    p = p / p.sum(0)
    each = 1 + (p * np.log(p)).sum(0) / math.log(len(table))
    return float((each * table.sum(0) / table.sum()).sum())


def explicitness(train: Labelled, test: Labelled) -> NDArray[np.float64]:
    """How well a linear classifier tells each factor's values from all dimensions (arXiv:1802.05312 §3).

    Returns
    -------
    numpy.ndarray
        The area under the ROC curve, the mean over the factor's values, (K,); 0.5 is chance.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import StandardScaler

    scale = StandardScaler().fit(train.codes)
    seen, unseen = scale.transform(train.codes), scale.transform(test.codes)
    areas = []
    for k in range(len(train.names)):
        classes = LogisticRegression(max_iter=1000, class_weight="balanced")
        fit(classes, seen, train.factors[:, k])
        scores = classes.predict_proba(unseen)
        has = [test.factors[:, k] == value for value in classes.classes_]
        areas.append(
            np.mean(
                [roc_auc_score(is_it, scores[:, i]) for i, is_it in enumerate(has) if 0 < is_it.mean() < 1]
            )
        )
    return np.array(areas)


def fit(model: Any, codes: NDArray[np.float64], classes: NDArray[np.int64]) -> None:
    """Fit a linear model, which may well not converge: one that cannot tell the classes is an answer."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(codes, classes)
