"""The help of a verb: each argument and option with its choices and its default."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

from elboroom.cli.arguments import REQUIRED, Argument, arguments
from elboroom.cli.options import Verb
from elboroom.config import Config, preset_names

_COLUMN = 26  # where descriptions start
_WIDEST = 100

_TITLES = {"": "options", **{name: f"{name} options" for name in Config.model_fields}}


def _figures() -> list[str]:
    from elboroom.figures.standard_set import FIGURE_NAMES  # imports Matplotlib

    return list(FIGURE_NAMES)


def _formats() -> list[str]:
    from elboroom.data.formats import FORMATS

    *others, last = (row.what for row in FORMATS)
    return [*others, f"or {last}"]


# Placeholders in help texts, and the names that replace them.
_LISTS: dict[str, Callable[[], list[str]]] = {
    "{PRESETS}": preset_names,
    "{FIGURES}": _figures,
    "{FORMATS}": _formats,
}


def help_text(verb: type[Verb], prog: str, *, everything: bool = False, width: int | None = None) -> str:
    """Write the help of a verb.

    Parameters
    ----------
    verb : type
        The dataclass of its options.
    prog : str
        Program and verb: ``elboroom train``.
    everything : bool
        Show all options, not only the verb's ``common`` ones.
    width : int, optional
        Columns; the terminal's if not given.
    """
    width = min(width or shutil.get_terminal_size().columns, _WIDEST)
    taken = arguments(verb)
    positional = [one for one in taken if one.option.positional]
    options = sorted(
        (one for one in taken if not one.option.positional), key=lambda one: _place(verb, one, everything)
    )
    shown = options if everything or not verb.common else [one for one in options if one.flag in verb.common]
    places = " ".join(one.flag if one.default is REQUIRED else f"[{one.flag}]" for one in positional)
    lines = [f"usage: {prog} {places + ' ' if places else ''}[OPTIONS]", ""]
    for paragraph in inspect.cleandoc(verb.__doc__ or "").split("\n\n"):
        lines += [*textwrap.wrap(" ".join(paragraph.split()), width), ""]
    if positional:
        lines += ["arguments:", *_lines(positional, width), ""]
    for section, members in groupby(shown, key=lambda one: one.section if shown is options else ""):
        lines += [f"{_TITLES.get(section, section)}:", *_lines(members, width), ""]
    lines += _lines_of("-h, --help", "Show this help and exit.", width)
    if verb.common and not everything:
        whole = f"Show all {len(options)} options."
        lines += _lines_of("--help-all", whole, width)
    return "\n".join(lines)


def _place(verb: type[Verb], argument: Argument, everything: bool) -> int:
    """Common options come first, in their order; with everything, only those outside all sections."""
    is_common = argument.flag in verb.common and not (everything and argument.section)
    return verb.common.index(argument.flag) if is_common else len(verb.common)


def _lines(members: Iterable[Argument], width: int) -> Iterator[str]:
    for one in members:
        name = one.flag if one.is_switch or one.option.positional else f"{one.flag} {one.metavar}"
        if one.is_switch and one.default is True:
            name = name.replace("--", "--no-", 1)
        yield from _lines_of(name, _sentence(one), width)


def _lines_of(name: str, text: str, width: int) -> list[str]:
    wrapped = textwrap.wrap(text, width - _COLUMN, break_on_hyphens=False) or [""]
    head = f"  {name}"
    first = (
        [f"{head:<{_COLUMN}}{wrapped[0]}"] if len(head) < _COLUMN - 1 else [head, " " * _COLUMN + wrapped[0]]
    )
    return [*first, *(" " * _COLUMN + line for line in wrapped[1:])]


def _sentence(argument: Argument) -> str:
    text = " ".join(argument.option.help.split())
    for name, members in _LISTS.items():
        if name in text:
            text = text.replace(name, ", ".join(members()))
    missing = [choice for choice in argument.choices if choice not in text.replace(",", " ").split()]
    if missing:
        text += f" One of {', '.join(argument.choices)}."
    default = _written(argument.default)
    return text + (f" [{default}]" if default else "")


def _written(default: Any) -> str:
    """A default as it is typed; empty if there is none to show."""
    if default is REQUIRED or default is None or isinstance(default, bool) or default in ("", (), {}):
        return ""
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
