"""The examples of each step, as a function of seed and epoch alone."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from elboroom.config import TrainingConfig
from elboroom.data.stream import chunked_permutation


def steps_per_epoch(examples: int, config: TrainingConfig) -> int:
    """Number of steps in an epoch; the last of a shuffled pass may have a smaller batch."""
    return config.batches_per_epoch or math.ceil(examples / config.step_size)


def epoch_order(indices: NDArray[np.int64], config: TrainingConfig, epoch: int) -> list[NDArray[np.int64]]:
    """Return the batches of an epoch, which depend on seed and epoch alone and can be recomputed.

    Parameters
    ----------
    indices : array
        Of the training examples.
    config : TrainingConfig
        A shuffled pass in batches of ``step_size``, or ``batches_per_epoch`` draws with replacement.
    epoch : int
        Counted from 0.
    """
    draw = np.random.default_rng([config.seed, epoch])
    if config.batches_per_epoch is not None:
        chosen = draw.integers(len(indices), size=(config.batches_per_epoch, config.step_size))
        return list(indices[chosen])
    shuffled = chunked_permutation(indices, config.shuffle_chunk, config.shuffle_window, draw)
    return [shuffled[start : start + config.step_size] for start in range(0, len(shuffled), config.step_size)]
