"""The examples on the map: which of them, their codes and labels, and what is known of each dimension."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elboroom.data.dataset import Dataset
from elboroom.evaluation.examples import condition_of, examples_of
from elboroom.evaluation.neighbours import embed_rows
from elboroom.explorer.blob import Array
from elboroom.latent.arrays import evenly
from elboroom.models.conditioning import apart
from elboroom.models.vae import VAE
from elboroom.probability.conditional_prior import GivenNormal
from elboroom.probability.posteriors import DiagonalGaussian
from elboroom.probability.priors import StandardNormal

_MEASURED = 2000  # examples that the rates of dimensions are means over
_NAME = 60  # characters of an example's name
CLASS_CODES = 20_000
"""Most training examples that are encoded for the means of classes, as for an attribute of a morph."""


@dataclass(frozen=True)
class Points:
    """Examples of a data set on the map.

    Attributes
    ----------
    rows : array
        Their rows in the data set, (n,).
    codes : array
        (n, d), float32.
    labels : array or None
        (n,), int32: positions in ``label_names``, −1 without a label.
    label_names : list of str
        Names of the labels that occur in the data.
    names : list of str
        Names of the examples' files; empty if they have none.
    conditions : array or None
        (n, C), for a conditional model.
    """

    rows: NDArray[np.int64]
    codes: Array
    labels: NDArray[np.int32] | None
    label_names: list[str]
    names: list[str]
    conditions: Array | None


def collect_points(vae: VAE, data: Dataset, rows: NDArray[np.int64]) -> Points:
    """Encode examples and read what is known of them."""
    labels, names = _labels(data, rows)
    files = [os.fspath(data.names[row])[-_NAME:] for row in rows] if data.names else []
    return Points(
        rows,
        embed_rows(vae, data, rows).astype(np.float32),
        labels,
        names,
        files,
        conditions(vae, data, rows),
    )


def conditions(vae: VAE, data: Dataset, rows: NDArray[np.int64]) -> Array | None:
    """Condition vectors (n, C) of rows; None if the model is not conditional."""
    if vae.condition is None:
        return None
    vectors = vae.condition_vectors(condition_of(vae.condition, data, rows), len(rows))
    return None if vectors is None else vectors.cpu().numpy().astype(np.float32)


def _labels(data: Dataset, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32] | None, list[str]]:
    if data.labels is None:
        return None, []
    known = np.unique(data.labels)
    found = np.searchsorted(known, data.labels[rows]).astype(np.int32)
    return found, [data.label_name(int(label)) for label in known]


def class_means(vae: VAE, data: Dataset) -> tuple[Array, list[int]] | None:
    """Mean code of each label (k, d) and how many examples each is over; of training examples, evenly chosen.

    A label without a training example has NaN nowhere: its count is 0 and its mean 0.
    """
    if data.labels is None:
        return None
    train = data.indices("train")
    rows = train[evenly(len(train), CLASS_CODES)]
    codes, labels = embed_rows(vae, data, rows), data.labels[rows]
    means, counts = [], []
    for label in np.unique(data.labels):
        members = codes[labels == label]
        counts.append(len(members))
        means.append(members.mean(0) if len(members) else np.zeros(codes.shape[1], np.float32))
    return np.stack(means).astype(np.float32), counts


def dimension_table(vae: VAE, data: Dataset, points: Points) -> list[dict[str, Any]]:
    """What is known of each latent dimension, the one with the highest rate first.

    Each has ``dim``, ``layer``, ``rate`` in nats per example (None without a closed form for each dimension),
    the standard deviation ``sd`` of the codes on the map, and their range from ``low`` to ``high``. With
    several stochastic layers the codes are in units of the prior.
    """
    codes = points.codes
    if len(vae.layers) > 1:  # a slider moves a code within its prior, so that the layers below follow
        codes = vae.standardized(codes, points.conditions).cpu().numpy()
    rates = _rates(vae, data, points.rows[evenly(len(points.rows), _MEASURED)])
    spread = codes.std(0)
    order = np.argsort(-(spread if rates is None else rates), kind="stable")
    layer_of = np.zeros(vae.latent_dim, int)
    for number, layer in enumerate(vae.layers):
        layer_of[layer] = number
    low, high = codes.min(0), codes.max(0)
    return [
        {
            "dim": int(i),
            "layer": int(layer_of[i]),
            "rate": None if rates is None else float(rates[i]),
            "sd": float(spread[i]),
            "low": float(low[i]),
            "high": float(high[i]),
        }
        for i in order
    ]


def _rates(vae: VAE, data: Dataset, rows: NDArray[np.int64]) -> Array | None:
    """Mean rate of each dimension (d,), nats: KL of two normals, where posterior and prior are such."""
    plain, condition = apart(examples_of(vae, data, rows))
    q = vae.encode(plain, condition)
    p = vae.prior_given(vae.condition_vectors(condition, len(rows)))
    if not isinstance(q, DiagonalGaussian):
        return None
    if isinstance(p, StandardNormal):
        mean, scale = torch.zeros(()), torch.ones(())
    elif isinstance(p, GivenNormal):
        mean, scale = p.mean.detach(), p.scale.detach()
    else:
        return None
    mean, scale = mean.to(q.mean), scale.to(q.mean)
    ratio = q.scale / scale
    each = 0.5 * (ratio.square() + ((q.mean - mean) / scale).square() - 1) - ratio.log()
    found: Array = each.mean(0).double().cpu().numpy()
    return found
