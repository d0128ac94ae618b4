"""A VAE as a detector of anomalous rows, whose rate of false alarms is held."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import OutlierMixin
from sklearn.utils import check_random_state

from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.errors import RunWarning, UsageError, counted
from elboroom.scoring import conformal_p_values, conformal_threshold
from elboroom.scoring.conformal import least_false_alarms
from elboroom.scoring.contributions import Reason, top_reasons
from elboroom.scoring.measures import Scores
from elboroom.sklearn.base import Numbers, VAEEstimator
from elboroom.sklearn.copies import check_noise, usual_noise, with_copies
from elboroom.sklearn.normal import in_normal_units, made_normal, steep_beyond
from elboroom.sklearn.signatures import with_parameters_of
from elboroom.sklearn.weights import weighted_rows

_COMPONENTS = (2, 8)  # fewest and most by default
_LEAST_SCALE = 0.1
_ROUNDING = 1e-8  # nats within which a score counts as equal to that of a calibration row


class VAEAnomalyDetector(OutlierMixin, VAEEstimator):  # type: ignore[misc]
    r"""Anomalies as rows of low likelihood, at a threshold that holds the rate of false alarms.

    A part of the rows given to ``fit`` is kept from the training and calibrates the threshold.

    Parameters
    ----------
    n_components : int, optional
        Number of latent dimensions. Default: half the number of columns, at least 2 and at most 8.
    hidden, activation, likelihood, missing_mechanism, kinds, unseen, beta, epochs, batch_size, learning_rate
        As in :class:`elboroom.sklearn.base.VAEEstimator`, like the last six. The learning rate falls to 0
        along a cosine. Default of ``epochs``: as many as make about 2,000 steps, from 20 to 1,000.
    validation_fraction, patience, importance_samples, random_state, device, verbose
        Likewise. By default no rows are held out for validation.
    observation_scale : {"shared", "cell"}
        Scale of numbers given a code: one learned for each column, or one for each cell from the decoder,
        which can then explain an odd number by a wide scale. The latter needs ``likelihood="auto"``.
    least_scale : float, optional
        Lower bound of this scale, in standard deviations of the column. It limits how much a column counts
        that the others determine. Default: 0.1. Only of ``likelihood="auto"``; others refuse it.
    normalize : bool, optional
        Make real columns normal that are skewed or have heavy tails, by the quantiles of the training rows
        (the family "quantile", unless ``kinds`` names the column), and score the standardised numbers. Beyond
        the training rows such a column counts at least as much as if it were standardised only. With False,
        scores are log-densities in the columns' own units. Default: True with ``likelihood="auto"``; other
        likelihoods refuse it.
    noise : float, optional
        Standard deviation of the noise on the numbers of the training rows, in those of the standardised
        columns, which keeps a model of few rows from learning them by heart. Every pass sees other noise, up
        to 4,000 rows together, and an epoch of ``history_`` may be several passes. Default: 2/√n for n
        training rows, at most 0.5. 0 for none.
    false_alarm_rate : float
        Probability with which a normal row is called an anomaly, between 0 and 1.
    calibration_fraction : float
        Share of the rows that calibrates the threshold, between 0 and 1.

    Attributes
    ----------
    offset\_ : float
        The threshold: rows with a lower score are anomalies.
    calibration_scores\_ : array
        Scores of the rows that calibrated it, ascending.
    calibration_weights\_ : array
        How many rows each of them counts as; 1 without ``sample_weight``, and for whole weights.
    usual_contributions\_ : array (n_features + 1,)
        Mean over these rows of what :meth:`contributions` gives.

    Examples
    --------
    >>> import numpy as np
    >>> from elboroom.sklearn import VAEAnomalyDetector
    >>> X = np.random.default_rng(0).normal(size=(300, 3))
    >>> detector = VAEAnomalyDetector(epochs=5, random_state=0).fit(X)
    >>> detector.predict([[0, 0, 0], [9, -9, 9]])
    array([ 1, -1])
    """

    _steps, _epochs_between, _held_out = 2_000, (20, 1_000), 0.0

    @with_parameters_of(VAEEstimator)
    def __init__(
        self,
        n_components: int | None = None,
        *,
        hidden: Any = (128, 128),
        learning_rate: float = 2e-3,
        observation_scale: str = "shared",
        least_scale: float | None = None,
        normalize: bool | None = None,
        noise: float | None = None,
        false_alarm_rate: float = 0.05,
        calibration_fraction: float = 0.2,
        **others: Any,
    ):
        super().__init__(n_components, hidden=hidden, learning_rate=learning_rate, **others)
        self.observation_scale = observation_scale
        self.least_scale = least_scale
        self.normalize = normalize
        self.noise = noise
        self.false_alarm_rate = false_alarm_rate
        self.calibration_fraction = calibration_fraction

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:  # noqa: ARG002
        """Train the model on a part of the rows of X (n, n_features) and calibrate the threshold on the rest.

        ``y`` is ignored. The rows should be normal ones: anomalies among them lower the threshold, and the
        rate of false alarms is then below the one asked for.

        ``sample_weight`` (n,) tells how many rows each one counts as, for the objective and for the quantile
        that is the threshold; a whole weight is the same as repeating the row. See
        :func:`elboroom.scoring.conformal.conformal_threshold` for what the rate then means.
        """
        for name in ("false_alarm_rate", "calibration_fraction"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, float | int) or not 0 < value < 1:
                raise UsageError(f"{name} = {value!r}: must be a number between 0 and 1, such as 0.05")
        if self.noise is not None:
            check_noise(self.noise)
        self._refuse_ignored()
        x, weights = weighted_rows(self._new_rows(X), sample_weight)
        if len(x) < 2:
            raise UsageError(f"n_samples = {len(x)}: at least 2 rows are needed, one of them to calibrate")
        rng = check_random_state(self.random_state)
        order = rng.permutation(len(x))
        count = min(max(1, round(self.calibration_fraction * len(x))), len(x) - 1)
        kept, known = order[:count], np.sort(order[count:])
        if self._normalizes:
            self.columns_ = made_normal(self.columns_, x[known], set(self._declared()))
        if weights is None:
            return self._fit_rows(x[known], rng)._calibrate(x[kept], None)
        return self._fit_rows(x[known], rng, weights[known])._calibrate(x[kept], weights[kept])

    def _more_options(self) -> dict[str, Any]:
        options = {**super()._more_options(), "lr_schedule": "CosineAnnealingLR"}
        if self.n_components is None:
            columns = len(self.columns_) or self.n_features_in_
            options["latent_dim"] = min(max(columns // 2, _COMPONENTS[0]), _COMPONENTS[1])
        if self._mixed:
            least = _LEAST_SCALE if self.least_scale is None else self.least_scale
            return {**options, "observation_scale": self.observation_scale, "least_scale": least}
        return options

    @property
    def _normalizes(self) -> bool:
        return self._mixed and (self.normalize is None or bool(self.normalize))

    def _refuse_ignored(self) -> None:
        """Refuse parameters that the likelihood has no use for."""
        if self._mixed:
            return
        scale = None if self.observation_scale == "shared" else self.observation_scale
        given = (self.normalize or None, self.least_scale, scale)
        for name, value in zip(("normalize", "least_scale", "observation_scale"), given, strict=True):
            if value is not None:
                raise UsageError(
                    f"{name} = {value!r}: likelihood = {self.likelihood!r} is one for all columns and has "
                    f"no such choice; leave {name} out, or take likelihood='auto'"
                )

    def _prepared(self, data: Dataset, config: Config, weights: Numbers | None) -> tuple[Dataset, Config]:
        noise = usual_noise(len(data)) if self.noise is None else float(self.noise)
        return with_copies(data, config, noise, weights, steep_beyond if self._normalizes else tuple)

    def _scores(self, x: Numbers) -> Scores:
        found = super()._scores(x)
        return in_normal_units(found, self.vae_.likelihood, x) if self._normalizes else found

    def calibrate(self, X: Any, sample_weight: Any = None) -> Self:
        """Set the threshold by rows of X that are normal and that the model has not been trained on.

        ``sample_weight`` (n,) is as in :meth:`fit`.
        """
        return self._calibrate(*weighted_rows(self._rows(X), sample_weight))

    def _calibrate(self, x: Numbers, weights: Numbers | None) -> Self:
        found, rate = self._scores(x), self.false_alarm_rate
        counts = np.ones(len(x)) if weights is None else weights
        scores, total = -found.value, float(counts.sum())
        self.usual_contributions_ = -np.average(found.contributions.parts(), axis=0, weights=counts)
        least = least_false_alarms(total)
        if rate < least:
            rows = f"{counted(len(scores), 'row')} for calibration hold{'s' if len(scores) == 1 else ''}"
            if weights is not None:
                rows = f"rows for calibration that weigh {total:.3g} hold"
            warnings.warn(
                f"false_alarm_rate = {rate:g}: {rows} no rate below "
                f"{least:.3g}, which is held instead; give more rows or raise calibration_fraction",
                RunWarning,
                stacklevel=3,
            )
        order = np.argsort(scores, kind="stable")
        self.calibration_scores_, self.calibration_weights_ = scores[order], counts[order]
        threshold = (
            float(scores.min()) if rate < least else -conformal_threshold(-scores, rate, weights=counts)
        )
        self.offset_ = threshold - _ROUNDING
        return self

    def score_samples(self, X: Any) -> Numbers:
        """Estimate the log-density of each row by importance sampling, (n,), nats; higher is more normal.

        It is that of the standardised numbers, heavy tails made normal, and does not depend on the units of
        columns; with ``normalize=False`` and likelihoods other than "auto" it is that of the rows themselves.
        """
        return super().score_samples(X)

    def decision_function(self, X: Any) -> Numbers:
        """Score of each row above the threshold, (n,), nats: negative for anomalies."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Any:
        """1 for each normal row and -1 for each anomaly, (n,)."""
        return np.where(self.decision_function(X) >= 0, 1, -1)

    def p_values(self, X: Any) -> Numbers:
        """Conformal p-value of each row, (n,): (1 + rows of the calibration that score no higher)/(m + 1).

        Each of these rows counts by its weight, and m is the sum of the weights.

        For normal rows P(p ≤ α) ≤ α at every α; ``predict`` gives -1 where p ≤ ``false_alarm_rate``.
        """
        scores = -self.score_samples(X) - _ROUNDING
        weights = getattr(self, "calibration_weights_", None)  # folders of earlier versions have none
        return conformal_p_values(scores, -self.calibration_scores_, weights=weights)

    def contributions(self, X: Any) -> Numbers:
        """What each column adds to the score of each row, (n, n_features + 1), nats.

        The parts of a row sum to its ``score_samples``. A column's part is E[log p(x_j|z)] (of the
        standardised x_j unless ``normalize`` is False), averaged over the codes that explain the row,
        weighted by their importance weights. The last part, −KL(p(z|x) ‖ p(z)), belongs to all columns
        together: how far from the prior those codes lie. A missing cell has 0.

        Nats of different columns cannot be compared; what makes a row odd are the parts far below
        ``usual_contributions_``. :meth:`reasons` names them.
        """
        return -self._scores(self._rows(X)).contributions.parts()

    def reasons(self, X: Any, count: int = 3) -> list[list[Reason]]:
        """The columns that make each row odd, oddest first.

        Returns
        -------
        list of list of Reason
            For each row at most ``count`` parts that lower its score by more than is usual: ``name`` of the
            column (or "latent"), ``nats``, which it costs, and ``above``, how much that is above the mean.
        """
        found = self._scores(self._rows(X)).contributions
        return top_reasons(found, self._part_names(), -self.usual_contributions_, count)
