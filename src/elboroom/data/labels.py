"""Labels of examples: one whole number each."""

from __future__ import annotations

import numpy as np

from elboroom.data.rows import Array
from elboroom.errors import UsageError, shortened


def checked_labels(labels: Array | None, n: int, names: tuple[str, ...], name: str) -> Array | None:
    """Labels (n,) as int64, checked against the names that there are for them.

    Raises
    ------
    UsageError
        If labels and examples differ in number, if a label is not a whole number or has no name, or if two
        labels share a name.
    """
    if len(set(names)) < len(names):
        twice = next(label for label in names if names.count(label) > 1)
        raise UsageError(
            f"{name}: two labels are called {shortened(twice)}; give each label a name of its own"
        )
    if labels is None:
        return None
    labels = np.asarray(labels)
    if labels.shape != (n,):
        raise UsageError(f"{name}: the labels have shape {labels.shape}; it must be ({n},), one per example")
    labels = whole_labels(labels, name)
    if names and (labels.min() < 0 or labels.max() >= len(names)):
        raise UsageError(
            f"{name}: labels run from {labels.min()} to {labels.max()} and there are {len(names)} label "
            f"names; labels must lie in 0..{len(names) - 1}"
        )
    return labels


def whole_labels(labels: Array, name: str) -> Array:
    """Labels (n,) of any numeric type as int64.

    Raises
    ------
    UsageError
        If they are no numbers, or not whole; the message names the first row.
    """
    if labels.dtype.kind not in "biuf":
        raise UsageError(f"{name}: the labels hold {labels.dtype}; they must be whole numbers or text")
    if labels.dtype.kind in "uf":
        missing, most = np.isnan(labels), 2.0**63
        for bad, what in (
            (missing, "is nan"),
            (~missing & (labels != np.floor(labels)), "is {}, which is not a whole number"),
            (~missing & ~((labels >= -most) & (labels < most)), "is {}, which is beyond 64 bits"),
        ):
            rows = np.flatnonzero(bad)
            if len(rows):
                found = what.format(f"{labels[rows[0]]:g}")
                raise UsageError(
                    f"{name}: the label of {len(rows):,} of {len(labels):,} examples {found}, first in row "
                    f"{rows[0]} (counting from 0); give each a whole number or text, or leave the labels out"
                )
    return labels.astype(np.int64, copy=False)
