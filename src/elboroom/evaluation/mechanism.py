"""What a model has learned about why cells of a table are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from elboroom.data.table_write import cell_texts
from elboroom.models.vae import VAE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from elboroom.config.columns import Column
    from elboroom.probability.columns import ColumnFamily
    from elboroom.probability.missingness import FamilyMechanism


def learned_mechanism(vae: VAE) -> list[dict[str, Any]]:
    """How likely a cell is to be missing, by its value, for each column that a mechanism was learned for.

    Parameters
    ----------
    vae : VAE
        Any model.

    Returns
    -------
    list of dict
        Of each such column its ``name``; ``missing``, the share of its training cells that are missing, or
        None if it is not known; ``at``, a list of values and of the ``probability`` that a cell with this
        value is missing: all categories by name, or three numbers in the column's units or dates, which are
        one standard deviation below the mean of the training cells that are observed, the mean itself, and
        one above (on the scale that the network sees, such as the logarithm of positive numbers). Numbers
        have ``slope`` too, the change of the log-odds for each such deviation. Empty for a model without a
        mechanism.

    Examples
    --------
    >>> from elboroom.config.columns import Column
    >>> pay = Column(name="pay", kind="real", location=50.0, scale=16.0, missing=0.2)
    >>> vae = VAE.build(shape=(1,), likelihood="mixed", columns=[pay], missing_mechanism="self_masking")
    >>> [found] = learned_mechanism(vae)  # as it begins: whatever the value
    >>> found["slope"], [at["value"] for at in found["at"]], round(found["at"][0]["probability"], 3)
    (0.0, [34.0, 50.0, 66.0], 0.2)
    """
    head = vae.likelihood
    mechanism = getattr(head, "mechanism", None)
    if mechanism is None:
        return []
    found: dict[int, dict[str, Any]] = {}
    with torch.no_grad():
        for each, family, own in zip(mechanism.typed(), head.families, head.places, strict=True):
            if not each.any_present:
                continue
            of_family = _of_family(each, family, [head.columns[i] for i in own])
            found |= {i: one for i, one in zip(own, of_family, strict=True) if one is not None}
    return [found[i] for i in sorted(found)]


def _of_family(
    mechanism: FamilyMechanism, family: ColumnFamily, columns: list[Column]
) -> list[dict[str, Any] | None]:
    """Of each column of a family; None of those without a mechanism."""
    most = max(len(column.categories) for column in columns)
    at: Tensor = torch.arange(most) if most else torch.tensor([-1.0, 0.0, 1.0])
    at = at.to(family.location)[:, None].expand(-1, len(columns))
    values = at if most else family.typical(at)  # the table has rows for categories that a column lacks
    probability = mechanism.log_odds_of(family, values).sigmoid().double().T.tolist()
    found: list[dict[str, Any] | None] = []
    for i, column in enumerate(columns):
        if not bool(mechanism.present[i]):
            found.append(None)
            continue
        shown = zip(column.categories or _shown(column, values[:, i]), probability[i], strict=False)
        one: dict[str, Any] = {"name": column.name, "missing": column.missing}
        one["at"] = [{"value": value, "probability": share} for value, share in shown]
        found.append(one if most else {**one, "slope": mechanism.slope[i].item()})
    return found


def _shown(column: Column, values: Tensor) -> list[Any]:
    """Numbers, or dates as text."""
    numbers: NDArray[np.float64] = values.double().cpu().numpy()
    if column.kind == "datetime":
        return cell_texts([column], numbers[:, None])[0]
    return numbers.tolist()
