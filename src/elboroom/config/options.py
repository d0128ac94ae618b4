"""How the command line presents a field of the configuration or an argument of a verb."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """Presentation of a field or argument, as part of its ``Annotated`` type.

    Attributes
    ----------
    help : str
        A sentence. Fields of a section have their docstring instead.
    metavar : str
        Placeholder for the value in the help; derived from the type if empty.
    short : bool
        Whether the option of a field omits its section: ``--beta``, not ``--objective.beta``.
    positional : bool
        Whether the argument is positional.
    hidden : bool
        Whether the command line omits the option.
    old : tuple of str
        Earlier names of the field, which the command line still accepts but does not show.
    """

    help: str = ""
    metavar: str = ""
    short: bool = False
    positional: bool = False
    hidden: bool = False
    old: tuple[str, ...] = ()
