"""How a field of the configuration, or an argument of a verb, looks on the command line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """What the command line says of a field; put it into the field's ``Annotated`` type.

    Attributes
    ----------
    help : str
        A sentence; a field of a section has its docstring instead.
    metavar : str
        What stands for the value in the help; derived from the type if empty.
    short : bool
        Whether a section's field is named without its section: ``--beta``, not ``--objective.beta``.
    positional : bool
        Whether it is given by its place and not by its name.
    hidden : bool
        Whether the command line has no such option.
    old : tuple of str
        Earlier names of the field, still accepted on the command line and not shown in the help.
    """

    help: str = ""
    metavar: str = ""
    short: bool = False
    positional: bool = False
    hidden: bool = False
    old: tuple[str, ...] = ()
