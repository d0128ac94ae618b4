"""A VAE as an imputer: missing cells filled in from the observed ones of their row."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_random_state

from elboroom.errors import UsageError
from elboroom.sklearn.base import Numbers, VAEEstimator
from elboroom.sklearn.rows import library_of
from elboroom.sklearn.weights import weighted_rows
from elboroom.tables.imputation import Imputed, impute


class VAEImputer(OneToOneFeatureMixin, TransformerMixin, VAEEstimator):  # type: ignore[misc]
    """Missing cells by their mean, or most probable category, given the observed cells of their row.

    Parameters and attributes are those of :class:`elboroom.sklearn.base.VAEEstimator`, whose
    ``importance_samples`` are here the codes drawn for each row with missing cells.

    Examples
    --------
    >>> import numpy as np
    >>> from elboroom.sklearn import VAEImputer
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> imputer = VAEImputer(epochs=3, random_state=0).fit(X)
    >>> filled = imputer.transform([[0.5, np.nan, -1.0]])
    >>> filled[0, [0, 2]].tolist(), bool(np.isnan(filled).any())
    ([0.5, -1.0], False)
    """

    _says_unseen = True  # as they are replaced

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:  # noqa: ARG002
        """Train the model on the observed cells of X (n, n_features); ``y`` is ignored.

        ``sample_weight`` (n,) tells how many rows each one counts as: a whole weight is the same as repeating
        the row, and others draw rows in proportion to their weight. A row of weight 0 is left out.

        Raises
        ------
        UsageError
            If a column has no observed cell at all.
        """
        if not self._mixed:
            raise UsageError(f"likelihood = {self.likelihood!r}: missing cells need 'auto'")
        x, weights = weighted_rows(self._new_rows(X), sample_weight)
        empty = np.flatnonzero(np.isnan(x).all(0))
        if len(empty):
            name = self.columns_[empty[0]].name
            raise UsageError(f"column {name} has no observed cell to learn from; leave it out")
        return self._fit_rows(x, check_random_state(self.random_state), weights)

    def transform(self, X: Any) -> Any:
        """X with every missing cell filled in: by its mean, or for a category by the most probable one.

        Observed cells are unchanged, but for unknown categories with ``unseen="missing"``, which a warning
        names. A mean minimises the expected squared error, and varies less than the data do; see
        :meth:`sample`.
        """
        x = self._rows(X).copy()
        return self._filled(X, x, self._single(x.copy()))

    def _single(self, x: Numbers) -> Numbers:
        """Rows with every missing cell filled in by its mean or most probable category."""
        holes = np.isnan(x)
        empty = holes.all(1)
        rows = holes.any(1) & ~empty
        x[rows] = self._imputed(x[rows], 0, self._noise_seed).x
        if empty.any():  # all alike, as nothing is known of them
            x[empty] = self._imputed(x[empty][:1], 0, self._noise_seed).x
        return x

    def sample(self, X: Any, n_imputations: int = 1, random_state: Any = None) -> list[Any]:
        """Multiple imputations: X several times, its missing cells drawn given the observed ones of the row.

        They vary as the data do, so that an analysis repeated on each tells what the missing cells add to
        its error (Rubin's rules).

        Parameters
        ----------
        X : array or DataFrame (n, n_features)
            Rows with missing cells.
        n_imputations : int
            How many.
        random_state : int, RandomState or None
            Default: the estimator's own.

        Returns
        -------
        list
            ``n_imputations`` tables like X.
        """
        x = self._rows(X)
        own = self.random_state if random_state is None else random_state
        seed = int(check_random_state(own).randint(2**31 - 1))
        return [self._filled(X, x, drawn) for drawn in self._imputed(x, n_imputations, seed).draws]

    def _filled(self, X: Any, x: Numbers, filled: Numbers) -> Any:
        """X with the missing cells among rows x as ``filled`` has them; all other cells stay as they were."""
        if not self._frame or library_of(X) != self._frame:
            return self._like_input(filled)
        made = self._like_input(filled)
        if self._frame == "polars":
            return _polars_with(X, made, np.isnan(x))
        result = X.copy()
        for i, heading in enumerate(made.columns):
            holes = np.isnan(x[:, i])
            if holes.any():
                result[heading] = _with(X[heading], made[heading], holes)
        return result

    def _imputed(self, x: Numbers, draws: int, seed: int) -> Imputed:
        """Fill in rows; single imputations depend on their row alone."""
        return impute(self.vae_, x, self._samples(), draws, seed=seed)


def _polars_with(frame: Any, made: Any, holes: Any) -> Any:
    """A polars frame with those cells replaced by another's that are holes, in its own types."""
    parts = []
    for i, name in enumerate(made.columns):
        own, other = frame.get_column(name), made.get_column(name)
        if holes[:, i].any():
            parts.append(other.cast(own.dtype).zip_with(type(own)(holes[:, i]), own.rename(name)))
    return frame.with_columns(parts)


def _with(series: Any, made: Any, holes: Any) -> Any:
    """A column of a frame with some of its cells replaced by those of another, in its own type."""
    dtype = series.dtype
    if str(dtype) == "category":  # perhaps of fewer categories than in training
        others = [each for each in dtype.categories if each not in made.cat.categories]
        dtype = made.cat.add_categories(others).dtype
    cells = np.where(holes, made.to_numpy(dtype=object), series.to_numpy(dtype=object))
    return type(series)(cells, index=series.index, name=series.name).astype(dtype)
