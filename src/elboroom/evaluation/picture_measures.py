"""Pictures that a model reconstructs and draws, measured against the examples."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from elboroom.data.dataset import Dataset
from elboroom.errors import UsageError
from elboroom.evaluation.examples import condition_of, examples_of
from elboroom.evaluation.fidelity import fidelity
from elboroom.evaluation.measure import Measure
from elboroom.evaluation.memorisation import nearer_to_training
from elboroom.evaluation.picture_features import SMALLEST, Features, frechet, train_feature_net
from elboroom.evaluation.pictures import compare_pictures
from elboroom.latent.arrays import numbers, seeded
from elboroom.models.vae import VAE

_LEARNED_FROM = 5_000  # pictures that the network of features sees
_AT_ONCE = 500
_K = 5
FEWEST_PICTURES = _K + 1
"""Pictures that can be measured."""
_OVER = 0.01  # beyond black and white, as vae.value_range allows

Pictures = NDArray[np.float64]


def picture_measures(
    vae: VAE, data: Dataset, rows: NDArray[np.int64], *, features: Features | None = None, seed: int = 0
) -> dict[str, Measure]:
    """Measure reconstructions of examples, and as many draws from the model's prior.

    Parameters
    ----------
    vae : VAE
        Of pictures, whose values in training become 0 to 1. Its reconstructions and draws are the decoded
        means. A conditional model draws with the conditions of the examples.
    data : Dataset
        What it was trained on.
    rows : array
        Of the examples, (n,).
    features : Features, optional
        The network that pictures are compared on, such as `Inception`. Default: a small one that is trained
        on the training pictures.
    seed : int
        Of the draws, and of the small network.

    Returns
    -------
    dict of str to Measure
        Of the reconstructions: ``mse``, ``psnr``, ``ssim``, ``high_frequency_share`` and
        ``frechet_reconstructions``. Of the draws: ``frechet_draws``, ``precision``, ``recall``, ``density``,
        ``coverage``, and ``nearer_to_training`` if the examples are no training examples. Those on features
        are left out for pictures below 12 pixels a side, which the small network cannot see.

    Raises
    ------
    UsageError
        If the data are no pictures in the model's range, or there are fewer than 6 of them.
    """
    if len(vae.shape) != 3:
        raise UsageError(f"{data.name} has examples of shape {vae.shape}, which are no pictures")
    if len(rows) < FEWEST_PICTURES:
        raise UsageError(f"got {len(rows)} pictures; measures of pictures need at least {FEWEST_PICTURES}")
    examples = _shown(vae, data, rows)
    rebuilt, drawn = _reconstructed(vae, data, rows), _drawn(vae, data, rows, seed)
    found = compare_pictures(examples, rebuilt)
    trained = data.indices("train")
    net = features or _small_net(vae, data, trained, seed)
    if net is not None:
        found["frechet_reconstructions"] = frechet(net, examples, rebuilt)
        of_draws = {"frechet_draws": frechet(net, examples, drawn)}
        of_draws |= fidelity(net.features(examples), net.features(drawn), _K)
        known = {"features": net.name, "prior": type(vae.prior).__name__}
        for name, one in of_draws.items():
            found[name] = dataclasses.replace(one, seed=seed, details={**one.details, **known})
    if len(trained) and not np.isin(rows, trained).any():
        found["nearer_to_training"] = _memorised(vae, data, rows, drawn, seed)
    return found


def _small_net(vae: VAE, data: Dataset, trained: NDArray[np.int64], seed: int) -> Features | None:
    """Train the small network; None for pictures that are too small or too few."""
    if min(vae.shape[:2]) < SMALLEST or len(trained) < 2:
        return None
    seen = np.sort(np.random.default_rng(seed).permutation(trained)[:_LEARNED_FROM])
    labels = None if data.labels is None else np.asarray(data.labels)[seen]
    return train_feature_net(_shown(vae, data, seen), labels, seed=seed)


def _memorised(vae: VAE, data: Dataset, rows: NDArray[np.int64], drawn: Pictures, seed: int) -> Measure:
    rng = np.random.default_rng(seed)
    trained = np.sort(rng.permutation(data.indices("train"))[: len(rows)])
    known, unseen = (_shown(vae, data, some).reshape(len(some), -1) for some in (trained, rows))
    share, error = nearer_to_training(drawn.reshape(len(drawn), -1), known, unseen, rng)
    return Measure(
        value=share,
        error=error,
        unit="share",
        estimator="draws whose nearest picture, pixel by pixel, is a training example; 0.5 if nothing is "
        "memorised",
        examples=len(rows),
        seed=seed,
        details={"training": len(trained), "draws": len(drawn), "prior": type(vae.prior).__name__},
    )


def _reconstructed(vae: VAE, data: Dataset, rows: NDArray[np.int64]) -> Pictures:
    parts = [rows[i : i + _AT_ONCE] for i in range(0, len(rows), _AT_ONCE)]
    return np.concatenate(
        [_decoded(vae, numbers(vae.reconstruct(examples_of(vae, data, part)))) for part in parts]
    )


def _drawn(vae: VAE, data: Dataset, rows: NDArray[np.int64], seed: int) -> Pictures:
    parts = [rows[i : i + _AT_ONCE] for i in range(0, len(rows), _AT_ONCE)]
    with seeded(vae, seed):
        drawn = [
            numbers(
                vae.sample(len(part))
                if vae.condition is None
                else vae.sample(len(part), condition=condition_of(vae.condition, data, part))
            )
            for part in parts
        ]
    return np.concatenate([_decoded(vae, each) for each in drawn])


def _shown(vae: VAE, data: Dataset, rows: NDArray[np.int64]) -> Pictures:
    """Examples in [0, 1]."""
    pictures = _unit(vae, data.values(rows))
    if not (pictures.min() >= -_OVER and pictures.max() <= 1 + _OVER):
        low, high = vae.value_range
        found = data.values(rows)
        raise UsageError(
            f"{data.name} has values from {found.min():g} to {found.max():g}, and the model was trained on "
            f"pictures from {low:g} (black) to {high:g} (white); measure it on pictures of that range"
        )
    return pictures.clip(0, 1)


def _decoded(vae: VAE, pictures: NDArray[np.float32]) -> Pictures:
    """In [0, 1]; what lies outside, as a Gaussian mean may, is shown as black or white and measured so."""
    return _unit(vae, pictures).clip(0, 1)


def _unit(vae: VAE, pictures: NDArray[np.float32]) -> Pictures:
    low, high = vae.value_range
    return (np.asarray(pictures, np.float64) - low) / (high - low)
