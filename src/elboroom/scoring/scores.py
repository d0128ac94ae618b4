"""Anomaly scores of arrays and data sets, and verdicts at a calibrated threshold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.data.batches import Batches
from elboroom.distributed.noise import SharedNoise, noise_from
from elboroom.errors import UsageError
from elboroom.latent.arrays import seeded
from elboroom.models.conditioning import Array, Condition, apart
from elboroom.models.inputs import check_count
from elboroom.models.vae import VAE
from elboroom.probability.parameters import check_choice
from elboroom.scoring.calibration import Calibration, Judged
from elboroom.scoring.measures import ScoreName, measure
from elboroom.scoring.measures import Scores as Scores
from elboroom.scoring.regret import STEPS, has_regret, regret

SCORES: dict[ScoreName, str] = {
    "elbo": "−ELBO",
    "nll": "−log p(x), importance-weighted",
    "reconstruction": "−E log p(x|z)",
    "regret": "likelihood regret",
}
"""Scores by name, each with what it is."""

NUM_SAMPLES = 100
_ROWS = 200


def default_score(vae: VAE) -> ScoreName:
    """Score that suits a model: "regret" for images, of which plain likelihood is no judge; else "elbo".

    Regret needs a single stochastic layer whose codes have a density; images of other models get "elbo" too.
    """
    return "regret" if len(vae.shape) == 3 and has_regret(vae) else "elbo"


def score(
    vae: VAE,
    x: Array,
    calibration: Array,
    *,
    score: ScoreName | None = None,
    false_alarms: float = 0.05,
    num_samples: int = NUM_SAMPLES,
    steps: int = STEPS,
    condition: Condition | None = None,
    seed: int = 0,
) -> Judged:
    """Score examples and call those anomalous that score higher than held-out examples do.

    Parameters
    ----------
    vae : VAE
        A trained model.
    x : array
        Examples (n, *shape); of a conditional model with their conditions.
    calibration : array
        Examples (m, *shape) that the model was not trained on and that are normal.
    score : {"elbo", "nll", "reconstruction", "regret"}, optional
        See :func:`elboroom.scoring.measures.measure` and :func:`elboroom.scoring.regret.regret`. Default:
        "regret" for images, "elbo" for all else.
    false_alarms : float
        Largest share of normal examples to call anomalous.
    num_samples : int
        Codes drawn for each example.
    steps : int
        Gradient steps of "regret".
    condition : optional
        Of all examples, in place of conditions with the examples.
    seed : int
        Of the noise of the codes, which all examples share, so that a score does not depend on the others.
        The caller's randomness is left alone.

    Raises
    ------
    UsageError
        If the model cannot be scored in this way, or there are too few calibration examples for the rate.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> vae = VAE.build(shape=(3,), latent_dim=1, hidden=[8], likelihood="gaussian")
    >>> found = score(vae, 10.0 * np.eye(3), rng.normal(size=(50, 3)))
    >>> found.anomalous.tolist(), found.p_value.round(3).tolist()
    ([True, True, True], [0.02, 0.02, 0.02])
    """
    name = default_score(vae) if score is None else score
    options = {"num_samples": num_samples, "steps": steps, "seed": seed}
    held_out = score_array(vae, calibration, name, condition=condition, **options)
    calibrated = Calibration.of([held_out], false_alarms)
    return calibrated.judge(score_array(vae, x, name, condition=condition, **options))


def score_array(
    vae: VAE,
    x: Array,
    name: ScoreName,
    *,
    num_samples: int = NUM_SAMPLES,
    steps: int = STEPS,
    condition: Condition | None = None,
    seed: int = 0,
) -> Scores:
    """Score examples of an array (n, *shape) without a verdict; the arguments are those of :func:`score`."""
    plain, condition = apart(x, condition)
    if not len(plain):
        raise UsageError("got 0 examples to score; give at least one")
    inputs = vae.as_input(plain, scored=True)
    c = vae.condition_vectors(condition, len(inputs))

    def read(rows: slice) -> tuple[Tensor, Tensor | None]:
        return inputs[rows], None if c is None else c[rows]

    options, size = {"num_samples": num_samples, "steps": steps}, _rows_at_a_time(vae)
    return Scores.joined(
        [
            _scored(vae, partial(read, slice(start, start + size)), name, seed=seed, **options)
            for start in range(0, len(inputs), size)
        ]
    )


def score_rows(
    vae: VAE,
    batches: Batches,
    indices: NDArray[np.int64],
    name: ScoreName,
    *,
    num_samples: int = NUM_SAMPLES,
    steps: int = STEPS,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> Iterator[tuple[NDArray[np.int64], Scores]]:
    """Score rows of a data set as the model saw them in training, a few hundred at a time.

    Parameters
    ----------
    vae, name, num_samples, steps, seed
        As in :func:`score`.
    batches : Batches
        On the model's device.
    indices : numpy.ndarray
        Rows to score, (n,).
    on_progress : callable, optional
        Called with the number of examples done.

    Yields
    ------
    rows : numpy.ndarray
        Some of ``indices``, in their order.
    scores : Scores
        Of these rows.
    """
    batches.condition_on(vae.condition)

    def read(rows: Tensor) -> tuple[Tensor, Tensor | None]:
        x = batches[rows]
        vae.check_values(x, scored=True)
        return x, batches.conditions(rows)

    options, size = {"num_samples": num_samples, "steps": steps, "seed": seed}, _rows_at_a_time(vae)
    for start in range(0, len(indices), size):
        part = indices[start : start + size]
        rows = torch.from_numpy(part).to(batches.x.device)
        yield part, _scored(vae, partial(read, rows), name, **options)
        if on_progress is not None:
            on_progress(start + len(part))


def _rows_at_a_time(vae: VAE) -> int:
    """One where the noise of a posterior depends on its parameters, so that examples cannot share it."""
    makes = getattr(vae.posterior, "makes", None)
    return 1 if getattr(makes, "space", "") == "sphere" else _ROWS


def _scored(
    vae: VAE,
    read: Callable[[], tuple[Tensor, Tensor | None]],
    name: ScoreName,
    *,
    num_samples: int,
    steps: int,
    seed: int,
) -> Scores:
    """Score one batch, which may draw its values too."""
    check_choice("score", name, tuple(SCORES))
    check_count("num_samples", num_samples, 1)
    with vae.at_rest(), seeded(vae, seed):
        with noise_from(SharedNoise(seed, batch_dim=0)):
            x, condition = read()
        if name == "regret":
            return regret(vae, x, condition, num_samples, steps=steps, seed=seed)
        return measure(vae, x, condition, name, num_samples, seed=seed)
