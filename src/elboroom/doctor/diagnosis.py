"""The table of diseases, and the examination of a run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from elboroom.data.dataset import Dataset
from elboroom.doctor import course, fitness, generalisation, latents
from elboroom.doctor.chart import Chart, chart_of
from elboroom.doctor.finding import Finding
from elboroom.doctor.leaks import leaked
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
    takes_time : bool
        Whether a training of few steps shows it too, as it has not learned yet.
    """

    name: str
    look: Callable[[Seen], Finding | None]
    seen_in: str
    explains: tuple[str, ...] = ()
    takes_time: bool = False


_FEW_STEPS = 500  # in which the rate has often not begun to rise
_ENOUGH_STEPS = 1000

_OF_CODES = ("posterior collapse", "unused dimensions", "hole in the prior")
_ALL_THE_REST = ("learning rate too high", "learning rate too low", *_OF_CODES)

DISEASES: tuple[Disease[Chart], ...] = (
    Disease("weights not finite", course.not_finite, "weights and status", _ALL_THE_REST),
    Disease("unscaled data", fitness.unscaled, "training examples", _ALL_THE_REST),
    Disease("counts under a density", fitness.counts, "training examples", ("unscaled data", *_ALL_THE_REST)),
    Disease("grey values under Bernoulli", fitness.grey, "training examples"),
    Disease("learning rate too high", course.lr_too_high, "history", _OF_CODES),
    Disease("learning rate too low", course.lr_too_low, "history", _OF_CODES),
    Disease(
        "wrong KL weight",
        latents.kl_weight,
        "configuration and history",
        ("posterior collapse", "hole in the prior"),
    ),
    Disease("schedule does not fit", course.schedule, "configuration", ("posterior collapse",)),
    Disease("leaked examples", lambda chart: leaked(chart.repeats), "all examples"),
    Disease("posterior collapse", latents.collapse, "history and codes", takes_time=True),
    Disease("unused dimensions", latents.unused, "codes"),
    Disease("idle layers", latents.idle_layers, "metrics", takes_time=True),
    Disease("dead codes", latents.dead_codes, "history"),
    Disease("hole in the prior", generalisation.prior_hole, "codes", takes_time=True),
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
    notes : tuple of Finding
        At most one thing that may be wrong, of which it is too early to tell.
    """

    findings: tuple[Finding, ...]
    unseen: tuple[str, ...] = ()
    notes: tuple[Finding, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the diagnosis as a JSON object."""
        return {
            "findings": [found.as_json() for found in self.findings],
            "notes": [note.as_json() for note in self.notes],
            "not_looked_at": list(self.unseen),
        }


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
    found, steps = found_by(DISEASES, chart), chart.steps
    if steps is None or steps >= _FEW_STEPS:
        return Diagnosis(found, chart.unseen)
    slow = {disease.name for disease in DISEASES if disease.takes_time}
    early = [one for one in found if one.disease in slow]
    sure = tuple(one for one in found if one.disease not in slow)
    return Diagnosis(sure, chart.unseen, tuple(_early(one, chart, steps) for one in early[:1]))


def _early(found: Finding, chart: Chart, steps: int) -> Finding:
    """Word a finding as a question that a longer training answers."""
    longer = math.ceil(len(chart.history) * _ENOUGH_STEPS / steps)
    return dataclasses.replace(
        found,
        evidence=f"too early to tell; after {steps:,} step{'' if steps == 1 else 's'} {found.evidence}",
        numbers={**found.numbers, "steps": steps},
        change={"epochs": longer},
        effect="would show whether it stays so",
    )


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

    Raises
    ------
    UsageError
        If its files are damaged, or it has no epoch and no model yet.
    """
    return examine_chart(chart_of(run, data))
