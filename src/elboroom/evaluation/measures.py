"""Further measures of a model, in groups by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elboroom.data.batches import Batches
from elboroom.data.dataset import Dataset
from elboroom.data.drawn import DRAWN, factors_of
from elboroom.errors import UsageError
from elboroom.evaluation.aggregate import aggregate_measures
from elboroom.evaluation.disentanglement import disentanglement
from elboroom.evaluation.measure import Measure
from elboroom.evaluation.neighbours import embed_rows
from elboroom.evaluation.picture_features import Features
from elboroom.evaluation.picture_measures import picture_measures
from elboroom.evaluation.probes import probes
from elboroom.models.vae import VAE

GROUPS = {
    "latents": "the rate taken apart: mutual information, total correlation, KL of each dimension",
    "probes": "labels read off the codes by a linear classifier and by nearest neighbours",
    "pictures": "reconstructions and draws beside the examples: SSIM, Fréchet distance, coverage and more",
    "disentanglement": "codes against the factors that made the data: MIG, DCI, SAP and more",
}
"""Names of the groups, and what they hold."""

MOST = 10_000
"""Examples that are measured at most; more are drawn from."""

Factors = Mapping[str, NDArray[np.generic]]


def measure(
    vae: VAE,
    data: Dataset,
    batches: Batches,
    indices: NDArray[np.int64],
    groups: Iterable[str],
    *,
    factors: Factors | None = None,
    prior: Any = None,
    features: Features | None = None,
    seed: int = 0,
) -> dict[str, dict[str, Measure]]:
    """Measure a model on examples, at most 10,000 of them.

    Parameters
    ----------
    vae : VAE
        On the device of ``batches``. Its codes are posterior means.
    data : Dataset
        What ``batches`` are of.
    batches : Batches
        The data as the model saw them in training.
    indices : array
        Of the examples, (n,).
    groups : iterable of str
        Of `GROUPS`.
    factors : mapping of str to array, optional
        The factors that made all the data, (len(data),) each; those of sets that are drawn by code are known.
    prior : object, optional
        That draws of ``pictures`` come from, such as a fitted one; the model's own if not given.
    features : Features, optional
        The network that ``pictures`` are compared on; see `picture_measures`.
    seed : int
        Of what is drawn.

    Returns
    -------
    dict of str to dict of str to Measure
        By group and by measure.

    Raises
    ------
    UsageError
        If a group is not known, or the data do not have what it needs.
    """
    names = tuple(dict.fromkeys(groups))
    for name in names:
        if name not in GROUPS:
            raise UsageError(f"there is no group of measures {name!r}; there are {', '.join(GROUPS)}")
    names = tuple(sorted(names, key=lambda name: name != "latents"))  # which may refuse the model, first
    rows = np.asarray(indices)
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST, replace=False))
    found = {}
    for name in names:
        if name == "latents":
            found[name] = aggregate_measures(vae, batches, rows, seed=seed)
        elif name == "probes":
            labels = _labels(data)[rows]
            found[name] = probes(embed_rows(vae, data, rows), labels, seed=seed)
        elif name == "pictures":
            drawing = vae if prior is None or prior is vae.prior else vae.with_prior(prior)
            found[name] = picture_measures(drawing, data, rows, features=features, seed=seed)
        else:
            known = _known(data) if factors is None else _checked(factors, data)
            those = {factor: values[rows] for factor, values in known.items()}
            found[name] = disentanglement(embed_rows(vae, data, rows), those, seed=seed)
    return found


def _checked(factors: Factors, data: Dataset) -> Factors:
    for name, values in factors.items():
        if np.shape(values) != (len(data),):
            raise UsageError(
                f"factor {name!r} has shape {np.shape(values)}; {data.name} has {len(data)} examples, and "
                "there must be one value for each"
            )
    return factors


def _labels(data: Dataset) -> NDArray[np.int64]:
    if data.labels is None:
        raise UsageError(f"{data.name} has no labels, which probes read off the codes")
    return np.asarray(data.labels)


def _known(data: Dataset) -> Factors:
    """Return the factors of a drawn set."""
    if data.name in DRAWN and len(data) == len(DRAWN[data.name]):
        return factors_of(data.name, np.arange(len(data)))
    raise UsageError(
        f"the factors that made {data.name} are not known; give factors, or use one of {', '.join(DRAWN)}"
        + ("" if data.labels is None else "; for its labels there are probes")
    )
