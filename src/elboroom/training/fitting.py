"""Training in one call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from elboroom.config import Config, DataConfig, ModelConfig
from elboroom.data import Dataset, full_name
from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.objectives import Objective
from elboroom.runs.run import Run
from elboroom.training.callbacks import Callback
from elboroom.training.loop import Training
from elboroom.training.prepare import adopt_labels
from elboroom.training.reading import load_as


def fit(
    vae: VAE,
    data: Dataset | NDArray[Any] | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    config: Config | None = None,
    objective: Objective | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_epoch: Callback | None = None,
    on_step: Callback | None = None,
    quiet: bool = False,
    **options: Any,
) -> list[dict[str, Any]]:
    """Train a VAE in place.

    Afterwards the model has the weights with the best validation bound or, without validation examples, the
    last ones. The bound is the ELBO, or the importance-weighted bound if the objective takes several samples.
    Hooks, replaced methods, parametrizations and ``requires_grad`` act as in a plain loop over the same model
    and objective; changes that cannot are refused.

    Parameters
    ----------
    vae : VAE
        The model; it is moved to the device that it is trained on.
    data : Dataset, array or source
        An array (n, h, w[, c]) or (n, d), or anything that :func:`elboroom.load_data` takes.
    out : path, optional
        Run folder; without it nothing is written.
    config : Config, optional
        Base configuration, which ``options`` override.
    objective : Objective, optional
        Objective to use instead of the configured one.
    resume : bool
        Resume from the checkpoint in ``out`` and train up to ``epochs``.
    overwrite : bool
        Replace the run in ``out``.
    on_epoch : callable, optional
        Called with (vae, row of history) after every epoch.
    on_step : callable, optional
        Called with (vae, row) after every step; the row has ``epoch step learning_rate`` and the means of the
        epoch so far. Either may raise ``StopTraining``; see docs/trackers.md.
    quiet : bool
        Show no progress.
    **options
        Fields of the configuration by name: ``epochs=20, batch_size=100, beta=4, lr=1e-3, seed=0, ...``

    Returns
    -------
    list of dict
        One row per epoch: ``epoch step loss distortion rate rate_per_dim beta learning_rate grad_norm
        images_per_second seconds`` and the same measured on validation as ``val_*``; nats per example.
        Without ``clip`` the gradient norm is measured in every tenth step, and is None for an epoch without
        such a step. Some parts add columns: ``rate_1`` … for the layers of a hierarchy, ``perplexity`` for a
        codebook, ``penalty_NAME`` for an unweighted penalty, ``loss_NAME`` for a critic.

    Raises
    ------
    UsageError
        If an option, the shape or range of the data, or the output folder is not acceptable; or if an option
        belongs to the model and differs from what ``vae`` was built with.
    FailureError
        If training diverges, or the disk is full.
    Stopped
        On Ctrl-C or SIGTERM, after saving.

    Examples
    --------
    >>> import numpy as np
    >>> vae = VAE.build(shape=(4,), latent_dim=1, hidden=[8])
    >>> history = fit(vae, np.eye(4, dtype=np.float32).repeat(10, 0), epochs=2, quiet=True)
    >>> [row["epoch"] for row in history]
    [1, 2]
    """
    if resume and out is None:
        raise UsageError("resume=True needs out=, the folder of the run to resume")
    folder = Run(out) if resume and out is not None else None
    config = config or (folder.config if folder else Config())
    if isinstance(data, str | os.PathLike):  # the command line then finds them again
        options = {"source": full_name(os.fspath(data)), **options}
    _check_model_options(vae, options)
    reading = {name: value for name, value in options.items() if name in DataConfig.model_fields}
    columns = () if vae.config is None else vae.config.columns
    data = load_as(config.updated(**reading), data, mixed=vae.accepts_missing, columns=columns)
    before = folder.config.model if folder and not folder.custom_model else None
    if before is None or before.condition_names or before.condition_ids:  # else it was started without names
        adopt_labels(vae, data)
    if vae.config is not None:  # options are checked against the model that is trained
        config = config.merged({"model": dict(vae.config)})
    training = Training(vae, data, config.updated(**options), objective, quiet=quiet)
    if folder is not None:
        training.open(folder)
    elif out is not None:
        training.create(out, overwrite=overwrite)
    history = training.run(on_epoch, on_step=on_step)
    training.tracking.close()
    return history


def _check_model_options(vae: VAE, options: Mapping[str, Any]) -> None:
    """Refuse options of the model that differ from what it was built with.

    Raises
    ------
    UsageError
        For the first of them.
    """
    asked = {name: value for name, value in options.items() if name in ModelConfig.model_fields}
    if asked and vae.config is None:
        name, value = next(iter(asked.items()))
        raise UsageError(
            f"{name} = {value!r} is part of the model, and this VAE was composed in Python; give it to "
            "the parts it is composed of"
        )
    wanted = vae.config and ModelConfig(**{**dict(vae.config), **asked})
    for name in asked:
        here, there = getattr(wanted, name), getattr(vae.config, name)
        if here != there:
            raise UsageError(
                f"{name} = {here!r} is part of the model, which was built with {name} = {there!r}; give "
                "it to VAE.build"
            )
