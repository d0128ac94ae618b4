"""What the estimators have in common: parameters, checks of the input, the model and its training."""

from __future__ import annotations

import copy
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.errors import FailureError, UsageError
from elboroom.models.vae import VAE
from elboroom.scoring.measures import Scores
from elboroom.sklearn.copies import with_copies
from elboroom.sklearn.increments import Increments
from elboroom.sklearn.rows import Numbers as Numbers
from elboroom.sklearn.rows import RowsEstimator
from elboroom.sklearn.saving import load_estimator, save_estimator
from elboroom.sklearn.scores import scores_of
from elboroom.training import fit
from elboroom.training.prepare import build

_BATCH = (32, 500)
_ROWS_TO_VALIDATE = 100  # from which a tenth of the rows is held out by default


class VAEEstimator(RowsEstimator):
    r"""Base class of the estimators: parameters, and the model that they train.

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
    kinds : mapping of str to str, or str, optional
        Kinds of columns, by name, as in :func:`elboroom.load_data`: ``{"zip": "category", "id": "ignored",
        "pay": "positive/quantile"}``. The columns of an array are named x0, x1, …. Of other columns those of
        numbers are real, and those of text, booleans and dates are what they hold; with "infer" the kinds
        of numbers are inferred too.
    unseen : {"refuse", "missing"}
        What a category is that was not there in training: an error, or a missing cell.
    missing_mechanism : {"ignorable", "self_masking"}
        Why cells are missing: at random, or with a probability that depends on their own value and is
        learned, as in :class:`elboroom.ModelConfig`.
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
        Stop after this many epochs without a better validation bound.
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
    vae\_ : VAE
        The trained model, on the CPU and in double precision, in which a row's results do not depend on the
        rows beside it.
    history\_ : list of dict
        One row per epoch; see :func:`elboroom.fit`.
    n_iter\_ : int
        Epochs trained.
    columns\_ : tuple of Column
        The columns that are modelled, with their kinds; empty if one likelihood models all numbers.
    n_features_in\_ : int
        Number of columns.
    feature_names_in\_ : array of str
        Names of the columns, if the input had any.
    """

    # Of a default training: steps, within limits of epochs, and the share of rows that is held out.
    _steps, _epochs_between, _held_out = 1_000, (20, 200), 0.1

    def __init__(
        self,
        n_components: int | None = 2,
        *,
        hidden: Any = (64, 64),
        activation: str = "relu",
        likelihood: str = "auto",
        kinds: Any = None,
        unseen: str = "refuse",
        missing_mechanism: str = "ignorable",
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
        self.kinds = kinds
        self.unseen = unseen
        self.missing_mechanism = missing_mechanism
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

    def _fit_rows(self, x: Numbers, rng: np.random.RandomState, weights: Numbers | None = None) -> Self:
        """Train a new model on rows (n, d), which count by their weights (n,)."""
        seeds = rng.randint(2**31 - 1, size=2)
        seed, self._noise_seed = int(seeds[0]), int(seeds[1])
        with _own_names():
            data, config = self._prepared(self._data(x), self._config(len(x), seed), weights)
            vae = build(config, data)
            self.history_ = fit(vae, data, config=config, quiet=not self.verbose)
        self.n_iter_ = len(self.history_)
        self._adopt(vae)
        self.__dict__.pop("_trainer", None)  # of partial_fit, which continued from another model
        return self

    def _train_further(self, x: Numbers, rng: np.random.RandomState, *, new: bool) -> None:
        """Train for one pass over rows (n, d)."""
        trainer: Increments | None = copy.deepcopy(getattr(self, "_trainer", None))
        if trainer is None:
            seeds = rng.randint(2**31 - 1, size=2)
            with _own_names():
                config = self._config(len(x), int(seeds[0]))
            vae = build(config, self._data(x)) if new else copy.deepcopy(self.vae_).float()
            trainer = Increments(vae, config, len(x))
        loss = trainer.train(x)
        if not math.isfinite(loss):
            raise FailureError(f"the loss is {loss}; lower learning_rate = {self.learning_rate:g}")
        if new:
            self._noise_seed, self.history_, self.n_iter_ = int(seeds[1]), [], 0
        self._trainer = trainer
        self.n_iter_ += 1
        self.history_ = [*self.history_, {"epoch": self.n_iter_, "step": trainer.steps, "loss": loss}]
        self._adopt(trainer.vae)

    def _data(self, x: Numbers) -> Dataset:
        """Rows as a data set to train on, with columns if each has a likelihood of its own."""
        return Dataset("X", x, np.zeros(len(x), np.uint8), published_split=True, columns=self.columns_)

    def _prepared(self, data: Dataset, config: Config, weights: Numbers | None) -> tuple[Dataset, Config]:
        """What the model is trained on, and how."""
        return (data, config) if weights is None else with_copies(data, config, weights=weights)

    def _adopt(self, vae: VAE) -> None:
        """Keep a copy of the model, at rest, and what its likelihood has learned of the columns."""
        self.vae_ = copy.deepcopy(vae).to("cpu", torch.float64).eval()
        self.columns_ = () if vae.config is None else tuple(vae.config.columns)

    def _config(self, rows: int, seed: int) -> Config:
        """The configuration of a training on this many rows."""
        fraction = self.validation_fraction
        if fraction is None:
            fraction = self._held_out if rows >= _ROWS_TO_VALIDATE else 0.0
        batch_size = self.batch_size
        if batch_size is None:
            batch_size = min(max(rows // 10, _BATCH[0]), _BATCH[1])
        options = {
            "latent_dim": self.n_components,
            "network": "mlp",
            "hidden": _whole_numbers("hidden", self.hidden),
            "activation": self.activation,
            "likelihood": self.likelihood,
            "missing_mechanism": self.missing_mechanism,
            "beta": self.beta,
            "batch_size": batch_size,
            "lr": self.learning_rate,
            "validation": fraction,
            "patience": self.patience,
            "seed": seed,
            "device": self.device,
        }
        config = Config().updated(**{**options, **self._more_options()})
        epochs = self.epochs
        if epochs is None:
            steps = math.ceil(rows * (1 - fraction) / config.training.batch_size)
            fewest, most = self._epochs_between
            epochs = min(max(math.ceil(self._steps / steps), fewest), most)
        return config.updated(epochs=epochs)

    def _more_options(self) -> dict[str, Any]:
        """Options of the configuration that depend on the likelihood or the estimator."""
        if self.likelihood in ("gaussian", "laplace", "student_t"):
            return {"standardize": True, "learn_scale": "shared", "likelihood_scale": 1.0}
        return {}

    def score_samples(self, X: Any) -> Numbers:
        """Estimate log p(x) of each row by importance sampling (arXiv:1509.00519), in nats.

        Parameters
        ----------
        X : array or DataFrame (n, n_features)
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
        return scores_of(self.vae_, x, self._samples(), self._noise_seed)

    def _samples(self) -> int:
        samples = self.importance_samples
        if isinstance(samples, bool) or not isinstance(samples, int | np.integer) or samples < 1:
            raise UsageError(f"importance_samples = {samples!r}: must be a whole number, 1 or more")
        return int(samples)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the fitted estimator to a new folder, without pickle: safetensors and JSON.

        Raises
        ------
        UsageError
            If the folder exists and is not to be replaced, or a parameter is no plain value.
        FailureError
            If it cannot be written.
        """
        check_is_fitted(self)
        save_estimator(self, path, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read an estimator that :meth:`save` wrote; no code from the folder is run.

        Raises
        ------
        UsageError
            If the folder holds no such estimator, one of another class, or a damaged one.
        """
        return load_estimator(cls, path)


_PARAMETERS = {"latent_dim": "n_components", "lr": "learning_rate", "validation": "validation_fraction"}


@contextmanager
def _own_names() -> Iterator[None]:
    """Make messages about a setting name the estimator's parameter."""
    try:
        yield
    except UsageError as error:
        said = re.sub(r"\b(latent_dim|lr|validation) = ", lambda at: f"{_PARAMETERS[at[1]]} = ", str(error))
        raise UsageError(said.replace("--validation ", "validation_fraction=")) from None


def _whole_numbers(name: str, values: Any) -> tuple[int, ...]:
    """Widths as a tuple of int; scikit-learn's parameters may be arrays."""
    try:
        return tuple(int(value) for value in values)
    except (TypeError, ValueError):
        raise UsageError(
            f"{name} = {values!r}: must be a sequence of whole numbers, such as (64, 64)"
        ) from None
