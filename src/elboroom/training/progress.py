"""What one sees while it trains: a bar on a terminal, a line per epoch elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from elboroom.runs.best_epoch import bound_name
from elboroom.training.terminal import PlainConsole

_BAR = 10  # cells that the bar has at least
_LEFT = len("about 99 min left")


def words(seconds: float) -> str:
    """Return a duration in words, roughly.

    Examples
    --------
    >>> words(8.2), words(300), words(9000)
    ('9 s', '5 min', '2.5 h')
    """
    if seconds < 90:
        return f"{int(seconds) + 1} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class TimeLeft(ProgressColumn):
    """The estimated time left, in words."""

    max_refresh = 0.5

    def __init__(self) -> None:
        super().__init__(Column(no_wrap=True))

    def render(self, task: Task) -> Text:
        """Show the time left, or nothing while it is unknown."""
        left = task.time_remaining
        return Text("" if left is None or task.finished else f"about {words(left)} left")


def bar_of(console: Console, *, shown: bool, timed: bool = True) -> Progress:
    """Return a progress bar as wide as its texts allow; its task has a field ``numbers``."""
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=_BAR)),
        TextColumn("{task.fields[numbers]}", markup=False, table_column=Column(no_wrap=True)),
        *([TimeLeft()] if timed else []),
        console=console,
        disable=not shown,
        transient=True,
        expand=True,
    )


class TrainingProgress:
    """A progress bar over all steps with running means, and a line for each finished epoch above it.

    Parameters
    ----------
    total_steps, done_steps : int
        Steps of the whole run, and those already done.
    epochs : int
        Number of epochs of the whole run.
    console : Console, optional
        Console to print to; standard error by default.
    quiet : bool
        Show nothing.
    """

    def __init__(
        self,
        total_steps: int,
        done_steps: int = 0,
        *,
        epochs: int = 1,
        console: Console | None = None,
        quiet: bool = False,
    ):
        self.console = console or PlainConsole(stderr=True, quiet=quiet)
        self._epochs = epochs
        self._bar = bar_of(self.console, shown=self.console.is_terminal and not quiet)
        self._task = self._bar.add_task("training", total=total_steps, completed=done_steps, numbers="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, step: int, epoch: int, means: Mapping[str, float | None], rate: float) -> None:
        """Move the bar, and show as many of the running means and the examples per second as fit."""
        numbers = {name: f"{name} {_nats(value)}" for name, value in means.items() if value is not None}
        numbers["speed"] = f"{rate:,.0f}/s"
        what = f"epoch {epoch}/{self._epochs}"
        room = self.console.width - len(what) - _BAR - _LEFT - 3
        shown = fitted(numbers, ("speed", "distortion", "rate", "loss"), room)
        self._bar.update(self._task, completed=step, description=what, numbers=shown)

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Print the line of a finished epoch above the bar; on a terminal, as much as fits into one line."""
        self.say(epoch_line(row, self._epochs, self.console.width if self.console.is_terminal else None))

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)


def fitted(parts: Mapping[str, str], less: Sequence[str], width: int | None) -> str:
    """Join texts by two spaces, leaving out as many as necessary to fit.

    Parameters
    ----------
    parts : mapping of str to str
        In the order of the line.
    less : sequence of str
        Names of those that may be left out, the first to go first.
    width : int, optional
        Cells there are; all is joined if not given.

    Examples
    --------
    >>> fitted({"a": "aaa", "b": "bbb", "c": "ccc"}, ["b", "c"], 8)
    'aaa  ccc'
    """
    left = dict(parts)
    for name in ("", *less):
        left.pop(name, None)
        line = "  ".join(left.values())
        if width is None or len(line) <= width:
            break
    return line


# The line of an epoch has no room for more; the history has them all.
_SHOWN_LAYERS = 3
# Left out on a narrow terminal, in this order; the log of the run has everything.
_LESS = ("speed", "layers", "beta", "perplexity", "seconds", "distortion", "rate", "val ELBO")


def epoch_line(row: Mapping[str, Any], epochs: int, width: int | None = None) -> str:
    """Return one line for a row of the history, in nats per example.

    Parameters
    ----------
    row : mapping
        Of the history.
    epochs : int
        Of the whole training.
    width : int, optional
        Leave out what does not fit into so many cells.

    Examples
    --------
    >>> row = dict(epoch=3, loss=150.0, distortion=145.5, rate=4.5, beta=1.0, images_per_second=9000.0,
    ...            seconds=6.6, val_elbo=-151.25)
    >>> print(epoch_line(row, 20))
    epoch  3/20  loss 150.00  distortion 145.50  rate 4.50  beta 1  val ELBO -151.25  9,000/s  6.6 s
    >>> print(epoch_line(row, 20, width=80))
    epoch  3/20  loss 150.00  distortion 145.50  rate 4.50  val ELBO -151.25  6.6 s
    >>> epoch_line(dict(epoch=1, loss=9.5, distortion=5.0, rate=4.5, beta=1.0, images_per_second=10.0,
    ...                 seconds=6.0, rate_1=3.0, rate_2=1.5), 2)
    'epoch 1/2  loss 9.50  distortion 5.00  rate 4.50  = 3.00 + 1.50  beta 1  10/s  6.0 s'
    """
    parts = {
        "epoch": f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}",
        **{name: f"{name} {_nats(row[name])}" for name in ("loss", "distortion", "rate")},
    }
    layers = [_nats(row[name]) for name in row if re.fullmatch(r"rate_\d+", name)]
    if 0 < len(layers) <= _SHOWN_LAYERS:
        parts["layers"] = f"= {' + '.join(layers)}"
    if "perplexity" in row:
        parts["perplexity"] = f"perplexity {row['perplexity']:.1f}"
    parts["beta"] = f"beta {row['beta']:.4g}"
    if "val_elbo" in row:
        parts["val ELBO"] = f"val {bound_name(row['rate'])} {_nats(row['val_elbo'])}"
    parts |= {"speed": f"{row['images_per_second']:,.0f}/s", "seconds": f"{row['seconds']:.1f} s"}
    return fitted(parts, _LESS, width)


def _nats(value: float) -> str:
    """Format with two decimals, or with an exponent if the number is long."""
    return f"{value:.2f}" if abs(value) < 1e7 else f"{value:.3e}"
