"""``elboroom data list``: the named data sets."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from elboroom.cli.options import Verb

_WIDTH = 80


@dataclass(frozen=True, kw_only=True)
class DataList(Verb):
    """List the named data sets."""

    def __call__(self) -> None:
        """Print each set's name and description."""
        from elboroom.data import NAMED

        column = max(map(len, NAMED)) + 2
        for name, text in NAMED.items():
            indent = " " * column
            print(textwrap.fill(text, _WIDTH, initial_indent=name.ljust(column), subsequent_indent=indent))
