"""What verbs print: progress and notes to standard error, results to standard output."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from pathlib import Path

from rich.console import Console

from elboroom.distributed.processes import speaks
from elboroom.errors import printable
from elboroom.training.terminal import PlainConsole


def console(*, quiet: bool = False) -> Console:
    """Make a console for progress and notes, which writes to standard error.

    It wraps lines at the width of a terminal, and leaves them whole elsewhere.
    """
    quiet = quiet or not speaks()
    # A bracket in a path or a name is not markup.
    found = PlainConsole(stderr=True, highlight=False, markup=False, emoji=False, quiet=quiet)
    found.soft_wrap = not found.is_terminal
    return found


def line_width() -> int | None:
    """Columns of the terminal on standard output; None if it is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_result(*lines: str) -> None:
    """Print lines of results to standard output, wrapped at the width of a terminal and whole elsewhere."""
    width = line_width()
    for line in map(printable, lines):
        print(line if width is None else "\n".join(textwrap.wrap(line, width, break_on_hyphens=False)))


def shown(path: Path) -> str:
    """Write a path relative to the working folder if it is inside, with control characters escaped."""
    try:
        near = path.is_absolute() and path.is_relative_to(Path.cwd())
    except OSError:
        near = False
    return printable(os.path.relpath(path) if near else str(path))
