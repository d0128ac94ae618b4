"""Examples of a data set as a model takes them: with their conditions, if it wants any."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from elboroom.conditions import Examples
from elboroom.data.conditioned import conditions_of
from elboroom.data.dataset import Dataset
from elboroom.model import VAE, Array


def examples_of(vae: VAE, data: Dataset, rows: NDArray[np.int64]) -> Array:
    """Some rows of a data set in model units, (n, *shape); of a conditional model with their conditions.

    Raises
    ------
    UsageError
        If the model is conditional and the data have no conditions, or others.
    """
    x = data.values(rows)
    return x if vae.condition is None else Examples(x, conditions_of(data, vae.condition)[rows])
