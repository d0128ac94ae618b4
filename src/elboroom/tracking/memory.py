"""What each tracker has been given of a run besides rows, in the run folder: ``tracking/NAME.json``.

Which rows a tracker has, it is asked itself: what it was given may be lost with a killed process.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from elboroom.errors import UsageError
from elboroom.io.files import json_text, read_json, write_atomic

FOLDER = "tracking"


@dataclass
class Memory:
    """What one tracker has of a run.

    Attributes
    ----------
    key : str
        By which the tracker knows the run.
    figures : dict
        Name of each figure sent → SHA-256 of its file.
    results : str
        SHA-256 of the metrics.json that was sent.
    """

    key: str = field(default_factory=lambda: secrets.token_hex(4))
    figures: dict[str, str] = field(default_factory=dict)
    results: str = ""

    @classmethod
    def read(cls, folder: Path, tracker: str) -> Memory:
        """Read the file of a tracker in a run folder; a new memory if there is none.

        Raises
        ------
        UsageError
            If the file is damaged.
        """
        path = folder / FOLDER / f"{tracker}.json"
        if not path.exists():
            return cls()
        fix = "remove it, and the run begins anew in that tracker"
        found = read_json(path, fix)
        if not (isinstance(found, dict) and _fits(found)):
            raise UsageError(f"{path} is damaged: it does not hold what was sent; {fix}")
        return cls(**found)

    def write(self, folder: Path, tracker: str) -> None:
        """Replace the file."""
        path = folder / FOLDER / f"{tracker}.json"
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, json_text(asdict(self)) + "\n")


def _fits(found: dict[str, Any]) -> bool:
    kinds = {"key": str, "figures": dict, "results": str}
    return set(found) == set(kinds) and all(isinstance(found[name], kind) for name, kind in kinds.items())
