"""Initialisation of model parts from examples instead of noise."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.networks import MLP
from elboroom.training.step.engine import Engine

_ROWS = 4096


def start_from_data(engine: Engine, indices: NDArray[np.int64], seed: int) -> None:
    """Initialise the parts of a new model that start from training examples, once.

    A model that standardises takes their means and standard deviations, and a decoder whose last bias is to
    start from data takes their log-odds. A prior with pseudo-inputs
    (:class:`VampPrior`) gets random examples, the same in all processes. If there are fewer examples than
    pseudo-inputs, the others stay as they are: equal pseudo-inputs would remain equal for ever.

    Parameters
    ----------
    engine : Engine
        Engine of the training.
    indices : array
        Rows of the training examples.
    seed : int
        Seed of the choice; other random states are left alone.
    """
    head = engine.vae.likelihood
    if hasattr(head, "standardize") and not head.fitted:
        head.fit(*_moments(engine, indices))
    _start_biases(engine, indices, seed)
    prior = engine.vae.prior
    wanted = getattr(prior, "examples_wanted", 0)
    if not wanted:
        return
    chosen = np.random.default_rng(seed).permutation(indices)[:wanted]
    with engine.same_noise(seed), torch.no_grad():
        examples = engine.batches[torch.from_numpy(chosen).to(engine.device)]
        if hasattr(head, "standardize"):
            examples = head.standardize(examples)
        prior.start_from(torch.cat([examples, prior.pseudo_inputs[len(examples) :]]))
        engine.average.restart()  # or it would remember the noise
    engine.refresh()


def _start_biases(engine: Engine, indices: NDArray[np.int64], seed: int) -> None:
    """Give the mean of the training examples to networks that start from it."""
    wanting = [part for part in engine.vae.modules() if isinstance(part, MLP) and part.wants_examples]
    if not wanting:
        return
    with engine.same_noise(seed), torch.no_grad():
        mean, _ = _moments(engine, indices)
    for part in wanting:
        part.start_from(mean)
    engine.average.restart()
    engine.refresh()


def _moments(engine: Engine, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each number of the training examples, (*shape), in two passes."""
    n = max(1, len(indices))
    parts = [torch.from_numpy(indices[i : i + _ROWS]).to(engine.device) for i in range(0, n, _ROWS)]
    mean = sum(engine.batches[part].double().sum(0) for part in parts) / n
    squares = sum((engine.batches[part].double() - mean).square().sum(0) for part in parts) / n
    return torch.as_tensor(mean), torch.as_tensor(squares).sqrt()
