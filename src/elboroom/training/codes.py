"""Statistics of the codes of a trained model, which its run folder keeps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from elboroom.config import Config
from elboroom.config.bounds import BOUNDS
from elboroom.evaluation.latent_statistics import is_measured, measure_codes
from elboroom.runs import statistics_file
from elboroom.runs.run import Run
from elboroom.training.step.engine import Engine


def write_statistics(folder: Run, engine: Engine, indices: NDArray[np.int64], config: Config) -> None:
    """Write the mean and standard deviation of codes of training examples, if exports may want them.

    The file of an earlier training is removed, so that there is never one of another model.
    """
    objective = config.objective
    beta = objective.beta if BOUNDS[objective.bound].beta_weighs == "the rate" else 1.0
    found = None
    if is_measured(engine.vae, beta):
        found = measure_codes(engine.vae, engine.batches, indices, seed=config.training.seed)
    if found is None:
        (folder.path / statistics_file.FILE).unlink(missing_ok=True)
    else:
        statistics_file.write_statistics(folder.path, engine.vae, found)
