"""What the doctor looks at: the records of a run, its data, and its codes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elboroom.config import Config
from elboroom.config.bounds import BOUNDS
from elboroom.config.posteriors import POSTERIORS
from elboroom.data.batches import Batches
from elboroom.data.dataset import Dataset, Part
from elboroom.doctor.held_out import HeldOut, Samples, compare, hole, samples_near, why_unfit
from elboroom.doctor.leaks import Repeats, repeats_in
from elboroom.errors import UsageError
from elboroom.evaluation.support import checked_batches
from elboroom.io.tensors import first_unusable, read_tensors
from elboroom.models.fitted_prior import FILE
from elboroom.models.vae import VAE
from elboroom.probability.posteriors import DiagonalGaussian
from elboroom.runs.run import Run

_EXAMPLES = 1000
_PARTS: tuple[Part, ...] = ("test", "validation", "train")
_ENOUGH = 1 - 1e-3  # of the final beta


@dataclass(frozen=True)
class Codes:
    """Diagonal Gaussian posteriors of n examples: means and standard deviations, (n, d), float64."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @property
    def rates(self) -> NDArray[np.float64]:
        """KL to the standard normal of each dimension, mean over the examples, (d,), nats."""
        variance = self.scale**2
        found: NDArray[np.float64] = (0.5 * (self.mean**2 + variance - 1 - np.log(variance))).mean(0)
        return found


@dataclass(frozen=True)
class Chart:
    """All that is known of a run.

    Attributes
    ----------
    config : Config
        As it was trained with.
    history : sequence of dict
        A row for each epoch.
    shape : tuple of int or None
        Of one example.
    unusable : str or None
        Why the weights cannot be computed with, or how training diverged.
    metrics : mapping
        Results of the evaluation after training.
    values : array or None
        Some training examples in model units, (n, *shape), as the likelihood scores them; None if the data
        were not read, or are a table of mixed columns.
    codes : Codes or None
        Of some examples; None if the model was not read, or its posterior is another.
    repeats : Repeats or None
        Copies among the examples; None if the data were not read, or are too large for it.
    held_out : HeldOut or None
        Bounds of some training and held-out examples, of a model whose rate is part of its bound.
    samples : Samples or None
        Samples beside training and held-out examples, of such a model.
    hole : float or None
        Lower bound on the divergence of the codes of all examples from the prior, nats; None where codes lie
        on a grid.
    has_fitted_prior : bool
        Whether a density was fitted to the codes after training.
    composed : bool
        Whether the model was composed in Python, so that the configuration says nothing of it.
    unseen : tuple of str
        What could not be looked at, and why.
    """

    config: Config
    history: Sequence[Mapping[str, Any]] = ()
    shape: tuple[int, ...] | None = None
    unusable: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    values: NDArray[np.float32] | None = None
    codes: Codes | None = None
    repeats: Repeats | None = None
    held_out: HeldOut | None = None
    samples: Samples | None = None
    hole: float | None = None
    has_fitted_prior: bool = False
    composed: bool = False
    unseen: tuple[str, ...] = ()

    @property
    def has_rate(self) -> bool:
        """Whether the loss is known to be a bound with a rate, which beta weights."""
        objective, posterior = self.config.objective, POSTERIORS[self.config.model.posterior]
        rate = BOUNDS[objective.bound].beta_weighs == "the rate"
        return not self.composed and rate and posterior.has_density and objective.beta > 0

    @property
    def steps(self) -> int | None:
        """Steps of training; None if the history does not tell."""
        found = self.history[-1].get("step") if self.history else None
        return None if found is None else int(found)

    @property
    def first_elbo(self) -> float:
        """ELBO of the training examples in the first epoch, nats; nan if there is none."""
        row = self.history[0] if self.history else None
        return math.nan if row is None else -float(row["distortion"] + row["rate"])

    def losses(self, *, held_out: bool = False) -> list[float]:
        """Distortion + beta · rate of each epoch that ended with beta at its full value, nats per example.

        With ``held_out`` they are of the validation examples; none if there are no such examples.
        """
        objective, part = self.config.objective, "val_" if held_out else ""
        beta = objective.beta if BOUNDS[objective.bound].beta_weighs == "the rate" else 0.0
        return [
            float(row[f"{part}distortion"] + (beta * row[f"{part}rate"] if beta else 0.0))
            for row in self.history
            if f"{part}distortion" in row and row["beta"] >= beta * _ENOUGH
        ]


def chart_of(run: Run, data: Dataset | None = None, seed: int = 0) -> Chart:
    """Read the records of a run and, if its data are given, look at its data and codes.

    The seed chooses at most 1,000 training and 1,000 held-out examples.

    Raises
    ------
    UsageError
        If the files of the run are damaged, or it has no epoch and no model yet.
    """
    if not run.history and not (run.path / "model.safetensors").exists() and run.status.state == "training":
        raise UsageError(f"{run.path} has not finished an epoch yet; there is nothing to examine")
    chart = Chart(
        config=run.config,
        history=run.history,
        shape=None if run.custom_model else run.config.model.shape,
        unusable=_unusable(run),
        metrics=run.metrics,
        has_fitted_prior=(run.path / FILE).exists(),
        composed=run.custom_model,
    )
    if run.custom_model:
        return replace(chart, unseen=("data and codes: the model was composed in Python",))
    if data is None:
        return replace(chart, unseen=("data and codes",))
    rng = np.random.default_rng(seed)
    chart = replace(chart, repeats=repeats_in(data))
    if not data.columns:
        chart = replace(chart, values=data.values(_some(data.indices("train"), rng)))
    if chart.unusable is not None:
        return replace(chart, unseen=("codes: the weights are not usable",))
    if not (run.path / "model.safetensors").exists():
        return replace(chart, unseen=("codes: there is no model yet",))
    held_out = next(rows for rows in map(data.indices, _PARTS) if len(rows))
    vae, options = run.model(), run.config.data
    device = next(vae.parameters()).device
    batches = Batches(data, device, binarize=options.binarize, dequantize=options.dequantize)
    batches.condition_on(vae.condition)
    chart = replace(chart, codes=_codes(vae, batches, _some(held_out, rng), seed))
    is_new = not np.isin(held_out, data.indices("train")).any()
    return _beside_held_out(chart, vae, data, batches, held_out, seed) if is_new else chart


def _beside_held_out(
    chart: Chart, vae: VAE, data: Dataset, batches: Batches, rows: NDArray[np.int64], seed: int
) -> Chart:
    """Add what takes training and held-out examples, of a model that is trained by a bound with a rate."""
    unknown = chart.config.model.network == "spatial" or chart.has_fitted_prior
    if (unknown or not chart.has_rate) and not chart.has_fitted_prior:
        reason = why_unfit(vae, chart.config)
        fix = "'elboroom fit-prior' fits a density to the codes"
        more = () if reason is None else (f"samples of the prior: {reason}; {fix}",)
        chart = replace(chart, unseen=(*chart.unseen, *more))
    if not chart.has_rate or not chart.history:
        return chart
    seen = compare(vae, data, batches, rows, refined=False, seed=seed)
    if seen is not None and seen.worth_refining(chart.first_elbo):
        seen = compare(vae, data, batches, rows, refined=True, seed=seed)
    return replace(
        chart,
        held_out=seen,
        samples=samples_near(vae, data, rows, seed),
        hole=None if unknown else hole(vae, data, batches, rows, seed),
    )


def _some(rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    return rows if len(rows) <= _EXAMPLES else np.sort(rng.choice(rows, _EXAMPLES, replace=False))


def _unusable(run: Run) -> str | None:
    status = run.status
    if status.state == "diverged":
        return status.reason or "training diverged"
    path = run.path / "model.safetensors"
    return first_unusable(read_tensors(path)[0]) if path.exists() else None


def _codes(vae: VAE, batches: Batches, rows: NDArray[np.int64], seed: int) -> Codes | None:
    means, scales = [], []
    device = batches.x.device
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), vae.at_rest():
        torch.manual_seed(seed)
        for chosen, x in checked_batches(vae, batches, rows, _EXAMPLES):
            q = vae.infer(x, batches.conditions(chosen))
            if not isinstance(q, DiagonalGaussian):
                return None
            means.append(q.mean.cpu().double().numpy())
            scales.append(q.scale.cpu().double().numpy())
    return Codes(np.concatenate(means), np.concatenate(scales))
