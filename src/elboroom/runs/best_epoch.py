"""Which epochs of a history may be the best, and by what they are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elboroom.config.penalties import PENALTIES


def can_be_best(row: Mapping[str, Any]) -> bool:
    """Whether an epoch has a validation bound that its weights may be kept for.

    Penalties for detail, such as a patch critic, teach the decoder what costs likelihood, and the best bound
    is that of an epoch before they count. A training with one keeps the weights of its last epoch.

    Examples
    --------
    >>> can_be_best({"val_elbo": -90.0}), can_be_best({"val_elbo": -90.0, "penalty_patch_critic": 1.0})
    (True, False)
    """
    against = (name for name, penalty in PENALTIES.items() if penalty.costs_likelihood)
    return "val_elbo" in row and not any(f"penalty_{name}" in row for name in against)


def quality(row: Mapping[str, Any]) -> float:
    """What the best epoch is chosen by, in nats, higher is better: the bound that is trained, at beta = 1.

    Examples
    --------
    >>> quality({"val_elbo": -90.0}), quality({"val_elbo": -90.0, "val_bound": -86.5})
    (-90.0, -86.5)
    """
    return float(row.get("val_bound", row["val_elbo"]))


def quality_name(row: Mapping[str, Any]) -> str:
    """What :func:`quality` is, in words."""
    return (
        "validation importance-weighted bound"
        if "val_bound" in row
        else f"validation {bound_name(row.get('rate', 1.0))}"
    )


def bound_name(rate: float) -> str:
    """Name −(distortion + rate): without a rate, as of an autoencoder, it is no bound on log p(x).

    Examples
    --------
    >>> bound_name(3.5), bound_name(0.0)
    ('ELBO', 'log p(x|z)')
    """
    return "ELBO" if rate else "log p(x|z)"
