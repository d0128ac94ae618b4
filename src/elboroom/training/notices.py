"""Lines for the user of a training: above the progress bar, on standard error, and in the run's log."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

from elboroom.config import Config
from elboroom.errors import FailureError, printable
from elboroom.objectives.choice import ramp_warnings
from elboroom.runs.run import Run
from elboroom.training.progress import TrainingProgress
from elboroom.training.step.lr_schedules import lr_warnings


class Notices:
    """Prints and logs what a user should know.

    Parameters
    ----------
    quiet : bool
        Print faults only.
    silent : bool
        Print and log nothing: in all processes but the first.

    Attributes
    ----------
    wording : callable
        Rewords each line; the command line names options where Python names arguments.
    folder : Run or None
        Where lines are logged.
    bar : TrainingProgress or None
        The bar on the screen, above which lines are printed.
    """

    def __init__(self, *, quiet: bool, silent: bool):
        self._quiet = quiet
        self._silent = silent
        self.wording: Callable[[str], str] = str
        self.folder: Run | None = None
        self.bar: TrainingProgress | None = None

    def fault(self, line: str) -> None:
        """Report what went wrong, even if progress is not shown."""
        if self._silent:
            return
        line = self.wording(line)
        self.log(line)
        if self.bar is not None and not self._quiet:
            self.bar.say(line)
        else:
            print(f"elboroom: {printable(line)}", file=sys.stderr)

    def advise(self, line: str) -> None:
        """Report what is not a fault: always in the log, and on the screen unless quiet."""
        if self._quiet:
            self.log(self.wording(line))
        else:
            self.fault(line)

    def warn_of_schedules(self, config: Config, *, custom_objective: bool) -> None:
        """Report schedules and ramps that do not fit the length of the training."""
        epochs = config.training.epochs
        found = lr_warnings(config.optimizer, epochs)
        if not custom_objective:
            found += ramp_warnings(config.objective, epochs)
        for line in found:
            self.advise(f"warning: {line}")

    def log(self, line: str) -> None:
        """Add a line to the run's log."""
        if self.folder is not None:
            with contextlib.suppress(FailureError):  # a full disk; the next checkpoint reports it
                self.folder.log(line)
