"""The base class of all sections, the types of their fields, and error messages in one line."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import pydantic
from pydantic import BeforeValidator, ConfigDict, Field
from pydantic_core import ErrorDetails

from elboroom.config.options import Option
from elboroom.errors import UsageError, nearest, shortened

FLAT = Option(short=True)
"""Marks an option that is named without its section: ``--beta``, not ``--objective.beta``."""
FLAT_NAME = Option(short=True, metavar="NAME")
KEY_VALUE = Option(short=True, metavar="KEY=VALUE")
HIDDEN = Option(hidden=True)
"""Marks a field that has no option on the command line."""


def read_options(value: object) -> object:
    """Accept keyword arguments as a dict or as TOML, ``"betas=[0.9, 0.99], weight_decay=0.01"``."""
    if not isinstance(value, str):
        return _checked(value)
    try:
        found = tomllib.loads(f"options = {{{value}}}")
    except (ValueError, RecursionError):  # not TOML, nested too deeply, or a number of thousands of digits
        found = {}
    if set(found) != {"options"}:  # a brace in the value could close the table and open another
        raise ValueError("must be 'key=value, key=value' with values as in TOML: 0.9, true, [1, 2], 'text'")
    return _checked(found["options"])


def _checked(value: Any) -> Any:
    """Return the value if all its numbers are finite, as JSON requires."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    for part in parts:
        _checked(part)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"contains {value}; all numbers must be finite")
    return value


Options = Annotated[dict[str, Any], BeforeValidator(read_options)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
AtLeastOne = Annotated[int, Field(ge=1, le=10**9)]


# Messages for the checks of pydantic. Validators of this package bring their own.
_WORDING = {
    "greater_than_equal": "must be at least {ge:g}",
    "greater_than": "must be above {gt:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list, such as [400, 400]",
    "dict_type": "must be a table, such as {{ key = value }}",
}


class Section(pydantic.BaseModel):
    """Base class of all sections: frozen, without unknown keys, with errors in one line."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def __init__(self, **values: Any):
        try:
            super().__init__(**values)
        except pydantic.ValidationError as error:
            raise UsageError(_one_line(error, type(self))) from None


def _one_line(error: pydantic.ValidationError, section: type[pydantic.BaseModel]) -> str:
    """Describe the first invalid field: its name, the value got and what is allowed."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"] if not isinstance(part, int)) or "the configuration"
    if first["type"] == "extra_forbidden":
        known = section.model_fields
        return f"unknown option {shortened(name)} in {section.__name__}; {nearest(name, known)}"
    what = explain(first)
    if first["loc"]:
        return f"{name} = {first['input']!r}: {what}"
    return what


def explain(error: ErrorDetails) -> str:
    """Reword what pydantic found wrong with a value."""
    wording = _WORDING.get(error["type"])
    return wording.format(**error.get("ctx", {})) if wording else error["msg"].removeprefix("Value error, ")


Uses = tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
"""(field of a choice, values of it, fields that have no effect without one of these values), …"""


def uses_of(choice: str, options: Mapping[str, tuple[str, ...]]) -> Uses:
    """Invert a table from each value of a choice to its options, for `check_in_use`.

    Examples
    --------
    >>> uses_of("network", {"mlp": ("init",), "conv": ("width",), "ladder": ("width",)})
    (('network', ('mlp',), ('init',)), ('network', ('conv', 'ladder'), ('width',)))
    """
    fields = dict.fromkeys(field for taken in options.values() for field in taken)
    return tuple(
        (choice, tuple(value for value, taken in options.items() if field in taken), (field,))
        for field in fields
    )


def check_in_use(section: Section, uses: Uses, auto: Mapping[str, str] | None = None) -> None:
    """Check that every option that differs from its default has an effect.

    ``auto`` maps a field to the choice that "auto" means.

    Raises
    ------
    ValueError
        If an option is set that the chosen part does not use; the message names the option, the choices that
        use it, and what was chosen.
    """
    for part, choices, names in uses:
        chosen = getattr(section, part)
        if chosen == "auto" and auto is not None and "auto" not in choices:
            chosen = auto.get(part, chosen)
        for name in names if chosen not in choices else ():
            value = getattr(section, name)
            if value != type(section).model_fields[name].default:
                raise ValueError(
                    f"{name} = {value!r} requires {part} = {either(choices)}, and {part} is {chosen!r}; "
                    f"leave it out, or set {part} = {choices[0]!r}"
                )


def either(names: Iterable[str]) -> str:
    """Join names with commas and "or".

    Examples
    --------
    >>> either(["a", "b", "c"])
    "'a', 'b' or 'c'"
    """
    return join(map(repr, names), "or")


def join(words: Iterable[str], conjunction: str) -> str:
    """Write words as a list in a sentence.

    Examples
    --------
    >>> join(["a", "b", "c"], "and")
    'a, b and c'
    """
    *most, last = words
    return f"{', '.join(most)} {conjunction} {last}" if most else last
