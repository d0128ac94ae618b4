"""The measures of published results, in chunks that are kept, so that a stop loses little."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elboroom.data.batches import Batches
from elboroom.data.dataset import Dataset
from elboroom.errors import FailureError, UsageError
from elboroom.evaluation.estimators import Plan, log_weights
from elboroom.evaluation.fitting import fit_prior, sampled_codes
from elboroom.evaluation.measure import Measure
from elboroom.evaluation.measures import measure
from elboroom.evaluation.picture_features import Features
from elboroom.evaluation.picture_measures import picture_measures
from elboroom.io.files import json_text, read_json, write_atomic
from elboroom.latent.arrays import seeded
from elboroom.models.terms import NLL
from elboroom.models.vae import VAE

CHUNK = 250
"""Test examples that are measured at a time."""

Rows = NDArray[np.int64]


class MeasuringStoppedError(Exception):
    """The caller wanted to stop; all chunks so far are kept."""


def likelihood(
    vae: VAE,
    batches: Batches,
    indices: Rows,
    *,
    num_samples: int,
    seed: int,
    folder: Path,
    on_chunk: Callable[[int], bool],
) -> Measure:
    """Importance-sampled negative log-likelihood, kept in ``folder`` chunk by chunk.

    Each chunk has a seed of its own for what it draws, pixels and codes, so that the result does not depend
    on where it was stopped.

    Parameters
    ----------
    vae : VAE
        On the device of ``batches``.
    batches : Batches
        The data as the model saw them in training.
    indices : array
        Of the test examples, (n,).
    num_samples : int
        Importance samples of each example.
    seed : int
        Of the first chunk; those that follow count on.
    folder : Path
        Where chunks are kept, one file each.
    on_chunk : callable
        Is told the number of examples done before each chunk; returns whether to stop.

    Returns
    -------
    Measure
        Mean in nats with its Monte Carlo standard error. ``details`` has ``error_of_test_set``, the standard
        error if the examples are seen as a sample themselves; ``unreliable``, the share of examples with
        Pareto k̂ above 0.7; and ``seconds``, the time it took.

    Raises
    ------
    MeasuringStoppedError
        If ``on_chunk`` says so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[dict[str, Any]] = []
    starts = range(0, len(indices), CHUNK)
    for number, start in enumerate(starts):
        path = folder / f"{num_samples}-{number:04d}.json"
        chosen = indices[start : start + CHUNK]
        kept = _kept(path, len(chosen), seed + number)
        if kept is None:
            if on_chunk(start):
                raise MeasuringStoppedError
            began = time.perf_counter()
            kept = {"seed": seed + number, **_measure_chunk(vae, batches, chosen, num_samples, seed + number)}
            kept["seconds"] = time.perf_counter() - began
            write_atomic(path, json_text(kept) + "\n")
        parts.append(kept)
    values, errors, shapes = (np.concatenate([part[name] for part in parts]) for name in _COLUMNS)
    n = len(values)
    return Measure(
        value=math.fsum(values) / n,
        error=math.sqrt(math.fsum(errors**2)) / n,
        unit="nats",
        estimator=f"importance sampling, {num_samples:,} samples of each example",
        examples=n,
        seed=seed,
        details={
            "error_of_test_set": float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else None,
            "unreliable": float((shapes > 0.7).mean()),
            "seconds": sum(part["seconds"] for part in parts),
        },
    )


_COLUMNS = ("value", "stderr", "pareto_k")


def examples_kept(folder: Path) -> int:
    """Count the test examples whose chunks are kept."""
    chunks = (read_json(path, "remove it, and it is measured again") for path in folder.glob("*.json"))
    return sum(len(chunk["value"]) for chunk in chunks)


def _kept(path: Path, examples: int, seed: int) -> dict[str, Any] | None:
    """Read a chunk that was measured before; None if there is none."""
    if not path.exists():
        return None
    found = read_json(path, "remove it, and the same command measures it again")
    sound = isinstance(found, dict) and found.get("seed") == seed and "seconds" in found
    if not sound or any(len(found.get(name, ())) != examples for name in _COLUMNS):
        raise UsageError(f"{path} belongs to another measurement; remove it, and it is measured again")
    return dict(found)


def _measure_chunk(
    vae: VAE, batches: Batches, chosen: Rows, num_samples: int, seed: int
) -> dict[str, list[float]]:
    where = next(vae.parameters()).device
    with seeded(vae, seed), vae.at_rest("fp32"), torch.no_grad():
        rows = torch.from_numpy(chosen).to(where)
        weights = log_weights(vae, batches[rows], None, Plan("importance", num_samples))
        found = NLL.from_log_weights(weights)
    columns = {name: getattr(found, name).cpu().tolist() for name in _COLUMNS}
    if not all(math.isfinite(value) for value in columns["value"]):
        raise FailureError("the likelihood of a test example is not finite; train with a lower learning rate")
    return columns


def disentanglement_gap(vae: VAE, data: Dataset, batches: Batches, seed: int) -> Measure:
    """Mutual information gap on at most 10,000 examples of a set whose factors are known."""
    began, everything = time.perf_counter(), np.arange(len(data))
    found = measure(vae, data, batches, everything, ["disentanglement"], seed=seed)["disentanglement"]["mig"]
    return replace(found, details={**found.details, "seconds": time.perf_counter() - began})


def distance_of_samples(vae: VAE, data: Dataset, batches: Batches, features: Features, seed: int) -> Measure:
    """Fréchet distance between test images and as many draws from a Gaussian mixture fitted to the codes."""
    began, test = time.perf_counter(), np.asarray(data.indices("test"))
    codes = sampled_codes(vae, batches, np.asarray(data.indices("train")), seed=seed)
    fitted = fit_prior(codes, seed=seed)
    measures = picture_measures(vae.with_prior(fitted.density), data, test, features=features, seed=seed)
    found = measures["frechet_draws"]
    return replace(found, details={**found.details, "seconds": time.perf_counter() - began})
