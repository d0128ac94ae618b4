"""What an entry is: a paper's setting and figures, and how they are measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from elboroom.config import Config
from elboroom.errors import UsageError, nearest

Kind = Literal["nll", "mig", "fid"]
UNITS: dict[Kind, str] = {"nll": "nats", "mig": "share", "fid": "FID"}
TITLES: dict[Kind, str] = {
    "nll": "negative log-likelihood of the test set",
    "mig": "mutual information gap",
    "fid": "Fréchet distance between features of samples and of test images",
}


@dataclass(frozen=True)
class Row:
    """One figure of a paper.

    Attributes
    ----------
    published : float
        The figure, in the unit of the entry's measure.
    title : str
        What the paper calls it.
    options : mapping of str to value
        Fields of the configuration that differ from those of the entry.
    hours : float
        Expected time on one core of a processor of 2023, in hours; of the whole training.
    samples : int or None
        Importance samples, if they differ from the entry's.
    """

    published: float
    title: str
    options: Mapping[str, Any] = field(default_factory=dict)
    hours: float = 1.0
    samples: int | None = None


@dataclass(frozen=True)
class Entry:
    """A table of a paper.

    Attributes
    ----------
    name : str
        The name that the command takes.
    title : str
        Model and data in a few words.
    paper : str
        Where the figures stand: a title, with the table.
    arxiv : str
        Number on arXiv; empty for figures that stand elsewhere, where ``paper`` has the address.
    source : str
        Named data set.
    options : mapping of str to value
        Fields of the configuration.
    rows : mapping of str to Row
        The figures, by short names.
    kind : {"nll", "mig", "fid"}
        What is measured.
    samples : int
        Importance samples of each test example, for ``"nll"``.
    margin : float
        A figure is reached if ours is worse by at most this much.
    departures : tuple of str
        Where the setting differs from the paper's, one sentence each.
    """

    name: str
    title: str
    paper: str
    arxiv: str
    source: str
    options: Mapping[str, Any]
    rows: Mapping[str, Row]
    kind: Kind = "nll"
    samples: int = 5000
    margin: float = 0.2
    departures: tuple[str, ...] = ()

    def row(self, name: str) -> Row:
        """Find a row by its name.

        Raises
        ------
        UsageError
            If there is none of that name.
        """
        if name not in self.rows:
            raise UsageError(f"{self.name} has no row {name!r}; {nearest(name, self.rows)}")
        return self.rows[name]

    def setting(self, row: str) -> dict[str, Any]:
        """Fields of the configuration of a row that differ from the defaults."""
        return {"source": self.source, **self.options, **self.row(row).options}

    def config(self, row: str, **more: Any) -> Config:
        """Configuration of a row. Nothing is drawn during training, and the paper's split is kept."""
        return Config().updated(**{"figures_every": 0, "validation": 0.0, **self.setting(row), **more})

    def samples_of(self, row: str) -> int | None:
        """Importance samples of a row; None if its measure takes none."""
        return (self.row(row).samples or self.samples) if self.kind == "nll" else None

    def reached(self, row: str, value: float) -> bool:
        """Whether a value is no worse than the published one by more than the margin.

        Examples
        --------
        >>> from elboroom.reproduction import ENTRIES
        >>> ENTRIES["iwae-l1"].reached("vae-1", 86.9), ENTRIES["iwae-l1"].reached("vae-1", 87.0)
        (True, False)
        """
        excess = value - self.row(row).published
        return (-excess if self.kind == "mig" else excess) <= self.margin


def find_entry(name: str, entries: Mapping[str, Entry]) -> Entry:
    """Find an entry by its name.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    if name not in entries:
        raise UsageError(f"there is no published result {name!r}; {nearest(name, entries)}")
    return entries[name]
