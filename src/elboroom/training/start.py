"""Parts of a model that start from examples instead of noise."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from elboroom.training.engine import Engine


def start_from_data(engine: Engine, indices: NDArray[np.int64], seed: int) -> None:
    """Give a prior that wants examples (:class:`VampPrior`) random ones of the training set, once.

    All processes choose the same. Where there are fewer than it wants, the rest of its pseudo-inputs stay as
    they are: equal ones would move as one for ever.

    Parameters
    ----------
    engine : Engine
        Of the training.
    indices : array
        Of the training examples.
    seed : int
        Of the choice; no other randomness is touched.
    """
    prior = engine.vae.prior
    wanted = getattr(prior, "examples_wanted", 0)
    if not wanted:
        return
    chosen = np.random.default_rng(seed).permutation(indices)[:wanted]
    with engine.same_noise(seed), torch.no_grad():
        examples = engine.batches[torch.from_numpy(chosen).to(engine.device)]
        prior.start_from(torch.cat([examples, prior.pseudo_inputs[len(examples) :]]))
        if engine.average is not None:  # else it would remember the noise
            torch._foreach_copy_(engine.average, list(engine.vae.parameters()))
    engine.refresh()
