"""Training of several models in one call."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from elboroom.config import Config
from elboroom.data import Dataset, full_name
from elboroom.errors import UsageError, reason_of
from elboroom.models.vae import VAE
from elboroom.runs.folder import check_free
from elboroom.training.loop import Training
from elboroom.training.notices import Notices
from elboroom.training.prepare import build
from elboroom.training.reading import load_as
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
        Before anything is written: if a configuration does not fit the data, or there are not as many
        free folders as configurations.
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
    configs = _configs(configs)
    folders = None if out is None else _folders(out, len(configs))
    if on_epoch is not None and not callable(on_epoch):
        raise UsageError(f"on_epoch = {on_epoch!r}: must be a function of (index, model, row)")
    if isinstance(data, str | os.PathLike):  # so that the command line finds them again
        configs = [config.updated(source=full_name(os.fspath(data))) for config in configs]
    mixed = any(config.model.likelihood in ("auto", "mixed") for config in configs)
    loaded = load_as(configs[0], data, mixed=mixed)
    trainings = [Training(build(one, loaded), loaded, one, quiet=True, engine=Member) for one in configs]
    for folder in folders or ():  # all, before any is made
        check_free(folder, overwrite=overwrite)
    notices = Notices(quiet=quiet, silent=quiet)
    try:
        for training, folder in zip(trainings, folders or (), strict=folders is not None):
            training.create(folder, overwrite=overwrite)
        found = _train(trainings, on_epoch, notices)
    finally:
        for training in trainings:  # also those whose turn never came
            training.tracking.close()
            training.checkpoints.close()
    for i, one in enumerate(found):
        if isinstance(one, Exception):
            notices.fault(f"the training of configuration {i} has failed: {reason_of(one)}")
    return [
        Fitted(
            training.config,
            training.engine.vae,
            training.record.history,
            one if isinstance(one, Exception) else None,
        )
        for training, one in zip(trainings, found, strict=True)
    ]


def _configs(configs: Any) -> list[Config]:
    """Check that configurations are a sequence of them."""
    if isinstance(configs, Config | str | Mapping) or not isinstance(configs, Iterable):
        raise UsageError(
            f"configs has type {type(configs).__name__}; give a list with one Config for each model, such as "
            "[Config().updated(seed=seed) for seed in range(3)]"
        )
    configs = list(configs)
    for i, config in enumerate(configs):
        if not isinstance(config, Config):
            raise UsageError(f"configs[{i}] has type {type(config).__name__}; it must be a Config")
    return configs


def _folders(out: Any, count: int) -> list[pathlib.Path]:
    """Check that there is a folder of its own for each of ``count`` configurations."""
    if isinstance(out, str | bytes | os.PathLike) or not isinstance(out, Sequence):
        raise UsageError(
            f"out = {str(out)!r} is no list of folders; give one for each configuration, such as "
            '[f"runs/{i}" for i in range(3)]'
        )
    if len(out) != count:
        raise UsageError(f"out names {len(out)} folders for {count} configurations; give one for each")
    for i, folder in enumerate(out):
        if not isinstance(folder, str | os.PathLike):
            raise UsageError(f"out[{i}] = {folder!r}: must be a path")
    folders = [pathlib.Path(folder) for folder in out]
    places = [folder.resolve() for folder in folders]
    for i, place in enumerate(places):
        if place in places[:i]:
            raise UsageError(f"out names {folders[i]} twice; give each configuration a folder of its own")
    return folders


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
