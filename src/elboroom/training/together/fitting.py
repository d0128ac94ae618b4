"""Training of several models in one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from elboroom.config import Config
from elboroom.data import Dataset, full_name, load_data
from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.training.loop import Training
from elboroom.training.notices import Notices
from elboroom.training.prepare import build
from elboroom.training.together.member import Member
from elboroom.training.together.train import History, group_of, train_together

Path = str | os.PathLike[str]


@dataclass(frozen=True)
class Fitted:
    """One of several models trained in one call.

    Attributes
    ----------
    config : Config
        What it was built and trained from.
    vae : VAE
        The trained model.
    history : list of dict
        Its rows, as of :func:`elboroom.fit`.
    error : Exception or None
        What ended its training early, such as a loss that diverged.
    """

    config: Config
    vae: VAE
    history: History
    error: Exception | None = None


def fit_many(
    configs: Sequence[Config],
    data: Dataset | NDArray[Any] | Path,
    *,
    out: Sequence[Path] | None = None,
    on_epoch: Callable[[int, VAE, dict[str, Any]], None] | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> list[Fitted]:
    """Build and train a model for each configuration, their steps taken as one batched step where possible.

    Small networks leave most of a processor idle, which a batched step uses. Each model is trained as by
    itself: with the initial weights, the order of the data and the noise of its seed, with its own
    checkpoints and history, and it has the same weights at the end, to rounding.

    Configurations that differ in ``seed``, ``beta`` and ``lr`` only are batched, unless a part is trained
    against the model (a critic), the model keeps statistics that each batch changes (batch normalisation, a
    codebook), an average of the weights is kept, or the optimiser is not Adam or AdamW. Then they are trained
    one after the other, and a notice says why.

    Parameters
    ----------
    configs : sequence of Config
        One for each model.
    data : Dataset, array or source
        As for :func:`elboroom.fit`.
    out : sequence of path, optional
        A run folder for each model; without it nothing is written.
    on_epoch : callable, optional
        Called with (index of the configuration, model, row of history) after every epoch of each model.
    overwrite : bool
        Replace runs that are in the folders.
    quiet : bool
        Print no notices.

    Returns
    -------
    list of Fitted
        In the order of the configurations.

    Raises
    ------
    UsageError
        If a configuration does not fit the data, or there are not as many folders as configurations.
    Stopped
        On Ctrl-C or SIGTERM, after saving.

    Examples
    --------
    >>> from elboroom import Config
    >>> configs = [Config().updated(hidden=[8], epochs=1, seed=seed) for seed in range(3)]
    >>> models = fit_many(configs, "digits", quiet=True)
    >>> [len(one.history) for one in models]
    [1, 1, 1]
    """
    configs = list(configs)
    if out is not None and len(out) != len(configs):
        raise UsageError(f"out names {len(out)} folders for {len(configs)} configurations; give one for each")
    if isinstance(data, str | os.PathLike):  # so that the command line finds them again
        configs = [config.updated(source=full_name(os.fspath(data))) for config in configs]
    loaded = load_data(data)
    trainings = [Training(build(one, loaded), loaded, one, quiet=True, engine=Member) for one in configs]
    for training, folder in zip(trainings, out or (), strict=bool(out)):
        training.create(folder, overwrite=overwrite)
    found = _train(trainings, on_epoch, Notices(quiet=quiet, silent=quiet))
    return [
        Fitted(
            training.config,
            training.engine.vae,
            training.record.history,
            one if isinstance(one, Exception) else None,
        )
        for training, one in zip(trainings, found, strict=True)
    ]


def _train(
    trainings: Sequence[Training],
    on_epoch: Callable[[int, VAE, dict[str, Any]], None] | None,
    notices: Notices,
) -> list[History | Exception]:
    calls = [
        None if on_epoch is None else (lambda vae, row, i=i: on_epoch(i, vae, row))
        for i in range(len(trainings))
    ]
    group = group_of(trainings, notices.advise) if len(trainings) > 1 else ""
    if not isinstance(group, str):
        return train_together(trainings, group, calls)
    if group:
        notices.advise(f"trained one after the other: {group}")
    found: list[History | Exception] = []
    for training, call in zip(trainings, calls, strict=True):
        try:
            found.append(training.run(call))
        except Exception as error:  # the others are trained all the same
            found.append(error)
    return found
