"""The bounds by name: what each needs of the posterior, its options, and how many codes it draws.

A new bound is a function in ``elboroom.objectives``, a line in ``objectives/choice.py`` and a row here. Its
choice on the command line, its help, the refusals and the tests that hold for all bounds follow from these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Need = Literal["noise", "density", "factors", "covariance", "unbounded"]
"""What a bound or penalty needs of the posterior: codes drawn with noise, log q(z|x) at any code, a product
over dimensions, a covariance, or codes of any length. ``elboroom.config.fitting`` knows which have it."""


@dataclass(frozen=True)
class BoundRow:
    """What the configuration knows of a bound.

    Attributes
    ----------
    summary : str
        What is special about it: a verb phrase for the help. Bounds of several samples need none.
    need : Need or None
        What it needs of the posterior.
    reason : str
        Why: a verb phrase for the message that refuses a posterior without it.
    options : tuple of str
        The fields of the objective's configuration that it takes.
    num_samples : int
        Codes for each example in its paper. A bound of several is the ELBO with one sample, and refuses it.
    beta_weighs : str
        What beta multiplies.
    """

    summary: str = ""
    need: Need | None = None
    reason: str = ""
    options: tuple[str, ...] = ()
    num_samples: int = 1
    beta_weighs: str = "the rate"


_BY_DENSITY = "weights samples by their density"
_PATH = "takes the density of q(z|x) at given codes"

BOUNDS: dict[str, BoundRow] = {
    "elbo": BoundRow("is the evidence lower bound", options=("free_bits",)),
    "iwae": BoundRow(need="noise", reason=_BY_DENSITY, num_samples=50),
    "miwae": BoundRow(need="noise", reason=_BY_DENSITY, options=("bound_groups",), num_samples=64),
    "piwae": BoundRow(need="noise", reason=_BY_DENSITY, options=("bound_groups",), num_samples=64),
    "ciwae": BoundRow(need="noise", reason=_BY_DENSITY, options=("elbo_share",), num_samples=64),
    "dreg": BoundRow(need="density", reason=_PATH, num_samples=64),
    "stl": BoundRow("uses the path gradient", need="density", reason=_PATH),
    "capacity": BoundRow(
        "drives the rate to a target",
        need="noise",
        reason="drives the rate to a target",
        options=("capacity", "capacity_ramp"),
        beta_weighs="|rate - capacity|",
    ),
}


def help_of_bounds() -> str:
    """Help of the option that chooses the bound.

    Examples
    --------
    >>> help_of_bounds()[:53]
    'Training bound. elbo is the evidence lower bound; stl'
    """
    *most, last = (name for name, row in BOUNDS.items() if row.num_samples > 1)
    clauses = [f"{name} {row.summary}" for name, row in BOUNDS.items() if row.summary]
    clauses.append(f"{', '.join(most)} and {last} use several samples")
    return f"Training bound. {'; '.join(clauses)}."
