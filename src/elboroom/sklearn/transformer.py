"""A VAE as a transformer: rows to codes and back, likelihoods and samples."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from elboroom.latent.arrays import seeded
from elboroom.sklearn.base import Numbers, VAEEstimator
from elboroom.sklearn.rows import checked_codes
from elboroom.sklearn.scores import chunked
from elboroom.sklearn.weights import checked_weights, weighted_rows


class VAETransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, VAEEstimator):  # type: ignore[misc]
    """Codes of rows: the posterior means of a VAE.

    Parameters and attributes are those of :class:`elboroom.sklearn.base.VAEEstimator`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from elboroom.sklearn import VAETransformer
    >>> X = load_iris().data
    >>> codes = VAETransformer(n_components=2, epochs=5, random_state=0).fit_transform(X)
    >>> codes.shape
    (150, 2)
    """

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:  # noqa: ARG002
        """Train the model on the rows of X (n, n_features); ``y`` is ignored.

        ``sample_weight`` (n,) tells how many rows each one counts as: a whole weight is the same as repeating
        the row, and others draw rows in proportion to their weight.
        """
        x, weights = weighted_rows(self._new_rows(X), sample_weight)
        return self._fit_rows(x, check_random_state(self.random_state), weights)

    def partial_fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002
        """Train for one pass over the rows of X (n, n_features), further at each call; ``y`` is ignored.

        The first call decides what the columns are, with their means, scales and categories, and should
        be given many rows. The weights and Adam's state are kept between calls, also by joblib; a model that
        was fitted by ``fit``, or loaded from a folder, continues from its weights with a new Adam. Runs on
        the CPU; no rows are held out.

        Raises
        ------
        FailureError
            If the loss is not finite any more; the model is then as it was before the call.
        """
        new = not hasattr(self, "vae_")
        x = self._new_rows(X) if new else self._rows(X)
        self._train_further(x, check_random_state(self.random_state), new=new)
        return self

    @property
    def _n_features_out(self) -> int:
        return self.vae_.latent_dim

    def transform(self, X: Any) -> Numbers:
        """Codes of the rows of X: the posterior means, (n, n_components)."""
        x = torch.tensor(self._rows(X))
        with self.vae_.at_rest():
            codes: Numbers = torch.cat([self.vae_.infer(part).mean for part in chunked(self.vae_, x)]).numpy()
        return codes

    def inverse_transform(self, Z: Any) -> Any:
        """Rows (n, n_features) that are expected given codes (n, n_components): the mean of p(x|z).

        A category is the most probable one. If ``fit`` was given a data frame, so is this: the columns that
        are modelled, with their types and categories.
        """
        check_is_fitted(self)
        return self._like_input(self.vae_.decode(torch.tensor(checked_codes(Z))).mean.numpy())

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:  # noqa: ARG002
        """Mean estimate of log p(x) over the rows of X, in nats per row; ``y`` is ignored."""
        scores = self.score_samples(X)
        return float(np.average(scores, weights=checked_weights(sample_weight, len(scores))))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Draw rows (n_samples, n_features) from the model, with the noise of p(x|z).

        Parameters
        ----------
        n_samples : int
            How many.
        random_state : int, RandomState or None
            Default: the estimator's own.
        """
        check_is_fitted(self)
        own = self.random_state if random_state is None else random_state
        with seeded(self.vae_, int(check_random_state(own).randint(2**31 - 1))):
            return self._like_input(self.vae_.sample(n_samples, observe=True).numpy())
