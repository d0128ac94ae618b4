"""Plain text on a terminal: paths and names are neither markup nor control sequences."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from elboroom.errors import printable


class PlainConsole(Console):
    r"""Console that prints strings as they are: no markup, no emoji names, control characters escaped.

    Parameters
    ----------
    **options
        Options of `rich.console.Console`.

    Examples
    --------
    >>> import sys
    >>> PlainConsole(file=sys.stdout).print("runs/[red]:dog:\x1b[2J")
    runs/[red]:dog:\x1b[2J
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **options})

    def print(self, *objects: Any, **options: Any) -> None:
        """Print strings as they are, and other objects as rich does."""
        shown = (printable_lines(each) if isinstance(each, str) else each for each in objects)
        super().print(*shown, **options)


def printable_lines(text: str) -> str:
    r"""Escape control characters, except line breaks.

    Examples
    --------
    >>> print(printable_lines("a\tb\nc\rd"))
    a\tb
    c\rd
    """
    return "\n".join(map(printable, text.split("\n")))
