"""What the estimators have in common: parameters, checks of the input, the model and its training."""

from __future__ import annotations

import copy
import math
import warnings
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from elboroom.config import Config
from elboroom.config.columns import Column
from elboroom.data import Dataset
from elboroom.data.precision import Rounding
from elboroom.errors import RunWarning, UsageError
from elboroom.models.vae import VAE
from elboroom.scoring.measures import Scores
from elboroom.sklearn.scores import scores_of
from elboroom.training import fit
from elboroom.training.prepare import build

Numbers = NDArray[np.float64]

_STEPS = 1_000  # of a default training, within these limits of epochs
_EPOCHS = (20, 200)
_BATCH = (32, 500)
_ROWS_TO_VALIDATE = 100  # from which a tenth of the rows is held out by default


class VAEEstimator(BaseEstimator):  # type: ignore[misc]
    """Base class of the estimators: parameters, and the model that they train.

    Parameters
    ----------
    n_components : int
        Number of latent dimensions.
    hidden : sequence of int
        Widths of the encoder's hidden layers; the decoder has them in reverse order.
    activation : str
        Activation function between layers.
    likelihood : str
        p(x|z). "auto", the same as "mixed": each column has a likelihood of its own, and cells may be
        missing (nan). Others are one for all columns, as in :class:`elboroom.ModelConfig`: "gaussian",
        "laplace" and "student_t" on standardised columns with one learned scale, and the like.
    beta : float
        Weight of the rate in the objective; 1 for the ELBO.
    epochs : int, optional
        Passes over the rows. Default: as many as make about 1,000 steps, at least 20 and at most 200.
    batch_size : int, optional
        Rows in a step. Default: a tenth of all, at least 32 and at most 500.
    learning_rate : float
        Of Adam.
    validation_fraction : float, optional
        Share of the rows that is held out to choose the best epoch. Default: 0.1, or 0 below 100 rows.
    patience : int, optional
        Stop after this many epochs without a better validation ELBO.
    importance_samples : int
        Draws of the code in the estimate of a row's log p(x).
    random_state : int, RandomState or None
        Of initial weights, order, noise and draws. An int gives the same results at every call of ``fit``.
        PyTorch's global random state is never changed.
    device : str
        Where it is trained: cpu, cuda, cuda:1 or mps; auto takes a GPU if there is one.
    verbose : bool
        Show the progress of the training.

    Attributes
    ----------
    vae_ : VAE
        The trained model, on the CPU and in double precision, in which a row's results do not depend on the
        rows beside it.
    history_ : list of dict
        One row per epoch; see :func:`elboroom.fit`.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : array of str
        Names of the columns, if the input had any.
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        hidden: Any = (64, 64),
        activation: str = "relu",
        likelihood: str = "auto",
        beta: float = 1.0,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 1e-3,
        validation_fraction: float | None = None,
        patience: int | None = None,
        importance_samples: int = 100,
        random_state: Any = None,
        device: str = "auto",
        verbose: bool = False,
    ):
        self.n_components = n_components
        self.hidden = hidden
        self.activation = activation
        self.likelihood = likelihood
        self.beta = beta
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.importance_samples = importance_samples
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def _fit_rows(self, x: Numbers, rng: np.random.RandomState) -> Self:
        """Train a new model on rows (n, d)."""
        seeds = rng.randint(2**31 - 1, size=2)
        seed, self._noise_seed = int(seeds[0]), int(seeds[1])
        data = self._data(x)
        config = self._config(len(x), seed)
        vae = build(config, data)
        self.history_ = fit(vae, data, config=config, quiet=not self.verbose)
        self.n_iter_ = len(self.history_)
        self._adopt(vae)
        return self

    def _data(self, x: Numbers) -> Dataset:
        """Rows as a data set to train on, with columns if each has a likelihood of its own."""
        names = self._column_names() if self._mixed else ()
        columns = tuple(Column(name=name, kind="real") for name in names)
        return Dataset("X", x, np.zeros(len(x), np.uint8), published_split=True, columns=columns)

    @property
    def _mixed(self) -> bool:
        return self.likelihood in ("auto", "mixed")

    def _column_names(self) -> tuple[str, ...]:
        """Names of the columns, x0, x1, … if the input had none."""
        return tuple(map(str, _check_feature_names_in(self)))

    def _adopt(self, vae: VAE) -> None:
        """Keep a copy of the model, at rest."""
        self.vae_ = copy.deepcopy(vae).to("cpu", torch.float64).eval()

    def _config(self, rows: int, seed: int) -> Config:
        """The configuration of a training on this many rows."""
        model: dict[str, Any] = {}
        if self.likelihood in ("gaussian", "laplace", "student_t"):
            model = {"standardize": True, "learn_scale": "shared", "likelihood_scale": 1.0}
        fraction = self.validation_fraction
        if fraction is None:
            fraction = 0.1 if rows >= _ROWS_TO_VALIDATE else 0.0
        batch_size = self.batch_size
        if batch_size is None:
            batch_size = min(max(rows // 10, _BATCH[0]), _BATCH[1])
        config = Config().updated(
            latent_dim=self.n_components,
            network="mlp",
            hidden=_whole_numbers("hidden", self.hidden),
            activation=self.activation,
            likelihood=self.likelihood,
            **model,
            beta=self.beta,
            batch_size=batch_size,
            lr=self.learning_rate,
            validation=fraction,
            patience=self.patience,
            seed=seed,
            device=self.device,
        )
        epochs = self.epochs
        if epochs is None:
            steps = math.ceil(rows * (1 - fraction) / config.training.batch_size)
            epochs = min(max(math.ceil(_STEPS / steps), _EPOCHS[0]), _EPOCHS[1])
        return config.updated(epochs=epochs)

    def _rows(self, X: Any, *, reset: bool = False) -> Numbers:
        """Check the input and convert it to rows of numbers."""
        if not reset:
            check_is_fitted(self)
        finite: Any = "allow-nan" if self._mixed else True
        x: Numbers = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite=finite)
        if reset:
            self._check_precision(x)
        return x

    def _check_precision(self, x: Numbers) -> None:
        """Refuse columns that float32, in which a model is trained, cannot resolve, and warn of others."""
        known = np.where(np.isnan(x), np.nan_to_num(np.fmin.reduce(x)), x)
        rounding = Rounding()
        rounding.add(known)
        for note in rounding.notes(self._column_names(), "X"):
            warnings.warn(note.removeprefix("warning: "), RunWarning, stacklevel=3)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._mixed
        return tags

    def score_samples(self, X: Any) -> Numbers:
        """Estimate log p(x) of each row by importance sampling (arXiv:1509.00519), in nats.

        Parameters
        ----------
        X : array or DataFrame (n, n_features_in_)
            The rows.

        Returns
        -------
        array (n,)
            Higher is more normal. The estimate lies below log p(x) on average, less so the more
            ``importance_samples`` are drawn. A density depends on the units of its columns.
        """
        return -self._scores(self._rows(X)).value

    def _scores(self, x: Numbers) -> Scores:
        """−log p(x) of rows and their parts; the library's scores are higher for anomalies."""
        samples = self.importance_samples
        if isinstance(samples, bool) or not isinstance(samples, int | np.integer) or samples < 1:
            raise UsageError(f"importance_samples = {samples!r}: must be a whole number, 1 or more")
        return scores_of(self.vae_, x, int(samples), self._noise_seed)


def _whole_numbers(name: str, values: Any) -> tuple[int, ...]:
    """Widths as a tuple of int; scikit-learn's parameters may be arrays."""
    try:
        return tuple(int(value) for value in values)
    except (TypeError, ValueError):
        raise UsageError(
            f"{name} = {values!r}: must be a sequence of whole numbers, such as (64, 64)"
        ) from None
