"""``elboroom completion``: a script that completes commands, options and values in a shell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from elboroom.cli.options import Positional, Verb
from elboroom.config.options import Option


@dataclass(frozen=True, kw_only=True)
class Completion(Verb):
    """Print a script that completes commands, options and values in a shell.

    Put eval "$(elboroom completion bash)" into ~/.bashrc, or the same with zsh into ~/.zshrc. For fish, write
    the script to ~/.config/fish/completions/elboroom.fish.
    """

    verbs: ClassVar[Mapping[str, type[Verb]]] = {}

    shell: Annotated[
        Positional[Literal["bash", "zsh", "fish"]], Option(metavar="SHELL", help="Shell to complete in.")
    ]

    def __call__(self) -> None:
        """Print it."""
        from elboroom.cli.completion import script

        print(script(self.shell, self.verbs), end="")
