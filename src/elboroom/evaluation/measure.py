"""A measured number as a record: its value, error, unit and how it was estimated."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

from elboroom import __version__
from elboroom.errors import FailureError


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number with what is needed to trust it and to measure it again.

    Attributes
    ----------
    value : float
        The number.
    error : float or None
        Its standard error; None if it was not estimated.
    unit : str
        ``"nats"``, ``"bits per dimension"``, ``"share"`` (0 to 1), …
    estimator : str
        How it was computed, in a few words.
    examples : int
        How many examples it was computed on.
    seed : int or None
        The seed of what was drawn; None if nothing was.
    details : dict
        More numbers that belong to it, such as its parts.

    Raises
    ------
    FailureError
        If the value is not a finite number.
    """

    value: float
    error: float | None
    unit: str
    estimator: str
    examples: int
    seed: int | None = None
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise FailureError(f"a measure ({self.estimator}) is {self.value}, which is no number")

    def as_json(self) -> dict[str, Any]:
        """Return the record as JSON's types, with the version that computed it."""
        return {**dataclasses.asdict(self), "version": __version__}

    def __str__(self) -> str:
        return f"{self.value:.4f}" + ("" if self.error is None else f" ± {self.error:.4f}")


def error_of_share(share: float, n: int) -> float:
    """Return the error of a share of n: the standard deviation of its posterior under Jeffreys' prior.

    It is √(p(1 − p)/n) where that can be believed, and about 1/(√2·n) rather than 0 for shares of 0 and 1.

    Examples
    --------
    >>> round(error_of_share(0.5, 10_000), 6), round(error_of_share(0.0, 100), 4)
    (0.005, 0.0069)
    """
    middle = (share * n + 0.5) / (n + 1)
    return math.sqrt(middle * (1 - middle) / (n + 2))
