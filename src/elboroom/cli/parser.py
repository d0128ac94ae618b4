"""Read the command line of a verb with argparse, with every error in one line."""

from __future__ import annotations

import argparse
import difflib
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NoReturn, TypeVar

import pydantic

from elboroom.cli.arguments import REQUIRED, Argument, arguments, option_names, settings_field
from elboroom.config import Config
from elboroom.config.sections import Section, explain
from elboroom.errors import UsageError, nearest

V = TypeVar("V")


def parse(verb: type[V], argv: Sequence[str], *, prog: str, start: V | None = None) -> V:
    """Read a command line into an instance of a verb.

    Parameters
    ----------
    verb : type
        A dataclass, whose fields are the arguments and options.
    argv : sequence of str
        The words after the verb's name.
    prog : str
        Program and verb, such as ``elboroom train``, for messages.
    start : object, optional
        An instance whose values are the defaults.

    Raises
    ------
    UsageError
        If an option is unknown, a value is missing or invalid, or a required argument is missing.
    """
    taken = arguments(verb, start)
    given = vars(_reader(taken, prog).parse_args(_joined(argv, taken)))
    values: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {}
    for argument in taken:
        if argument.key not in given:
            if argument.default is REQUIRED and argument.option.positional and argument.is_list:
                values[argument.name] = ()  # the verb says how many it needs
            elif argument.default is REQUIRED:
                raise UsageError(f"{argument.flag} is missing; {_swallower(taken, given)}see '{prog} --help'")
            elif not argument.section:
                values[argument.name] = argument.default
        elif argument.section:
            chosen = _checked_choice(argument, given[argument.key])
            sections.setdefault(argument.section, {})[argument.name] = chosen
        else:
            values[argument.name] = _converted(argument, given[argument.key])
    settings = settings_field(verb)
    if settings is not None:
        base = Config() if start is None else getattr(start, settings)
        values[settings] = _merged(base, sections, taken)
    return verb(**values)


def _swallower(taken: Sequence[Argument], given: Mapping[str, Any]) -> str:
    """Name an option of many values that may have taken a word meant for a positional argument."""
    for one in taken:
        if one.is_list and not one.option.positional and given.get(one.key):
            return f"put it before {one.flag}, which takes all words that follow it; "
    return ""


def in_options(message: str) -> str:
    """Reword a message about fields of the configuration in the terms of the command line.

    Examples
    --------
    >>> in_options("device = 'cuda:9' is not available; take prior='normal', or leave beta out")
    '--device cuda:9 is not available; take --prior normal, or leave beta out'
    >>> in_options("hidden = (64, 0): take prior = 'normal', 'vamp' or 'flow'")
    '--hidden 64 0: take --prior normal, vamp or flow'
    >>> in_options("runs is a file; choose another out=, or a lower lr=. Then go on")
    'runs is a file; choose another --out, or a lower --lr. Then go on'
    >>> in_options("flip = True mirrors images")
    '--flip mirrors images'
    >>> in_options('kinds = {"a b": "count", "c": "real"} reads them')
    "--kinds 'a b=count' c=real reads them"
    """
    names = option_names()

    def several(found: re.Match[str]) -> str:
        if found[1] not in names:
            return found[0]
        pairs = (shlex.quote(f"{name}={value}") for name, value in json.loads(found[2]).items())
        return " ".join([names[found[1]], *pairs])

    def option(found: re.Match[str]) -> str:
        value = re.sub(r"[()\[\],']" if found[2][0] in "([" else "'", "", found[2])
        if found[1] not in names:
            return found[0]
        if re.fullmatch(r"[^=,]* [^=,]*=[^=,]*", value):  # the name of a column has a space
            value = shlex.quote(value)
        return names[found[1]] if value == "True" else f"{names[found[1]]} {value}"

    message = re.sub(r"(?<![\w.'\"-])([a-z]\w*) = (\{[^{}]*\})", several, message)
    value = r"'[^']*'(?:, '[^']*')*(?: or '[^']*')?|\([^()]*\)|\[[^\[\]]*\]|[^\s,;:()'\"]+"
    message = re.sub(rf"(?<![\w.'\"-])([a-z]\w*) ?= ?(?!\.(?:\s|$))({value})", option, message)
    bare = {**names, "out": "--out"}
    return re.sub(
        r"(?<![\w.'\"-])([a-z]\w*)=(?=[\s,;:.)]|$)", lambda found: bare.get(found[1], found[0]), message
    )


class _Reader(argparse.ArgumentParser):
    """An argparse parser that raises `UsageError` with one line."""

    def __init__(self, prog: str, taken: Sequence[Argument]):
        super().__init__(prog=prog, add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
        self._taken = taken

    def error(self, message: str) -> NoReturn:
        if found := re.fullmatch(r"unrecognized arguments: (.*)", message, re.DOTALL):
            raise UsageError(self._unknown(found[1].split(" ")))
        if found := re.match(r"argument (\S+?)(?:/\S+)?: (expected|ignored)", message):
            argument = next((one for one in self._taken if one.flag == found[1]), None)
            if found[2] == "ignored" or argument is None:
                raise UsageError(f"{found[1]} takes no value")
            raise UsageError(f"{found[1]} needs a value ({argument.metavar})")
        raise UsageError(f"{message}; see '{self.prog} --help'")

    def _unknown(self, tokens: Sequence[str]) -> str:
        wrong = next((token for token in tokens if token.startswith("-")), tokens[0])
        if not wrong.startswith("-"):
            return f"too many arguments: {wrong!r}; see '{self.prog} --help'"
        options = [argument for argument in self._taken if not argument.option.positional]
        if wrong.split("=")[0] in [flag for one in options for flag in one.flags]:
            return f"{wrong} comes after '--', which ends the options; put it before '--'"
        known = [argument.flag for argument in options]
        close = difflib.get_close_matches(wrong.split("=")[0], known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"see '{self.prog} --help'"
        return f"unknown option {wrong}; {hint}"


def _reader(taken: Sequence[Argument], prog: str) -> _Reader:
    parser = _Reader(prog, taken)
    for argument in taken:
        if argument.option.positional:
            parser.add_argument(argument.key, nargs="*" if argument.is_list else "?")
        elif argument.is_switch:
            off = [flag.replace("--", "--no-", 1) for flag in argument.flags]
            parser.add_argument(*argument.flags, dest=argument.key, action="store_true")
            parser.add_argument(*off, dest=argument.key, action="store_false")
        else:
            nargs = "*" if argument.is_list else None
            parser.add_argument(*argument.flags, dest=argument.key, nargs=nargs)
    return parser


def _joined(argv: Sequence[str], taken: Sequence[Argument]) -> list[str]:
    """Join ``--beta -1e-3`` or ``--label -1,0`` to one word: argparse would take the value for an option."""
    options = [one for one in taken if not (one.is_list or one.is_switch or one.option.positional)]
    single = {flag for one in options for flag in one.flags}
    words: list[str] = []
    for word in argv:
        is_value = words and words[-1] in single and word.startswith("-") and _is_numbers(word)
        if is_value:
            words[-1] += f"={word}"
        else:
            words.append(word)
    return words


def _is_numbers(text: str) -> bool:
    try:
        [float(part) for part in text.split(",")]
    except ValueError:
        return False
    return True


def _checked_choice(argument: Argument, given: Any) -> Any:
    """Replace words by the allowed values that they name."""
    if not argument.choices or isinstance(given, bool):
        return given
    values = {str(value): value for value in argument.literals}
    for word in given if isinstance(given, list) else [given]:
        if word not in values:
            raise UsageError(f"{argument.flag} {word}: {nearest(word, values)}")
    return [values[word] for word in given] if isinstance(given, list) else values[given]


def _converted(argument: Argument, given: Any) -> Any:
    given = _checked_choice(argument, given)
    try:
        return pydantic.TypeAdapter(argument.kind).validate_python(given)
    except pydantic.ValidationError as error:
        raise UsageError(_wrong(argument, error)) from None


def _merged(start: Config, sections: Mapping[str, Mapping[str, Any]], taken: Sequence[Argument]) -> Config:
    """Override a configuration by the given values; each is checked by itself, then all of them together."""
    changes: dict[str, dict[str, Any]] = {}
    for argument in taken:
        if argument.name in sections.get(argument.section, {}):
            kind: type[Section] = type(getattr(start, argument.section))
            field = kind.model_fields[argument.name]
            whole: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            checked: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(whole)
            try:
                value = checked.validate_python(sections[argument.section][argument.name])
            except pydantic.ValidationError as error:
                raise UsageError(_wrong(argument, error)) from None
            changes.setdefault(argument.section, {})[argument.name] = value
    return start.merged(changes) if changes else start


def _wrong(argument: Argument, error: pydantic.ValidationError) -> str:
    """Say which value is invalid, and what is allowed."""
    first = error.errors()[0]
    got = first["input"]
    takes_all = argument.is_list and not argument.option.positional and isinstance(got, str)
    before = f"; if {got!r} is not meant for {argument.flag}, put it before the options" if takes_all else ""
    return f"{argument.flag} {got}: {explain(first)}{before}"
