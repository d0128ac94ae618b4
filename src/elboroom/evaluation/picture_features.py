"""Fréchet distance between two sets of pictures, on features of a small network trained in seconds.

Distances are comparable on one network only, so its name, which tells its task and its weights, is part of
every result. They are not those of published tables, which take features of `Inception`.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from elboroom.errors import UsageError
from elboroom.evaluation.measure import Measure
from elboroom.evaluation.pictures import checked_pictures

_WIDTHS = (16, 32, 64)
_STEPS, _BATCH, _LR = 200, 64, 3e-3
_AT_ONCE = 256
_TURNS = 4
_BLURS = (0.0, 0.6, 1.2, 2.4)  # standard deviations of a Gaussian, in pixels
_REACH = 5  # pixels that a blur's window reaches to each side
SMALLEST = 12


class Features(Protocol):
    """A network that pictures are compared on."""

    @property
    def name(self) -> str:
        """Which network; measures on two of them are never to be compared."""

    def features(self, images: ArrayLike) -> NDArray[np.float64]:
        """Compute features (n, d) of pictures (n, h, w, c) in [0, 1]."""


@dataclass(frozen=True)
class FeatureNet:
    """A convolutional network whose features pictures are compared on.

    Attributes
    ----------
    layers : nn.ModuleList
        Of stride 2.
    channels : int
        Of the pictures.
    name : str
        The task that it was trained on, and a hash of its weights.
    """

    layers: nn.ModuleList
    channels: int
    name: str

    def features(self, images: ArrayLike) -> NDArray[np.float64]:
        """Compute features (n, d) of pictures (n, h, w, c) in [0, 1]: channel means of the last two layers.

        Raises
        ------
        UsageError
            If they are not pictures with as many channels as those that it was trained on.
        """
        x = checked_pictures(images)
        if x.shape[3] != self.channels:
            raise UsageError(
                f"pictures have {x.shape[3]} channels; {self.name} knows those of {self.channels}"
            )
        with torch.no_grad():
            parts = [_features(self.layers, grid) for grid in torch.split(_grids(x), _AT_ONCE)]
        return torch.cat(parts).double().numpy()


def train_feature_net(
    images: ArrayLike, labels: ArrayLike | None = None, *, seed: int = 0, steps: int = _STEPS
) -> FeatureNet:
    """Train a network to tell how pictures are turned (arXiv:1803.07728) and blurred, and their labels.

    Turns need the shape of what is shown and blurs its detail, so that features hold both.

    Parameters
    ----------
    images : array
        Training examples (n, h, w, c) in [0, 1], of at least 12 pixels a side.
    labels : array, optional
        Whole numbers (n,), the third task.
    seed : int
        Of weights and batches; the caller's randomness is left alone.
    steps : int
        Batches of 64 pictures.

    Raises
    ------
    UsageError
        If there are no such pictures, or not one label for each.
    """
    x = checked_pictures(images)
    if min(x.shape[1:3]) < SMALLEST:
        raise UsageError(f"pictures of {x.shape[1]}×{x.shape[2]} pixels are too small; give at least 12×12")
    known = [_TURNS, len(_BLURS)]
    kinds = np.zeros(len(x), np.int64)
    if labels is not None:
        if np.shape(labels) != (len(x),):
            raise UsageError(f"labels have shape {np.shape(labels)}; give one for each of {len(x)} pictures")
        found, kinds = np.unique(np.asarray(labels), return_inverse=True)
        known += [len(found)]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        layers = _layers(x.shape[3])
        heads = nn.ModuleList(nn.Linear(sum(_WIDTHS[-2:]), count) for count in known)
        optimiser = torch.optim.Adam([*layers.parameters(), *heads.parameters()], lr=_LR)
        grids, right = _grids(x), torch.from_numpy(kinds)
        for _ in range(steps):
            rows = torch.randint(len(x), (_BATCH,))
            changed, turns, blurs = _changed(grids[rows])
            answers = (turns, blurs, right[rows])
            seen = _features(layers, changed)
            losses = [
                F.cross_entropy(head(seen), answer) for head, answer in zip(heads, answers, strict=False)
            ]
            optimiser.zero_grad()
            torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    task = "turns+blurs" + ("" if labels is None else "+labels")
    bytes_of = b"".join(weight.detach().numpy().tobytes() for weight in layers.parameters())
    name = f"elboroom-features-1/{task}/{hashlib.sha256(bytes_of).hexdigest()[:12]}"
    return FeatureNet(layers.requires_grad_(False), x.shape[3], name)


def frechet(net: Features, images: ArrayLike, others: ArrayLike) -> Measure:
    """Fréchet distance between two sets of pictures (n, h, w, c) on a network's features (arXiv:1706.08500).

    It is too large for few pictures, by an amount that depends on their number: compare sets of the same
    size only. The details name the network and give both sizes.
    """
    a, b = net.features(images), net.features(others)
    return Measure(
        value=frechet_distance(a, b),
        error=None,
        unit="squared units of the features",
        estimator="Fréchet distance of normal distributions fitted to features",
        examples=len(a),
        details={"features": net.name, "others": len(b)},
    )


def frechet_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Compute |μ − ν|² + tr(A + B − 2 (AB)^½) from rows (n, d) and (m, d) with unbiased covariances A, B.

    Raises
    ------
    UsageError
        If these are not at least two rows of numbers each, of one length.

    Examples
    --------
    >>> frechet_distance([[0.0], [2.0]], [[3.0], [5.0]])
    9.0
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise UsageError(
            f"features have shapes {x.shape} and {y.shape}; give at least two rows of one length"
        )
    ours, theirs = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (x, y))
    values, vectors = np.linalg.eigh(ours)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    # (AB)^½ has the eigenvalues of (A^½ B A^½)^½, which is symmetric.
    shared = np.sqrt(np.linalg.eigvalsh(root @ theirs @ root).clip(0)).sum()
    apart = np.square(x.mean(0) - y.mean(0)).sum()
    return float(max(0.0, apart + np.trace(ours) + np.trace(theirs) - 2 * shared))


def _layers(channels: int) -> nn.ModuleList:
    return nn.ModuleList(
        nn.Conv2d(before, after, 4, stride=2, padding=1)
        for before, after in itertools.pairwise((channels, *_WIDTHS))
    )


def _features(layers: nn.ModuleList, grids: Tensor) -> Tensor:
    """Means over places, (b, 96), of the last two layers."""
    means, seen = [], 2 * grids - 1
    for layer in layers:
        seen = F.leaky_relu(layer(seen), 0.1)
        means.append(seen.mean((-2, -1)))
    return torch.cat(means[-2:], 1)


def _grids(images: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(images).float().permute(0, 3, 1, 2).contiguous()


def _changed(grids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures of a batch turned and blurred at random, and by how much; oblong ones by 0° or 180° only."""
    square = grids.shape[-2] == grids.shape[-1]
    turns = torch.randint(_TURNS, (len(grids),))
    turns = turns if square else turns // 2 * 2
    blurs = torch.randint(len(_BLURS), (len(grids),))
    changed = torch.empty_like(grids)
    for turn, blur in itertools.product(range(_TURNS), range(len(_BLURS))):
        those = (turns == turn) & (blurs == blur)
        if those.any():
            changed[those] = torch.rot90(_blurred(grids[those], _BLURS[blur]), turn, (-2, -1))
    return changed, turns, blurs


def _blurred(grids: Tensor, sigma: float) -> Tensor:
    if sigma == 0:
        return grids
    offsets = torch.arange(-_REACH, _REACH + 1)
    window = torch.softmax(-0.5 * (offsets / sigma).square(), 0)
    single = F.pad(grids.flatten(0, 1)[:, None], (_REACH,) * 4, mode="reflect")
    smooth = F.conv2d(F.conv2d(single, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    return smooth.view_as(grids)
