"""One thing that is wrong with a run or with data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, how it shows, and the change that mends it.

    Attributes
    ----------
    evidence : str
        What was seen, in words and numbers.
    numbers : mapping of str to float
        The numbers that the evidence rests on.
    change : mapping of str to value
        One field of the configuration, or the few of one option, with the value that mends it.
    effect : str
        What the change does.
    disease : str
        Name of the disease; ``examine_chart`` fills it in.

    Examples
    --------
    >>> found = Finding("the loss still falls", {"fall": 0.12}, {"lr": 1e-3}, "learns faster")
    >>> print(found.remedy)
    lr = 0.001 learns faster
    """

    evidence: str
    numbers: Mapping[str, float]
    change: Mapping[str, Any]
    effect: str
    disease: str = ""

    @property
    def remedy(self) -> str:
        """The change and its effect, in terms of the configuration."""
        changes = (f"{name} = {_written(value)}" for name, value in self.change.items())
        return f"{' and '.join(changes)} {self.effect}"

    def as_json(self) -> dict[str, Any]:
        """Return the finding as a JSON object."""
        return {
            "disease": self.disease,
            "evidence": self.evidence,
            "numbers": dict(self.numbers),
            "change": dict(self.change),
            "effect": self.effect,
        }


def _written(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value, allow_nan=False) if isinstance(value, dict) else str(value)
