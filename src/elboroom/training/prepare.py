"""Preparation of a training: the validation part, and checks that data, model and configuration fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from elboroom.config import Config, ModelConfig
from elboroom.config.penalties import PENALTIES
from elboroom.data import Dataset
from elboroom.data.centre import stored_of
from elboroom.data.columns import as_numbers, match_columns
from elboroom.data.conditioned import condition_size, label_ids
from elboroom.data.copies import without_copies
from elboroom.data.preparation import Preparation, value_range_of
from elboroom.data.rows import extent
from elboroom.errors import UsageError, some
from elboroom.evaluation.support import check_support
from elboroom.models.vae import VAE
from elboroom.models.weight_files import sha256_of
from elboroom.runs.run import Run
from elboroom.training.crops import as_crops, check_shift
from elboroom.training.defaults import fitting_model
from elboroom.training.step.buffers import moving_buffers

_MAY_CHANGE = {"epochs", "patience", "device", "figures_every", "strict", "source", "condition_file"}
_MAY_CHANGE |= {"lpips_weights", "keep_checkpoints", "shard_optimizer", "checkpoint_activations", "track"}


def prepare(data: Dataset, config: Config) -> Dataset:
    """Hold out the validation part, set the pixel scale and show centre crops, as the configuration says.

    By default a tenth is held out, or nothing if the data have a published split. A table for another
    likelihood than the mixed one becomes rows of plain numbers.
    """
    if config.model.likelihood not in ("auto", "mixed"):
        data = as_numbers(data)
    if config.data.duplicates == "drop":
        data = without_copies(replace(data, x=stored_of(data.x)))
    data = as_crops(data, config)
    fraction = config.data.validation
    if fraction is None:
        unsplit = not data.published_split and len(data.indices("train")) >= 20
        fraction = 0.1 if unsplit else 0.0
    data = replace(data, scale=_scale_of(config, data))
    seed = config.training.seed if config.data.split_seed is None else config.data.split_seed
    return data.with_validation(fraction, seed)


def data_for(vae: VAE, data: Dataset) -> Dataset:
    """Bring a table to the columns of a model, by name; to plain numbers, if the model has no columns.

    Raises
    ------
    UsageError
        If it has other columns, or such as cannot be plain numbers; the message names the first.
    """
    if not data.columns:
        return data
    if not vae.accepts_missing:
        return as_numbers(data)
    known = vae.config.columns if vae.config is not None else ()
    return match_columns(data, known) if known else data


def _scale_of(config: Config, data: Dataset) -> float:
    """Return the pixel value that is 1 in model units; with noise from [0, 1), one more than the highest.

    Raises
    ------
    UsageError
        If noise is to be added and the data are not 8-bit integers.
    """
    given, spread = config.data.pixel_scale, config.data.dequantize != "none"
    if spread and data.x.dtype != np.uint8:
        raise UsageError(
            f"dequantize = {config.data.dequantize!r} adds noise to 8-bit values, and {data.name} contains "
            f"{data.x.dtype} numbers; leave it out"
        )
    if given not in (None, 1) and data.columns:
        raise UsageError(f"pixel_scale = {given:g} divides pixels, and {data.name} is a table; leave it out")
    return given if given is not None else data.scale + spread


def preparation_of(data: Dataset) -> Preparation:
    """Return how the examples were made, as far as known, and the values of black and white."""
    made = data.preparation or Preparation()
    if not data.is_image:
        return made
    height, width = stored_of(data.x).shape[1:3]
    stored = None if data.shape[:2] == (height, width) else (height, width)
    return replace(made, value_range=value_range_of(data.x, data.scale), stored=stored)


def build(config: Config, data: Dataset) -> VAE:
    """Build the configured model for data with the initial weights of its seed.

    `elboroom.training.defaults.fitting_model` chooses a network and a likelihood that are "auto". The state
    of PyTorch's random generator does not change.

    Raises
    ------
    UsageError
        If the configuration does not fit the data, as a conditional model without labels or vectors.
    """
    kind = config.model.condition
    conditions: dict[str, Any] = {}
    if kind != "none":
        conditions = {"condition_dim": condition_size(data, kind)}
        if kind == "labels":
            conditions |= {"condition_names": data.label_names, "condition_ids": label_ids(data)}
    scale = _scale_of(config, data)
    data = as_crops(data, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training.seed)
        model, _ = fitting_model(config, data)
        return VAE.build(model, shape=data.shape, scale=scale, **conditions)


def adopt_labels(vae: VAE, data: Dataset) -> None:
    """Give a model that knows its labels by their order only the names that they have in the data.

    Data with other classes, or with the same classes in another order, are then not mistaken for these.
    """
    own = vae.conditioning
    if own is None or own.kind != "labels" or own.names or own.ids or data.labels is None:
        return
    names, ids = data.label_names, label_ids(data)
    if len(names or ids) != own.size:
        return
    own.names, own.ids = names, ids
    if vae.config is not None:
        vae.config = ModelConfig(**{**dict(vae.config), "condition_names": names, "condition_ids": ids})


def resolve(vae: VAE, data: Dataset, config: Config) -> Config:
    """Check that data and model fit each other, and fill in what they determine."""
    if data.shape != vae.shape:
        raise UsageError(
            f"{data.name} has examples of shape {data.shape} and the model takes {vae.shape}; "
            "build it with shape=data.shape"
        )
    if data.x.dtype == np.uint8 and vae.scale != data.scale:
        raise UsageError(
            f"in {data.name} pixel value {data.scale:g} is 1, and the model was built for {vae.scale:g}; "
            f"build it with scale={data.scale:g}"
        )
    _check_batch_norm(vae, data, config)
    _check_accumulate(vae, config)
    spacing = getattr(vae.likelihood, "spacing", None)
    check_support(data, vae.likelihood.support, config.data.binarize, spacing)
    support = vae.likelihood.support
    if config.data.dequantize != "none" and support is not None and len(data):
        highest = float(extent(data.x)[1]) + 1
        if highest > data.scale * support[1]:
            raise UsageError(
                f"pixel_scale = {data.scale:g}, and with noise {data.name} reaches {highest:g}, outside the "
                "likelihood's support; leave pixel_scale out"
            )
    if config.data.flip and not data.is_image:
        raise UsageError(f"flip mirrors images, and {data.name} contains none; leave it out")
    if config.data.crop:
        check_shift(data, config.data.crop)
    if config.training.patience is not None and not len(data.indices("validation")):
        raise UsageError(
            f"patience = {config.training.patience} needs validation examples; "
            "hold some out with --validation 0.1"
        )
    against = [name for name in config.objective.penalties if PENALTIES[name].costs_likelihood]
    if config.training.patience is not None and against:
        raise UsageError(
            f"patience = {config.training.patience} waits for a better validation bound, which "
            f"{', '.join(against)} gives up for detail; leave patience out"
        )
    config = in_sums(config, data.shape)
    sections: dict[str, Any] = {"data": {"source": config.data.source or data.name}}
    if vae.config is not None:
        sections["model"] = dict(vae.config)
    sections["objective"] = _known_weights(config)
    start = config.objective.critic_start
    if start and config.objective.critic_start_epochs is None:
        epochs, warmup = config.training.epochs, config.objective.critic_warmup
        sections["objective"] |= {"critic_start_epochs": start * epochs}
        if warmup is not None:  # whole epochs, whose means in the history are of one kind
            sections["objective"]["critic_wakes_epochs"] = math.floor((start - warmup) * epochs + 1e-9)
    return config.merged(sections)


def _known_weights(config: Config) -> dict[str, Any]:
    """Note where the weights of a perceptual distance are, and their SHA-256."""
    own = config.objective
    if not own.lpips_weights:
        return {}
    paths = tuple(str(Path(path).expanduser().resolve()) for path in own.lpips_weights)
    given = tuple(one.lower() for one in own.lpips_sha256)
    return {"lpips_weights": paths, "lpips_sha256": given or sha256_of(paths)}


def freeze(vae: VAE, part: Literal["none", "encoder"]) -> None:
    """Keep the encoder, and what a posterior learns beside it, from being trained.

    Raises
    ------
    UsageError
        If it would change all the same, by statistics that it keeps of each batch.
    """
    if part == "none":
        return
    moving = [name for name in moving_buffers(vae) if name.startswith(("encoder.", "posterior."))]
    if moving:
        raise UsageError(
            f"freeze = 'encoder': the encoder keeps statistics of each batch ({some(moving)}), which go on "
            "changing; use normalization = 'group' or 'none'"
        )
    for held in (vae.encoder, vae.posterior):
        held.requires_grad_(False)


def in_sums(config: Config, shape: Sequence[int]) -> Config:
    """Convert beta and the optimiser's eps to those of a loss that is summed over an example's D numbers.

    A loss that is averaged over them is the same divided by D. So are its gradients, to whose size eps is
    relative, and the weight of its KL, which is also divided by the batch size if the KL is summed over the
    batch.

    Examples
    --------
    >>> config = Config().updated(beta=1e-4, beta_unit="mean_kl_sum", batch_size=32)
    >>> round(in_sums(config, (28, 28, 1)).objective.beta, 4)
    2.5088
    """
    unit = config.objective.beta_unit
    if unit == "sum":
        return config
    size = math.prod(shape)
    beta = config.objective.beta * size * (config.training.step_size if unit == "mean_kl_sum" else 1)
    options = dict(config.optimizer.optimizer_options)
    if "eps" in options:
        options["eps"] *= size
    return config.updated(beta=beta, beta_unit="sum", optimizer_options=options)


def check_same(folder: Run, config: Config, *, custom_objective: bool, state: dict[str, Any]) -> None:
    """Make sure that a run is resumed with its own options; only its length and place may change.

    Raises
    ------
    UsageError
        If another option differs from that of the run, or a custom objective is not given again.
    """
    for section in Config.model_fields:
        if section == "model" and folder.custom_model:
            continue
        before, now = getattr(folder.config, section), getattr(config, section)
        for name in type(now).model_fields:
            if name not in _MAY_CHANGE and getattr(before, name) != getattr(now, name):
                raise UsageError(
                    f"{name} = {getattr(now, name)!r}, and {folder.path} was started with "
                    f"{getattr(before, name)!r}; only {', '.join(sorted(_MAY_CHANGE))} may change on resuming"
                )
    if state["custom_objective"] and not custom_objective:
        raise UsageError(f"{folder.path} was trained with a custom objective; pass it again as objective=")


def _check_accumulate(vae: VAE, config: Config) -> None:
    """Refuse to divide batches whose examples change what the model keeps, or are weighed together."""
    together = [name for name in config.objective.penalties if PENALTIES[name].whole_batch]
    if config.training.accumulate > 1 and together:
        raise UsageError(
            f"accumulate = {config.training.accumulate}: {', '.join(together)} is scaled by gradients of the "
            "whole batch, so that it cannot be divided; set accumulate to 1"
        )
    moving = list(moving_buffers(vae))
    if config.training.accumulate > 1 and moving:
        raise UsageError(
            f"accumulate = {config.training.accumulate}: the model keeps statistics of each batch "
            f"({some(moving)}), so that a batch cannot be divided; set accumulate to 1"
            + (", or code_normalization to 'none'" if all(".vectors." in name for name in moving) else "")
        )


def _check_batch_norm(vae: VAE, data: Dataset, config: Config) -> None:
    """Refuse batch normalisation with a batch of one example, which has no variance."""
    if not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in vae.modules()):
        return
    n, size = len(data.indices("train")), config.training.batch_size
    last = size if config.training.batches_per_epoch is not None else (n % size or size)
    if size == 1 or last == 1:
        raise UsageError(
            f"batch_size = {size} leaves one of {n} training examples alone, and batch normalisation cannot "
            "learn from one; choose another batch_size"
        )
