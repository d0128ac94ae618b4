"""The result of a comparison: one row per run and per recipe, as CSV, Markdown and plain text."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from elboroom.comparison.picture import draw
from elboroom.comparison.runs import WITHOUT_DENSITY, WITHOUT_RATE, Row
from elboroom.comparison.summary import METRICS, Interval, Metric, Summary, groups, winner
from elboroom.errors import counted
from elboroom.evaluation.reliability import verdict

_COLUMNS = (
    *("recipe", "seed", "status", "reason", "elbo", "nll", "nll_stderr", "nll_num_samples"),
    *("nll_bias", "nll_ess", "nll_pareto_k", "nll_unreliable", "bits_per_dim"),
    *("distortion", "rate", "active_units", "latent_dim", "weights", "epochs", "seconds"),
    *("likelihood", "posterior", "split", "examples"),
)
_BESIDE_NLL = ["± MC", "ESS", "k"]
_DASH = "–"
_LINE = 110
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_NO_RATE = (
    "deterministic codes have no rate and no density for importance sampling; −distortion is not a bound"
)
_NO_DENSITY = "quantised codes have no density for importance sampling; the ELBO is a bound"


@dataclass(frozen=True)
class Comparison:
    """The results of a comparison.

    Attributes
    ----------
    summaries : list of Summary
        One per recipe, in the order given.
    data : str
        Name of the data.
    nll_samples : int
        Importance samples per example.
    folder : path or None
        Folder of the runs and tables.
    """

    summaries: list[Summary]
    data: str
    nll_samples: int
    folder: Path | None = None

    @cached_property
    def rows(self) -> list[Row]:
        """One dict per run, including failed runs and recipes that were left out."""
        rows = []
        for one in self.summaries:
            failed = [_empty(one.recipe, "failed", why, seed) for seed, why in one.failures.items()]
            rows += sorted([*one.rows, *failed], key=lambda row: int(row["seed"]))
            if one.left_out is not None:
                rows.append(_empty(one.recipe, "left out", one.left_out))
        return rows

    @property
    def failed(self) -> list[Row]:
        """Rows of the runs that failed."""
        return [row for row in self.rows if row["status"] == "failed"]

    def csv(self) -> str:
        """Write one line per run, in nats per example and seconds; a number that a model lacks is empty."""
        return _csv(_COLUMNS, ([row.get(name) for name in _COLUMNS] for row in self.rows))

    def summary_csv(self) -> str:
        """Write one line per recipe: means over its runs, and ``*_ci95``, half of the 95 % interval."""
        names = [key for metric in METRICS for key in (metric.name, f"{metric.name}_ci95")]
        lines = []
        for one in self.summaries:
            found = [one.interval(metric.name) or (None, None) for metric in METRICS]
            runs = (one.recipe, one.known("likelihood"), len(one.rows), len(one.failures))
            lines.append([*runs, *(x for pair in found for x in pair), one.monte_carlo, one.known("weights")])
        return _csv(("recipe", "likelihood", "runs", "failed", *names, "nll_monte_carlo", "weights"), lines)

    def markdown(self) -> str:
        """Write the table as Markdown, with aligned columns and notes below."""
        head, lines, notes = self._cells("**{}**")
        widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        table = "\n".join(f"| {' | '.join(_padded(line, widths))} |" for line in (head, rule, *lines))
        return f"{table}\n\n" + "".join(f"{note}  \n" for note in notes)

    def text(self, width: int | None = None) -> str:
        """Write the table for a terminal, with notes below.

        Parameters
        ----------
        width : int, optional
            Columns of a line: a wider table is divided into several, one below another.
        """
        head, lines, notes = self._cells("*{}")
        together = {metric.title for metric in METRICS} | {"runs", "likelihood", "weights"}
        tables = [
            "\n".join(block)
            for block in in_blocks([head, *lines], width, starts=[name in together for name in head])
        ]
        fill = _LINE if width is None else min(width, _LINE)
        return "\n\n".join([*tables, "\n".join(textwrap.fill(note, fill) for note in notes)])

    def figure(self) -> Any:
        """Draw each metric with intervals, and rate against distortion, as a Matplotlib figure."""
        return draw(self.summaries, f"{self.data}: {self._caption()}")

    def _repr_markdown_(self) -> str:
        return self.markdown()

    def _caption(self) -> str:
        known = next((one for one in self.summaries if one.rows), None)
        if known is None:
            return "no finished run"
        where = counted(known.known("examples"), f"{known.known('split')} example")
        several = any(len(one.rows) > 1 for one in self.summaries)
        return f"{where}, " + (
            "mean and Student's 95 % interval over seeds" if several else "one seed, so no intervals"
        )

    def _cells(self, mark: str) -> tuple[list[str], list[list[str]], list[str]]:
        """Return heading, lines and notes; ``mark`` formats a significantly best value."""
        notes = _Notes()
        kinds = groups(self.summaries)
        best = {
            (found.recipe, metric.name)
            for members in kinds.values()
            for metric in METRICS
            if (found := winner(members, metric)) is not None
        }
        several = len(kinds) > 1
        head = ["recipe", *(["likelihood"] if several else []), "runs"]
        for metric in METRICS:
            head += [metric.title, *(_BESIDE_NLL if metric.name == "nll" else [])]
        lines = []
        for one in self.summaries:
            line = [one.recipe, *([one.known("likelihood") or _DASH] if several else []), _runs(one, notes)]
            for metric in METRICS:
                cell = _cell(one, metric, notes)
                line.append(mark.format(cell) if (one.recipe, metric.name) in best else cell)
                if metric.name == "nll":
                    line += _beside_nll(one, notes)
            weights = one.known("weights")
            lines.append([*line, _DASH if weights is None else f"{weights:,}"])
        sentences = [self._units(), *_verdicts(kinds, best, mark), *notes.lines]
        return [*head, "weights"], lines, sentences

    def _units(self) -> str:
        return (
            f"{self.data}, {self._caption()}. Nats per example. NLL from {self.nll_samples} importance "
            "samples: MC is its Monte Carlo standard error, ESS the effective sample size and k the Pareto "
            "shape of the weights, unreliable above 0.7 (ESS and k: medians over examples)."
        )


@dataclass
class _Notes:
    """Footnotes, numbered in order of use; equal texts share a note."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        if text not in self.texts:
            self.texts.append(text)
        return str(self.texts.index(text) + 1).translate(_SUPERSCRIPT)

    @property
    def lines(self) -> list[str]:
        return [f"{str(i).translate(_SUPERSCRIPT)} {text}" for i, text in enumerate(self.texts, 1)]


def _runs(one: Summary, notes: _Notes) -> str:
    if one.left_out is not None:
        return _DASH + notes.mark(f"{one.recipe} was not trained: {one.left_out}")
    if not one.failures:
        return str(len(one.rows))
    first, *others = one.failures
    more = (
        f" ({counted(len(others), 'other seed')} failed as well, for reasons in table.csv)" if others else ""
    )
    mark = notes.mark(f"{one.recipe}, seed {first} failed: {one.failures[first]}{more}")
    return f"{len(one.rows)} of {len(one.rows) + len(one.failures)}{mark}"


def _cell(one: Summary, metric: Metric, notes: _Notes) -> str:
    found = one.interval(metric.name)
    if found is not None:
        return _written(found, metric.decimals)
    posterior = one.known("posterior")
    if posterior in WITHOUT_RATE:
        return _DASH + notes.mark(f"posterior {posterior}: {_NO_RATE}")
    if posterior in WITHOUT_DENSITY:
        return _DASH + notes.mark(f"posterior {posterior}: {_NO_DENSITY}")
    return _DASH


def _beside_nll(one: Summary, notes: _Notes) -> list[str]:
    """Return the diagnostics of the NLL: Monte Carlo error, effective sample size, Pareto k̂."""
    error, samples, shape = one.monte_carlo, one.interval("nll_ess"), one.interval("nll_pareto_k")
    share = one.interval("nll_unreliable")
    doubt = None if share is None else verdict(share.mean)
    return [
        _DASH if error is None else f"{error:.2f}",
        _DASH if samples is None else f"{samples.mean:.0f}",
        (_DASH if shape is None else f"{shape.mean:.2f}") + ("" if doubt is None else notes.mark(doubt)),
    ]


def _written(found: Interval, decimals: int) -> str:
    half = "" if found.half is None else f" ± {found.half:.{decimals}f}"
    return f"{found.mean:.{decimals}f}{half}"


def _verdicts(kinds: dict[str, list[Summary]], best: set[tuple[str, str]], mark: str) -> Iterable[str]:
    """Say which recipes are significantly best, for which metrics none is, and what is not comparable."""
    judged = [metric for metric in METRICS if metric.best is not None]
    if best:
        group = " in its group" if len(kinds) > 1 else ""
        yield f"{mark.format('Marked')}: significantly best; its interval overlaps no other{group}."
    rivals = max((len(members) for members in kinds.values()), default=0)
    left = [metric.title for metric in judged if not any(name == metric.name for _, name in best)]
    if left and rivals > 1:
        one_each = all(len(one.rows) < 2 for members in kinds.values() for one in members)
        why = "one seed gives no interval" if one_each else "the intervals overlap"
        yield f"{' and '.join(left)}: no recipe is significantly best: {why}."
    if len(kinds) > 1:
        sides = [", ".join(dict.fromkeys(one.known("likelihood") for one in each)) for each in kinds.values()]
        yield (f"ELBO, NLL and distortion are comparable only within each group: {' | '.join(sides)}.")


def in_blocks(
    rows: Sequence[Sequence[str]], width: int | None, starts: Sequence[bool] | None = None
) -> list[list[str]]:
    """Format a table, divided into several if it is too wide; each has the first column.

    Parameters
    ----------
    rows : sequence of sequences of str
        Cells, the heading first; the first cell of each row is left-aligned, the others are right-aligned.
    width : int, optional
        Columns of a line; one table if not given.
    starts : sequence of bool, optional
        For each column, whether a table may begin with it; any may if not given.

    Returns
    -------
    list of list of str
        The lines of each table.

    Examples
    --------
    >>> for table in in_blocks([["", "one", "two"], ["row", "1", "22"]], 9):
    ...     print(table)
    ['     one', 'row    1']
    ['     two', 'row   22']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    groups: list[list[int]] = []  # of columns that stay together
    for column in range(1, len(widths)):
        if not groups or starts is None or starts[column]:
            groups.append([])
        groups[-1].append(column)
    blocks: list[list[int]] = [[0]]
    for group in groups:
        wide = sum(widths[column] + 2 for column in (*blocks[-1], *group)) - 2
        if width is not None and wide > width and len(blocks[-1]) > 1:
            blocks.append([0])
        blocks[-1] += group
    return [
        ["  ".join(_padded([row[i] for i in block], [widths[i] for i in block])).rstrip() for row in rows]
        for block in blocks
    ]


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        line[0].ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
    ]


def _empty(recipe: str, status: str, reason: str, seed: int | None = None) -> Row:
    return {"recipe": recipe, "seed": seed, "status": status, "reason": reason}


def _csv(head: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(head)
    table.writerows(lines)
    return text.getvalue()
