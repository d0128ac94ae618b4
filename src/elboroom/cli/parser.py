"""A verb's command line, from its signature: what can be given, read with argparse, every error in one line.

A verb is a function, or a dataclass that is then called. Its annotations say what it takes; a parameter whose
type is a :class:`Config` stands for all options of all sections.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

import pydantic

from elboroom.config import Config
from elboroom.config.options import Option
from elboroom.config.sections import Section, explain
from elboroom.errors import UsageError, nearest

REQUIRED = object()


@dataclass(frozen=True)
class Argument:
    """One thing that a verb takes.

    Attributes
    ----------
    name : str
        The parameter or field that it sets.
    section : str
        The configuration's section that the field is of; "" for a parameter of the verb itself.
    flag : str
        ``--latent-dim``; of a positional one, what stands for it in the help.
    kind : object
        The type, without what only the command line needs.
    option : Option
        Help, metavar and whether it is positional.
    default : object
        What it is if it is not given; `REQUIRED` if it must be.
    """

    name: str
    section: str
    flag: str
    kind: Any
    option: Option
    default: Any

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value: ``--quiet`` or ``--no-quiet``."""
        return self.kind is bool

    @property
    def is_list(self) -> bool:
        """Whether it takes several values."""
        return any(get_origin(kind) is tuple for kind in _alternatives(self.kind))

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that there are, if there are only some."""
        return tuple(
            str(value)
            for kind in _alternatives(self.kind)
            for inner in (get_args(kind) if get_origin(kind) is tuple else (kind,))
            if get_origin(inner) is Literal
            for value in get_args(inner)
        )

    @property
    def metavar(self) -> str:
        """What stands for the value in the help."""
        if self.option.metavar:
            return self.option.metavar
        kinds = [kind for kind in _alternatives(self.kind) if kind is not type(None)]
        inner = next((get_args(kind)[0] for kind in kinds if get_origin(kind) is tuple), kinds[0])
        named = {int: "INT", float: "NUMBER", str: "TEXT"}
        word = "NAME" if self.choices else named.get(_bare(inner), "PATH")
        return f"{word} ..." if self.is_list else word


def arguments(verb: Callable[..., Any], default: Any = None) -> list[Argument]:
    """List what a verb takes, in the order of its signature; the values of ``default`` go before its own."""
    hints = get_type_hints(verb.__init__ if inspect.isclass(verb) else verb, include_extras=True)
    found: list[Argument] = []
    for name, parameter in inspect.signature(verb).parameters.items():
        kind, option = _option(hints[name])
        value = _default(verb, name, parameter) if default is None else getattr(default, name)
        if kind is Config:
            found += _of_sections(value)
        else:
            flag = option.metavar or name.upper() if option.positional else _flag(name)
            found.append(Argument(name, "", flag, kind, option, value))
    return found


def parse(verb: Callable[..., Any], argv: Sequence[str], *, prog: str, default: Any = None) -> Any:
    """Read a command line for a verb, and call it with what was given.

    Parameters
    ----------
    verb : callable
        A function, or a dataclass.
    argv : sequence of str
        Without the program's name and the verb's.
    prog : str
        How the verb is called, for messages.
    default : object, optional
        An instance of the dataclass, whose values hold where nothing is given.

    Returns
    -------
    object
        What the verb returns: of a dataclass, an instance.

    Raises
    ------
    UsageError
        If an option is unknown, a value is missing or does not fit, or a required argument is missing.
    """
    taken = arguments(verb, default)
    given = vars(_reader(taken, prog).parse_args(_joined(argv, taken)))
    values: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {}
    for argument in taken:
        key = f"{argument.section}.{argument.name}"
        if key not in given:
            if argument.default is REQUIRED and argument.option.positional and argument.is_list:
                values[argument.name] = ()  # the verb says what it wants of them
            elif argument.default is REQUIRED:
                raise UsageError(f"{argument.flag} is missing; {_swallower(taken, given)}see '{prog} --help'")
            elif not argument.section:
                values[argument.name] = argument.default
        elif argument.section:
            sections.setdefault(argument.section, {})[argument.name] = _checked_choice(argument, given[key])
        else:
            values[argument.name] = _converted(argument, given[key])
    for name, parameter in inspect.signature(verb).parameters.items():
        if name not in values:  # the one that stands for all sections
            start = _default(verb, name, parameter) if default is None else getattr(default, name)
            values[name] = _merged(start, sections, taken)
    return verb(**values)


def _swallower(taken: Sequence[Argument], given: Mapping[str, Any]) -> str:
    """Name an option that may have taken a word that was meant for an argument without one."""
    for one in taken:
        if one.is_list and not one.option.positional and given.get(f"{one.section}.{one.name}"):
            return f"give it before {one.flag}, which takes all words that follow it; "
    return ""


@cache
def option_names() -> Mapping[str, str]:
    """How the command line calls each field of the configuration: ``{"latent_dim": "--latent-dim"}``."""
    return {argument.name: argument.flag for argument in _of_sections(Config())}


def in_options(message: str) -> str:
    """Say a message about fields of the configuration in the terms of the command line.

    Examples
    --------
    >>> in_options("device = 'cuda:9' is not there; take prior='normal', or leave beta out")
    '--device cuda:9 is not there; take --prior normal, or leave beta out'
    >>> in_options("hidden = (64, 0): take prior = 'normal', 'vamp' or 'flow'")
    '--hidden 64 0: take --prior normal, vamp or flow'
    """
    names = option_names()

    def option(found: re.Match[str]) -> str:
        value = re.sub(r"[()\[\],']" if found[2][0] in "([" else "'", "", found[2])
        return f"{names[found[1]]} {value}" if found[1] in names else found[0]

    value = r"'[^']*'(?:, '[^']*')*(?: or '[^']*')?|\([^()]*\)|\[[^\[\]]*\]|[^\s,;:()'\"]+"
    return re.sub(rf"(?<![\w.'\"-])([a-z]\w*) ?= ?({value})", option, message)


def _of_sections(config: Config) -> Iterator[Argument]:
    for section in type(config).model_fields:
        members: type[Section] = type(getattr(config, section))
        for name, inner in members.model_fields.items():
            own = next((each for each in inner.metadata if isinstance(each, Option)), Option())
            if own.hidden:
                continue
            option = Option(inner.description or own.help, own.metavar, own.short)
            flag = _flag(name if own.short else f"{section}.{name}")
            kind, _ = _option(inner.annotation)
            value = getattr(getattr(config, section), name)
            yield Argument(name, section, flag, kind, option, value)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _option(annotation: Any) -> tuple[Any, Option]:
    """Type without what only the command line needs, and that; an outer option goes before an inner one."""
    found: list[Option] = []
    rest: list[Any] = []
    if get_origin(annotation) is Annotated:
        annotation, *extras = get_args(annotation)
        # Annotated[Annotated[T, a], b] is flat: [T, a, b].
        found = [extra for extra in extras if isinstance(extra, Option)]
        rest = [extra for extra in extras if not isinstance(extra, Option)]
    kind = Annotated[annotation, *rest] if rest else annotation
    option = Option(
        next((each.help for each in reversed(found) if each.help), ""),
        next((each.metavar for each in reversed(found) if each.metavar), ""),
        positional=any(each.positional for each in found),
    )
    return kind, option


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """Types of a union, or the one there is."""
    kind = _bare(kind)
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(_bare(each) for each in get_args(kind))
    return (kind,)


def _default(verb: Any, name: str, parameter: inspect.Parameter) -> Any:
    if is_dataclass(verb):
        field = verb.__dataclass_fields__[name]
        if field.default_factory is not MISSING:
            return field.default_factory()
    return REQUIRED if parameter.default is parameter.empty else parameter.default


class _Reader(argparse.ArgumentParser):
    """Argparse, whose errors are one line of ours."""

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
            return f"{wrong!r} is one argument too many; see '{self.prog} --help'"
        known = [argument.flag for argument in self._taken if argument.flag.startswith("--")]
        if wrong.split("=")[0] in known:  # argparse takes no word after -- for an option
            return f"{wrong} stands after '--', where no options are read; give it before"
        close = difflib.get_close_matches(wrong.split("=")[0], known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}?" if close else f"see '{self.prog} --help'"
        return f"unknown option {wrong}; {hint}"


def _reader(taken: Sequence[Argument], prog: str) -> _Reader:
    parser = _Reader(prog, taken)
    for argument in taken:
        key = f"{argument.section}.{argument.name}"
        if argument.option.positional:
            parser.add_argument(key, nargs="*" if argument.is_list else "?")
        elif argument.is_switch:
            no = argument.flag.replace("--", "--no-", 1)
            parser.add_argument(argument.flag, dest=key, action="store_true")
            parser.add_argument(no, dest=key, action="store_false")
        else:
            nargs = "*" if argument.is_list else None
            parser.add_argument(argument.flag, dest=key, nargs=nargs)
    return parser


def _joined(argv: Sequence[str], taken: Sequence[Argument]) -> list[str]:
    """Join ``--beta -1e-3`` or ``--label -1,0`` to one word: argparse would take the value for an option."""
    single = {one.flag for one in taken if not (one.is_list or one.is_switch or one.option.positional)}
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
    """Turn words into the choices that they name, where there are only some."""
    if not argument.choices or isinstance(given, bool):
        return given
    values = {str(value): value for value in _literals(argument.kind)}
    for word in given if isinstance(given, list) else [given]:
        if word not in values:
            raise UsageError(f"{argument.flag} {word}: {nearest(word, values)}")
    return [values[word] for word in given] if isinstance(given, list) else values[given]


def _literals(kind: Any) -> Iterator[Any]:
    for one in _alternatives(kind):
        for inner in get_args(one) if get_origin(one) is tuple else (one,):
            if get_origin(inner) is Literal:
                yield from get_args(inner)


def _converted(argument: Argument, given: Any) -> Any:
    given = _checked_choice(argument, given)
    try:
        return pydantic.TypeAdapter(argument.kind).validate_python(given)
    except pydantic.ValidationError as error:
        raise UsageError(_wrong(argument, error)) from None


def _merged(start: Config, sections: Mapping[str, Mapping[str, Any]], taken: Sequence[Argument]) -> Config:
    """Lay what was given over a configuration; each value is checked, and then all of them together."""
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
    """Say which value does not fit, and what is allowed."""
    first = error.errors()[0]
    got = first["input"]
    takes_all = argument.is_list and not argument.option.positional and isinstance(got, str)
    before = f"; if {got!r} is no value of {argument.flag}, give it before the options" if takes_all else ""
    return f"{argument.flag} {got}: {explain(first)}{before}"
