"""What a tracker is given of a run, and what each tracker must be able to do."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elboroom.config import Config

PROJECT = "elboroom"
"""Project or experiment of runs, unless the tracker's own environment variable names another."""


@dataclass(frozen=True)
class Subject:
    """A run as trackers know it.

    Attributes
    ----------
    folder : Path
        The run folder.
    name : str
        What the tracker shows.
    key : str
        Eight characters that tell runs of one name apart; the same whenever the run is resumed.
    config : dict
        The configuration, by section and field.
    """

    folder: Path
    name: str
    key: str
    config: dict[str, Any] = field(repr=False)

    @property
    def parameters(self) -> dict[str, bool | int | float | str]:
        """The configuration as hyper-parameters, ``section.field``; lists, tables and null are JSON text."""
        plain = bool | int | float | str
        return {
            f"{section}.{name}": value if isinstance(value, plain) else json.dumps(value, allow_nan=False)
            for section, fields in self.config.items()
            for name, value in (fields or {}).items()
        }


class Tracker(ABC):
    """A connection to one tracker. All methods but the constructor are called in a thread of its own.

    Attributes
    ----------
    hint : str
        How to look at the run, once :meth:`begin` has returned.
    """

    hint = ""

    @abstractmethod
    def begin(self, run: Subject) -> int:
        """Connect, create or continue the run with its configuration; return its last step, or -1."""

    @abstractmethod
    def row(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add numbers by name, all of them or none."""

    def results(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add the numbers of the trained model."""
        self.row(step, numbers)

    @abstractmethod
    def figure(self, name: str, path: Path, step: int) -> None:
        """Add a PNG file; ``step`` is that of the last row."""

    @abstractmethod
    def close(self) -> None:
        """Send what is waiting, and end the connection."""


def subject_of(folder: Path, key: str, config: Config) -> Subject:
    """Describe a run to a tracker; runs of a comparison are named by recipe and seed."""
    own = folder.resolve()
    name = f"{own.parent.name}/{own.name}" if own.name.startswith("seed-") else own.name
    return Subject(folder, name, key, config.model_dump(mode="json"))


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the columns of a row that are numbers; a list becomes ``name_1 name_2 …``.

    Examples
    --------
    >>> numbers_of({"epoch": 1, "loss": 2.5, "grad_norm": None, "rates": [0.5, None, 1.5]})
    {'epoch': 1, 'loss': 2.5, 'rates_1': 0.5, 'rates_3': 1.5}
    """
    found: dict[str, float] = {}
    for name, value in row.items():
        parts = (
            {f"{name}_{i}": part for i, part in enumerate(value, 1)}
            if isinstance(value, list)
            else {name: value}
        )
        found |= {key: part for key, part in parts.items() if isinstance(part, int | float)}
    return found
