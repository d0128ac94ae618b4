"""Scores as a table: the row or file of each example, its score, and what made it odd."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from elboroom.scoring.calibration import Judged
from elboroom.scoring.contributions import LATENT

Verdict = str
ANOMALOUS, NORMAL, NOT_SCORED, SKIPPED = "anomalous", "normal", "not scored", "skipped"
_REASONS = 3


@dataclass
class ScoreTable:
    """The lines of a table of scores, filled a batch at a time.

    Attributes
    ----------
    names : sequence of str
        What identifies an example: the headings of the first cells of each line, such as "row".
    columns : sequence of str
        Of the data, whose part in each score is listed; empty for images.
    every : bool
        Also list the part of every column, in the order of the data, and the latent one.
    lines : list of list of str
        The cells of each example so far.
    counts : dict
        How many examples have each verdict.
    unreliable : int
        How many scores are not reliable.
    not_scored : list of int
        The lines of examples without a score.
    """

    names: Sequence[str]
    columns: Sequence[str] = ()
    every: bool = False
    lines: list[list[str]] = field(default_factory=list)
    counts: dict[Verdict, int] = field(
        default_factory=lambda: dict.fromkeys([ANOMALOUS, NORMAL, NOT_SCORED], 0)
    )
    unreliable: int = 0
    not_scored: list[int] = field(default_factory=list)

    @property
    def header(self) -> list[str]:
        """Headings of the cells."""
        found = [*self.names, "score_nats", "stderr_nats", "p_value", "verdict"]
        if self.columns:
            for place in range(1, _REASONS + 1):
                found += [f"top_{place}", f"top_{place}_nats", f"top_{place}_above_usual"]
        return found + ([f"nats_of_{name}" for name in (*self.columns, LATENT)] if self.every else [])

    def add(self, names: Iterable[Sequence[str]], judged: Judged) -> None:
        """Add examples, each with the cells that identify it.

        Parameters
        ----------
        names : iterable of sequence of str
            A cell for each of the headings :attr:`names`.
        judged : Judged
            Scores and verdicts.
        """
        scores, parts = judged.scores, judged.scores.contributions.parts()
        reasons = judged.reasons(self.columns, _REASONS) if self.columns else []
        self.unreliable += int(scores.unreliable.sum())
        for i, cells in enumerate(names):
            verdict = verdict_of(judged, i)
            self.counts[verdict] += 1
            self.not_scored += [len(self.lines)] * (verdict == NOT_SCORED)
            line = [*cells, *map(number, (scores.value[i], scores.stderr[i], judged.p_value[i])), verdict]
            if self.columns:
                found = [] if verdict == NOT_SCORED else reasons[i]
                for reason in found:
                    line += [reason.name, number(reason.nats), number(reason.above)]
                line += [""] * (3 * (_REASONS - len(found)))
            self.lines.append(line + ([number(part) for part in parts[i]] if self.every else []))

    def skip(self, names: Sequence[str]) -> None:
        """Add an example that was left out, with the cells that identify it, so that no line is missing."""
        blank = ["", "", "", SKIPPED]
        self.lines.append([*names, *blank, *[""] * (len(self.header) - len(names) - len(blank))])

    def text(self) -> str:
        """The table as CSV with a header."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.header, *self.lines])
        return text.getvalue()


def verdict_of(judged: Judged, index: int) -> Verdict:
    """One of "anomalous", "normal" and "not scored"."""
    if np.isnan(judged.scores.value[index]):
        return NOT_SCORED
    return ANOMALOUS if judged.anomalous[index] else NORMAL


def number(value: float) -> str:
    """Write a number with seven digits; nothing for NaN.

    Examples
    --------
    >>> number(-12.3456789), number(float("inf")), number(float("nan"))
    ('-12.34568', 'inf', '')
    """
    return "" if np.isnan(value) else f"{value:.7g}"
