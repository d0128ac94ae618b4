"""What a verb takes: its arguments and options, read from the fields of its dataclass.

A field whose type is a :class:`Config` represents the options of all sections.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from elboroom.config import Config
from elboroom.config.options import Option
from elboroom.config.sections import Section

REQUIRED = object()
"""The default of an argument that must be given."""


@dataclass(frozen=True)
class Argument:
    """One argument or option of a verb.

    Attributes
    ----------
    name : str
        The field that it sets.
    section : str
        The section of the configuration that holds the field; "" for a field of the verb itself.
    flag : str
        ``--latent-dim``; for a positional argument, its name in the help.
    kind : object
        The type, without the metadata that only the command line needs.
    option : Option
        Help, metavar, old spellings and whether it is positional.
    default : object
        The value if it is not given; `REQUIRED` if it must be.
    """

    name: str
    section: str
    flag: str
    kind: Any
    option: Option
    default: Any

    @property
    def key(self) -> str:
        """A name that is unique among all sections."""
        return f"{self.section}.{self.name}"

    @property
    def flags(self) -> tuple[str, ...]:
        """All accepted spellings, the current one first."""
        return (self.flag, *(_flag(name) for name in self.option.old))

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value: ``--quiet`` or ``--no-quiet``."""
        return self.kind is bool

    @property
    def is_list(self) -> bool:
        """Whether it takes several values."""
        return any(get_origin(kind) is tuple for kind in alternatives(self.kind))

    @property
    def literals(self) -> tuple[Any, ...]:
        """The allowed values, if the type enumerates them."""
        return tuple(
            value
            for kind in alternatives(self.kind)
            for inner in (get_args(kind) if get_origin(kind) is tuple else (kind,))
            if get_origin(inner) is Literal
            for value in get_args(inner)
        )

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed values as they are typed."""
        return tuple(map(str, self.literals))

    @property
    def metavar(self) -> str:
        """The placeholder for the value in the help."""
        if self.option.metavar:
            return self.option.metavar
        kinds = [kind for kind in alternatives(self.kind) if kind is not type(None)]
        inner = next((get_args(kind)[0] for kind in kinds if get_origin(kind) is tuple), kinds[0])
        named = {int: "INT", float: "NUMBER", str: "TEXT"}
        word = "NAME" if self.choices else named.get(_bare(inner), "PATH")
        return f"{word} ..." if self.is_list else word


def arguments(verb: type, start: Any = None) -> list[Argument]:
    """List what a verb takes.

    Parameters
    ----------
    verb : type
        A dataclass.
    start : object, optional
        An instance, whose values are the defaults; those of the class if not given.

    Returns
    -------
    list of Argument
        Positional arguments in the order of the fields, then the verb's own options, then those that its
        base classes declare, then the configuration's.
    """
    hints = get_type_hints(verb, include_extras=True)
    positional: list[Argument] = []
    own: list[Argument] = []
    shared: list[Argument] = []
    settings: list[Argument] = []
    for field in fields(verb):
        kind, option = split_option(hints[field.name])
        value = _default(field) if start is None else getattr(start, field.name)
        if kind is Config:
            settings += list(section_arguments(value))
            continue
        flag = option.metavar or field.name.upper() if option.positional else _flag(field.name)
        part = positional if option.positional else shared if _is_inherited(verb, field.name) else own
        part.append(Argument(field.name, "", flag, kind, option, value))
    return [*positional, *own, *shared, *settings]


def settings_field(verb: type) -> str | None:
    """Name the field that holds the configuration; None if the verb has none."""
    hints = get_type_hints(verb)
    return next((field.name for field in fields(verb) if hints[field.name] is Config), None)


def section_arguments(config: Config) -> Iterator[Argument]:
    """List the options of all sections of a configuration, whose values are the defaults."""
    for section in type(config).model_fields:
        members: type[Section] = type(getattr(config, section))
        for name, inner in members.model_fields.items():
            own = next((each for each in inner.metadata if isinstance(each, Option)), Option())
            if own.hidden:
                continue
            option = Option(inner.description or own.help, own.metavar, own.short, old=own.old)
            flag = _flag(name if own.short else f"{section}.{name}")
            kind, _ = split_option(inner.annotation)
            value = getattr(getattr(config, section), name)
            yield Argument(name, section, flag, kind, option, value)


@cache
def option_names() -> dict[str, str]:
    """Map each field of the configuration to its option: ``{"latent_dim": "--latent-dim"}``."""
    return {argument.name: argument.flag for argument in section_arguments(Config())}


def split_option(annotation: Any) -> tuple[Any, Option]:
    """Split an annotation into its type and its `Option`, of which the outermost takes precedence."""
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
        old=tuple(name for each in found for name in each.old),
    )
    return kind, option


def alternatives(kind: Any) -> tuple[Any, ...]:
    """List the members of a union type; a type that is no union alone."""
    kind = _bare(kind)
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(_bare(each) for each in get_args(kind))
    return (kind,)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return REQUIRED if field.default is MISSING else field.default


def _is_inherited(verb: type, name: str) -> bool:
    return any(name in getattr(base, "__dataclass_fields__", {}) for base in verb.__mro__[1:])
