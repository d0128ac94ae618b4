"""The table of diseases, and the examination of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from elboroom.data.dataset import Dataset
from elboroom.doctor import course, fitness, generalisation, latents
from elboroom.doctor.chart import Chart, chart_of
from elboroom.doctor.finding import Finding
from elboroom.doctor.leaks import leaked
from elboroom.errors import UsageError
from elboroom.runs.run import Run

Seen = TypeVar("Seen")


@dataclass(frozen=True)
class Disease(Generic[Seen]):
    """One disease.

    Attributes
    ----------
    name : str
        In a few words.
    look : callable
        Finds it in what is looked at, a chart of a run or a sample of data, or returns None.
    seen_in : str
        What is looked at.
    explains : tuple of str
        Names of diseases that are its consequences, and are then not reported.
    """

    name: str
    look: Callable[[Seen], Finding | None]
    seen_in: str
    explains: tuple[str, ...] = ()


_ALL_THE_REST = ("learning rate too high", "learning rate too low", "posterior collapse", "unused dimensions")

DISEASES: tuple[Disease[Chart], ...] = (
    Disease("weights not finite", course.not_finite, "weights and status", _ALL_THE_REST),
    Disease("unscaled data", fitness.unscaled, "training examples", _ALL_THE_REST),
    Disease("counts under a density", fitness.counts, "training examples", ("unscaled data", *_ALL_THE_REST)),
    Disease("grey values under Bernoulli", fitness.grey, "training examples"),
    Disease(
        "learning rate too high", course.lr_too_high, "history", ("posterior collapse", "unused dimensions")
    ),
    Disease(
        "learning rate too low", course.lr_too_low, "history", ("posterior collapse", "unused dimensions")
    ),
    Disease(
        "wrong KL weight",
        latents.kl_weight,
        "configuration and history",
        ("posterior collapse", "hole in the prior"),
    ),
    Disease("schedule does not fit", course.schedule, "configuration", ("posterior collapse",)),
    Disease("leaked examples", lambda chart: leaked(chart.repeats), "all examples"),
    Disease("posterior collapse", latents.collapse, "history and codes"),
    Disease("unused dimensions", latents.unused, "codes"),
    Disease("idle layers", latents.idle_layers, "metrics"),
    Disease("dead codes", latents.dead_codes, "history"),
    Disease("hole in the prior", generalisation.prior_hole, "codes"),
    Disease("overfit encoder", generalisation.overfit_encoder, "refined posteriors", ("overfitting",)),
    Disease("overfit decoder", generalisation.overfit_decoder, "refined posteriors", ("overfitting",)),
    Disease("memorised samples", generalisation.memorised, "samples"),
    Disease("overfitting", course.overfit, "history"),
)
"""All diseases that are looked for."""


@dataclass(frozen=True)
class Diagnosis:
    """What an examination found.

    Attributes
    ----------
    findings : tuple of Finding
        In the order of the table.
    unseen : tuple of str
        What could not be looked at, and why.
    """

    findings: tuple[Finding, ...]
    unseen: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the diagnosis as a JSON object."""
        return {"findings": [found.as_json() for found in self.findings], "not_looked_at": list(self.unseen)}


def examine_chart(chart: Chart) -> Diagnosis:
    """Look for all diseases in a chart.

    Examples
    --------
    >>> from elboroom.config import Config
    >>> config = Config().updated(beta_schedule="linear", beta_ramp=40, epochs=20)
    >>> for found in examine_chart(Chart(config)).findings:
    ...     print(f"{found.disease}: {found.evidence}; {found.remedy}")
    schedule does not fit: beta ends at 0.5 instead of 1: its ramp takes 40 epochs and training 20; ...
    """
    return Diagnosis(found_by(DISEASES, chart), chart.unseen)


def found_by(diseases: Sequence[Disease[Seen]], seen: Seen) -> tuple[Finding, ...]:
    """Look for diseases, and leave out those that another one explains."""
    found = {disease: disease.look(seen) for disease in diseases}
    explained = {name for disease, finding in found.items() if finding for name in disease.explains}
    return tuple(
        dataclasses.replace(finding, disease=disease.name)
        for disease, finding in found.items()
        if finding is not None and disease.name not in explained
    )


def examine(run: Run, data: Dataset | None = None) -> Diagnosis:
    """Examine a run: its records and, if its data are given, the data and the codes of some examples.

    Parameters
    ----------
    run : Run
        The run.
    data : Dataset, optional
        Its data, with their split.

    Raises
    ------
    UsageError
        If its files are damaged, or it has no epoch and no model yet.
    """
    if not run.history and not (run.path / "model.safetensors").exists() and run.status.state == "training":
        raise UsageError(f"{run.path} has not finished an epoch yet; there is nothing to examine")
    return examine_chart(chart_of(run, data))
