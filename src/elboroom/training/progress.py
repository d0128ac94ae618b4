"""What one sees while it trains: a bar on a terminal, a line per epoch elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from elboroom.training.terminal import PlainConsole


class TrainingProgress:
    """A bar over all steps with the running numbers, above it one line per finished epoch.

    Parameters
    ----------
    total_steps, done_steps : int
        Of the whole run.
    console : Console, optional
        Where to show it; standard error if not given.
    quiet : bool
        Show nothing.
    """

    def __init__(
        self, total_steps: int, done_steps: int = 0, *, console: Console | None = None, quiet: bool = False
    ):
        self.console = console or PlainConsole(stderr=True, quiet=quiet)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=8),  # all of it fits into 80 columns
            TextColumn("{task.fields[numbers]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("training", total=total_steps, completed=done_steps, numbers="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, step: int, epoch: int, means: Mapping[str, float | None], rate: float) -> None:
        """Move the bar and show running means and examples per second."""
        numbers = "  ".join(f"{name} {value:.2f}" for name, value in means.items() if value is not None)
        self._bar.update(
            self._task, completed=step, description=f"epoch {epoch}", numbers=f"{numbers}  {rate:,.0f}/s"
        )

    def epoch(self, line: str) -> None:
        """Print a finished epoch's line above the bar."""
        self._bar.console.print(line, highlight=False, markup=False, soft_wrap=True)


# More would make the line of an epoch too long; the history has them all.
_SHOWN_LAYERS = 3


def epoch_line(row: Mapping[str, Any], epochs: int) -> str:
    """One line for a row of history; numbers in nats per example.

    Examples
    --------
    >>> epoch_line(dict(epoch=3, loss=150.0, distortion=145.5, rate=4.5, beta=1.0, images_per_second=9000.0,
    ...                 seconds=6.6, val_elbo=-151.25), 20)
    'epoch  3/20  loss 150.00  distortion 145.50  rate 4.50  beta 1  val ELBO -151.25  9,000/s  6.6 s'
    >>> epoch_line(dict(epoch=1, loss=9.5, distortion=5.0, rate=4.5, beta=1.0, images_per_second=10.0,
    ...                 seconds=6.0, rate_1=3.0, rate_2=1.5), 2)
    'epoch 1/2  loss 9.50  distortion 5.00  rate 4.50 (3.00 + 1.50)  beta 1  10/s  6.0 s'
    """
    width = len(str(epochs))
    layers = [f"{row[name]:.2f}" for name in row if re.fullmatch(r"rate_\d+", name)]
    of_layers = f" ({' + '.join(layers)})" if 0 < len(layers) <= _SHOWN_LAYERS else ""
    codes = f"  perplexity {row['perplexity']:.1f}" if "perplexity" in row else ""
    validation = f"  val ELBO {row['val_elbo']:.2f}" if "val_elbo" in row else ""
    return (
        f"epoch {row['epoch']:>{width}}/{epochs}  loss {row['loss']:.2f}  "
        f"distortion {row['distortion']:.2f}  rate {row['rate']:.2f}{of_layers}{codes}  "
        f"beta {row['beta']:.4g}{validation}  "
        f"{row['images_per_second']:,.0f}/s  {row['seconds']:.1f} s"
    )
