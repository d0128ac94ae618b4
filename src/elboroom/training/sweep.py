"""A training as a function of a trial, for programs that search for good options."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.errors import UsageError, nearest, shortened
from elboroom.runs.best_epoch import can_be_best, quality
from elboroom.training.loop import Training
from elboroom.training.prepare import build
from elboroom.training.reading import load_as

Space = Callable[[Any], Mapping[str, Any]]
"""From a trial to the options that it is trained with, by name."""


class Sweep:
    """Trains a model for each trial, and returns one number of it: an objective for Optuna and Ray Tune.

    With Optuna, every epoch is reported to the trial, and the trial ends when the study prunes it. Trials in
    several threads are trained one after the other; use several processes to train them at the same time.

    Parameters
    ----------
    data : Dataset, array or source
        Anything that :func:`elboroom.load_data` takes; loaded once, at the first trial.
    space : callable, optional
        ``trial → options``: the fields of the configuration that the trial chooses. Without it a trial is
        itself a mapping of them, as Ray Tune gives.
    config : Config, optional
        Base configuration, such as :func:`elboroom.recipe` returns.
    metric : str
        Column of the history. The number returned is that of the epoch whose weights would be kept: the one
        with the best validation bound, or the last without validation.
    report : callable, optional
        Called with ``{"epoch": …, metric: …}`` after each epoch, as ``ray.tune.report``.
    out : path, optional
        Folder for the runs, named ``trial-0007`` by the trial's ``number``; without it nothing is written.
    **options
        Fields of the configuration for all trials.

    Raises
    ------
    UsageError
        If an option is invalid. A call raises it if the options of the trial are invalid or do not fit the
        data, and :class:`elboroom.errors.FailureError` if the training diverges.

    Examples
    --------
    >>> objective = Sweep("digits", epochs=1, hidden=[8])
    >>> worse, better = objective({"lr": 1e-5}), objective({"lr": 1e-2})
    >>> worse < better < 0
    True
    """

    def __init__(
        self,
        data: Dataset | NDArray[Any] | str | os.PathLike[str],
        space: Space | None = None,
        *,
        config: Config | None = None,
        metric: str = "val_elbo",
        report: Callable[[dict[str, Any]], Any] | None = None,
        out: str | os.PathLike[str] | None = None,
        **options: Any,
    ):
        for name, value in (("space", space), ("report", report)):
            if value is not None and not callable(value):
                raise UsageError(f"{name} = {shortened(value)}: must be a function")
        self._source = data
        self._space = space
        self._config = (config or Config()).updated(**options)
        self._metric = metric
        self._report = report
        self._out = None if out is None else Path(out)
        self._begin()

    def _begin(self) -> None:
        self._loaded: Dataset | None = None
        self._lock = threading.Lock()  # the random numbers of a training are those of the process

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what each process has for itself."""
        return {name: value for name, value in vars(self).items() if name not in ("_loaded", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    def __call__(self, trial: Any) -> float:
        """Train with the options of a trial, and return the number to optimise."""
        config = self._config.updated(**self._options_of(trial))
        folder = self._folder_of(trial)
        with self._lock:
            if self._loaded is None:
                mixed = config.model.likelihood in ("auto", "mixed")
                self._loaded = load_as(config, self._source, mixed=mixed)
            training = Training(build(config, self._loaded), self._loaded, config, quiet=True)
            if folder is not None:
                training.create(folder)
            try:
                history = training.run(lambda _, row: self._after_epoch(trial, row))
            finally:
                training.tracking.close()
                training.checkpoints.close()
        return self._number(_kept(history))

    def _options_of(self, trial: Any) -> Mapping[str, Any]:
        found = trial if self._space is None else self._space(trial)
        if not isinstance(found, Mapping):
            what = "a trial" if self._space is None else "what space returns"
            raise UsageError(
                f"{what} is {shortened(found)}: must be a mapping of options; give space=, a function "
                "such as lambda trial: {'lr': trial.suggest_float('lr', 1e-4, 1e-2, log=True)}"
            )
        return found

    def _folder_of(self, trial: Any) -> Path | None:
        if self._out is None:
            return None
        number = getattr(trial, "number", None)
        if not isinstance(number, int):
            raise UsageError(
                f"out = {str(self._out)!r} needs trials with a number, as Optuna's have; leave it out"
            )
        return self._out / f"trial-{number:04d}"

    def _after_epoch(self, trial: Any, row: dict[str, Any]) -> None:
        value = self._number(row)
        if self._report is not None:
            self._report({"epoch": row["epoch"], self._metric: value})
        if hasattr(trial, "should_prune"):
            trial.report(value, row["epoch"])
            if trial.should_prune():
                from optuna import TrialPruned

                raise TrialPruned(f"after epoch {row['epoch']}")

    def _number(self, row: Mapping[str, Any]) -> float:
        value = row.get(self._metric)
        if not isinstance(value, int | float):
            why = f"the history has no number {self._metric}"
            if self._metric.startswith("val_") and "val_elbo" not in row:
                why = "there are no validation examples; hold some out with validation=0.1"
            numbers = [name for name, found in row.items() if isinstance(found, int | float)]
            raise UsageError(f"metric = {self._metric!r}: {why}; {nearest(self._metric, numbers)}")
        return float(value)


def _kept(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of the epoch whose weights are kept: the first of the best, or the last without one."""
    measured = [row for row in history if can_be_best(row)]
    return max(measured, key=quality) if measured else history[-1]
