"""``disentanglement``: every measure of codes against the factors that made the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elboroom.errors import UsageError
from elboroom.evaluation.disentanglement import interventions, predictors
from elboroom.evaluation.disentanglement.factors import Labelled, labelled, only
from elboroom.evaluation.disentanglement.information import mig, modularity
from elboroom.evaluation.measure import Measure, error_of_share

MEASURES = {
    "mig": "mutual information gap, plug-in on 20 intervals of equal width",
    "sap": "separated attribute predictability, linear SVM (discrete) or squared correlation (continuous)",
    "dci": "disentanglement of importances in trees",
    "beta_vae": "accuracy of a linear classifier of mean differences of 64 pairs",
    "factor_vae": "accuracy of a majority vote of the least varying of 64 examples",
    "modularity": "plug-in mutual information on 20 intervals of equal width",
    "explicitness": "area under the ROC curve of logistic regression",
    "irs": "interventional robustness, 99th percentile",
}
"""The measures by name, and how each is estimated."""

_REFITS = 5
_TRIES = 100  # resamples drawn for each that is wanted, as one may lack all but one value of a factor
_BETWEEN_FACTORS = ("dci", "beta_vae", "factor_vae", "modularity")


def disentanglement(
    codes: ArrayLike,
    factors: ArrayLike | Mapping[str, ArrayLike],
    measures: Iterable[str] = tuple(MEASURES),
    *,
    points: int = 1000,
    resamples: int = 50,
    trees: predictors.Forest = "forest",
    seed: int = 0,
) -> dict[str, Measure]:
    """Measure how codes of any model relate to the factors that made the data.

    The definitions are those of arXiv:1811.12359 (appendix C), so that numbers can be compared with published
    ones. Say with them whether the codes were posterior means or samples: the two differ.

    Parameters
    ----------
    codes : array
        (n, d).
    factors : array or mapping
        (n, K), or K arrays (n,) by name. Whole numbers, booleans and strings are discrete; other floats are
        continuous.
    measures : iterable of str
        Which of `MEASURES`.
    points : int
        Votes on which the β-VAE and FactorVAE scores are measured; twice as many are learnt from.
    resamples : int
        Bootstrap resamples of the examples for the standard errors; 5 at most where models are fitted anew.
    trees : {"forest", "boosting"}
        For DCI: a random forest, or the slower gradient boosting of disentanglement_lib.
    seed : int
        Of the split into halves (for measures that learn to predict), of the votes and of the resamples.

    Returns
    -------
    dict of str to Measure
        With parts, such as the values by factor, in ``details``. ``dci`` is its disentanglement; completeness
        and informativeness are in ``details``.

    Raises
    ------
    UsageError
        If shapes do not fit, a number is not finite, a factor has one value, or a measure is not known; and
        if there is one factor only, for measures of how dimensions keep factors apart.

    Examples
    --------
    >>> factors = np.random.default_rng(0).integers(0, 4, (2000, 2))
    >>> scores = disentanglement(2.0 * factors, {"size": factors[:, 0], "angle": factors[:, 1]}, ["mig"])
    >>> round(scores["mig"].value, 2)
    1.0
    >>> sorted(scores["mig"].details["factors"])
    ['angle', 'size']
    """
    names = only(tuple(measures), tuple(MEASURES))
    data = labelled(codes, factors)
    for what, number, least in (("points", points, 1), ("resamples", resamples, 2)):
        if number < least:
            raise UsageError(f"{what} is {number}; it must be at least {least}")
    apart = [name for name in names if name in _BETWEEN_FACTORS]
    if len(data.names) == 1 and apart:
        raise UsageError(
            f"there is one factor, {data.names[0]!r}, and {', '.join(apart)} measure how dimensions keep "
            "factors apart; give at least two factors, or choose among mig, sap, explicitness and irs"
        )
    order = np.random.default_rng(seed).permutation(len(data))
    halves = data.take(order[: len(data) // 2]), data.take(order[len(data) // 2 :])
    suite = _Suite(data, *halves, points=points, resamples=resamples, trees=trees, seed=seed)
    return {name: getattr(suite, name)() for name in names}


class _Suite:
    """The measures of one set of codes; a method for each."""

    def __init__(
        self,
        data: Labelled,
        train: Labelled,
        test: Labelled,
        *,
        points: int,
        resamples: int,
        trees: predictors.Forest,
        seed: int,
    ) -> None:
        self.data, self.train, self.test = data, train, test
        self.points, self.resamples, self.trees, self.seed = points, resamples, trees, seed

    def mig(self) -> Measure:
        each = mig(self.data)
        error = self._spread(lambda data: float(mig(data).mean()), self.data)
        return self._measure("mig", each.mean(), error, factors=each)

    def modularity(self) -> Measure:
        each = modularity(self.data)
        error = self._spread(lambda data: float(modularity(data).mean()), self.data)
        return self._measure("modularity", each.mean(), error, dimensions=each)

    def irs(self) -> Measure:
        def weighted(data: Labelled) -> float:
            weights = interventions.deviations(data)
            return float((interventions.irs(data) * weights).sum() / weights.sum()) if weights.any() else 0.0

        error = self._spread(weighted, self.data)
        return self._measure("irs", weighted(self.data), error, dimensions=interventions.irs(self.data))

    def sap(self) -> Measure:
        self._check_halves()
        each = predictors.sap(self.train, self.test)
        error = self._refitted(lambda train: float(predictors.sap(train, self.test).mean()))
        return self._measure("sap", each.mean(), error, factors=each)

    def explicitness(self) -> Measure:
        self._check_halves()
        each = predictors.explicitness(self.train, self.test)
        error = self._refitted(lambda train: float(predictors.explicitness(train, self.test).mean()))
        return self._measure("explicitness", each.mean(), error, factors=each)

    def dci(self) -> Measure:
        self._check_halves()
        table, trees = predictors.importances(self.train, self.trees, self.seed)
        disentangled, complete = predictors.dci(table)
        informative = predictors.informativeness(self.test, trees)
        error = self._refitted(
            lambda train: predictors.dci(predictors.importances(train, self.trees, self.seed)[0])[0]
        )
        more = {"completeness": complete, "informativeness": float(informative.mean()), "trees": self.trees}
        return self._measure("dci", disentangled, error, factors=informative, **more)

    def beta_vae(self) -> Measure:
        return self._accuracy("beta_vae", interventions.beta_vae)

    def factor_vae(self) -> Measure:
        return self._accuracy("factor_vae", interventions.factor_vae)

    def _accuracy(
        self, name: str, votes: Callable[[Labelled, int, np.random.Generator], NDArray[np.bool_]]
    ) -> Measure:
        right = votes(self.data, self.points, np.random.default_rng(self.seed))
        share = float(right.mean())
        return self._measure(name, share, error_of_share(share, len(right)), points=self.points)

    def _spread(
        self, score: Callable[[Labelled], float], data: Labelled, most: int | None = None
    ) -> float | None:
        """Return the standard deviation of a score over resamples of the examples that allow it.

        A resample allows it if every factor has two values in it. None if such resamples are too rare.
        """
        rng = np.random.default_rng(self.seed)
        times = min(self.resamples, most or self.resamples)
        scores: list[float] = []
        for _ in range(times * _TRIES):
            resample = data.take(rng.integers(len(data), size=len(data)))
            if (resample.factors.max(0) > resample.factors.min(0)).all():
                scores.append(score(resample))
            if len(scores) == times:
                return float(np.std(scores, ddof=1))
        return None

    def _refitted(self, score: Callable[[Labelled], float]) -> float | None:
        return self._spread(score, self.train, _REFITS)

    def _check_halves(self) -> None:
        for half in (self.train, self.test):
            for k, name in enumerate(self.data.names):
                if len(np.unique(half.factors[:, k])) < 2:
                    raise UsageError(
                        f"factor {name!r} has one value only in half of the {len(self.data)} examples; "
                        "give more examples, or leave it out"
                    )

    def _measure(self, name: str, value: float, error: float | None, **details: object) -> Measure:
        by_factor = details.get("factors")
        if isinstance(by_factor, np.ndarray):
            details["factors"] = dict(zip(self.data.names, by_factor.tolist(), strict=True))
        if isinstance(dimensions := details.get("dimensions"), np.ndarray):
            details["dimensions"] = dimensions.tolist()
        return Measure(
            value=float(value),
            error=error,
            unit="share",
            estimator=MEASURES[name],
            examples=len(self.data),
            seed=self.seed,
            details=details,
        )
