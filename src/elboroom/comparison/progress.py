"""Progress of a comparison: the current run, and an estimate of the remaining time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console

from elboroom.comparison.runs import Job, Row
from elboroom.training.progress import bar_of, fitted, words
from elboroom.training.terminal import PlainConsole


def seconds_left(done: Sequence[tuple[str, float]], left: Sequence[str]) -> float | None:
    """Estimate the time of the remaining runs.

    Parameters
    ----------
    done : sequence of (str, float)
        Recipe and seconds of each run that is done.
    left : sequence of str
        Recipes of the others; one that has no run yet counts as the mean of all.

    Examples
    --------
    >>> seconds_left([("vae", 10.0), ("iwae", 30.0)], ["iwae", "vamp"])
    50.0
    """
    if not done:
        return None
    times: dict[str, list[float]] = {}
    for recipe, seconds in done:
        times.setdefault(recipe, []).append(seconds)
    usual = sum(seconds for _, seconds in done) / len(done)
    return sum(sum(times[one]) / len(times[one]) if one in times else usual for one in left)


class ComparisonProgress:
    """A bar over all epochs on a terminal, and a line for every finished run.

    Parameters
    ----------
    jobs : sequence of Job
        To be carried out, in this order.
    quiet : bool
        Show nothing.
    console : Console, optional
        Where to show it; standard error if not given.
    """

    def __init__(self, jobs: Sequence[Job], *, quiet: bool = False, console: Console | None = None):
        self.console = console or PlainConsole(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)
        self._jobs, self._done = jobs, list[tuple[str, float]]()
        self._number, self._started = 0, 0.0
        # It knows better than the bar how long the rest will take: recipes differ.
        self._bar = bar_of(self.console, shown=self.console.is_terminal and not quiet, timed=False)
        total = sum(job.config.training.epochs for job in jobs)
        self._task = self._bar.add_task("", total=total, numbers="")
        self._before = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(line, markup=False)

    def begin(self, job: Job) -> None:
        """Start the next run."""
        self._number += 1
        self._started = time.perf_counter()
        what = f"run {self._number} of {len(self._jobs)}  {job.recipe} seed {job.seed}"
        self._bar.update(self._task, description=what, numbers=self._left())

    def epochs(self, job: Job, done: int) -> None:
        """Update the number of finished epochs of this run."""
        note = f"epoch {done}/{job.config.training.epochs}  {self._left()}"
        self._bar.update(self._task, completed=self._before + done, numbers=note)

    def end(self, job: Job, row: Mapping[str, Any] | None, reason: str = "") -> None:
        """Report a run's numbers, or why it failed."""
        seconds = time.perf_counter() - self._started
        self._done.append((job.recipe, seconds))
        self._before += job.config.training.epochs
        self._bar.update(self._task, completed=self._before)
        digits = len(str(len(self._jobs)))
        width = max(len(each.recipe) for each in self._jobs)
        parts = {"run": f"run {self._number:>{digits}} of {len(self._jobs)}"}
        parts |= {"recipe": f"{job.recipe:<{width}}", "seed": f"seed {job.seed}"}
        parts |= numbers_of(row) if row is not None else {"reason": f"failed: {reason}"}
        parts["took"] = words(seconds)
        if left := self._left(ended=True):
            parts["left"] = left
        fits = self.console.width if self.console.is_terminal else None
        self.say(fitted(parts, _LESS, fits))

    def _left(self, *, ended: bool = False) -> str:
        first = self._number if ended else self._number - 1
        seconds = seconds_left(self._done, [job.recipe for job in self._jobs[first:]])
        if seconds is None or not self._jobs[first:]:
            return ""
        running = 0.0 if ended else time.perf_counter() - self._started
        return f"about {words(max(0.0, seconds - running))} left"


# What a narrow terminal does without, first to last; the table has all of it.
_LESS = ("rate", "distortion", "left", "took", "run")


def numbers_of(row: Row | Mapping[str, Any]) -> dict[str, str]:
    """Format the numbers of a run, in nats per example.

    Examples
    --------
    >>> numbers_of(dict(elbo=-20.25, nll=None, nll_stderr=None, distortion=15.0, rate=5.25))
    {'elbo': 'ELBO -20.25', 'distortion': 'distortion 15.00', 'rate': 'rate 5.25'}
    """
    shown = [("ELBO", "elbo"), ("NLL", "nll"), ("distortion", "distortion"), ("rate", "rate")]
    return {name: f"{title} {row[name]:.2f}" for title, name in shown if row[name] is not None}
