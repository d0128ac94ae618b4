"""How well each class is reconstructed, and whether as another class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.evaluation.support import checked_batches
from elboroom.latent.arrays import Numbers, numbers, seeded
from elboroom.models.vae import VAE

_BATCH = 500
_WINDOW, _SIGMA = 11, 1.5  # of SSIM, in pixels
_VIEWS = ("originals", "reconstructions", "codes")
_DRAWS = 4
_VARIANCE = "_variance"


@dataclass(frozen=True)
class ClassReport:
    """Measures of each class, in the order of ``names``.

    Attributes
    ----------
    names : list of str
        Names of the k classes that occur.
    counts : list of int
        Number of examples of each.
    measures : dict
        Lists of k means over the examples: ``distortion`` and ``rate`` (nats per example), ``mse`` (squared
        error per pixel, model units), and for images ``ssim`` (at most 1). ``distortion_stderr``, and
        ``rate_stderr`` where the rate has no closed form, are Monte Carlo standard errors of these means, the
        examples being fixed.
    seen_as : dict
        For ``originals``, ``reconstructions`` and ``codes``, a (k, k) array: the share of the row's class
        that is nearest to the mean training example, or mean code, of the column's class. Numbers are
        standardised if the model standardises them.
    """

    names: list[str]
    counts: list[int]
    measures: dict[str, list[float]]
    seen_as: dict[str, Numbers]

    def warnings(self) -> list[str]:
        """Name each class whose reconstructions look more like those of another class."""
        lines = []
        for i, name in enumerate(self.names):
            shares, before = self.seen_as["reconstructions"][i], self.seen_as["originals"][i]
            j = int(np.argmax(shares))
            if shares[j] > shares[i]:
                other = self.names[j]
                lines.append(
                    f"{name} is reconstructed as {other}: {shares[j]:.0%} of its reconstructions (and "
                    f"{before[j]:.0%} of its originals) are nearest to the mean of {other}"
                )
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Convert the report to lists and dicts for JSON."""
        seen = {view: shares.tolist() for view, shares in self.seen_as.items()}
        return {
            "classes": self.names,
            "examples": self.counts,
            **self.measures,
            "seen_as": seen,
            "warnings": self.warnings(),
        }


def report_classes(
    vae: VAE,
    batches: Batches,
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    reference: NDArray[np.int64],
    names: Sequence[str] = (),
    *,
    seed: int = 0,
) -> ClassReport:
    """Measure each class separately.

    Parameters
    ----------
    vae : VAE
        The model, on the device of ``batches``.
    batches : Batches
        The data as the model saw them in training.
    labels : array
        Labels of all the data, (n,).
    rows, reference : array
        Rows to measure, and rows, usually for training, whose means represent the classes.
    names : sequence of str
        Names of labels 0, 1, …; the numbers if not given.
    seed : int
        Random seed of the four codes drawn per example; the caller's random state does not change.

    Raises
    ------
    UsageError
        If there is nothing to measure, or a class to measure has no example among ``reference``.
    """
    if not len(rows):
        raise UsageError("there are no examples to measure; choose another split")
    classes = np.unique(labels[rows])
    missing = np.setdiff1d(classes, labels[reference])
    called = {int(c): names[c] if 0 <= c < len(names) else str(c) for c in [*classes, *missing]}
    if len(missing):
        raise UsageError(
            f"no training example has label {called[int(missing[0])]!r}; report on another split"
        )
    index = np.searchsorted(classes, labels[rows])
    batches.condition_on(vae.condition)
    with seeded(vae, seed), vae.at_rest():
        means = _class_means(vae, batches, labels, reference, classes)
        parts = [
            _measure(vae, x, batches.conditions(chosen), means)
            for chosen, x in checked_batches(vae, batches, rows, _BATCH)
        ]
    measured = {name: numbers(torch.cat([part[name] for part in parts])) for name in parts[0]}
    k, counts = len(classes), np.bincount(index)
    shares = {}
    for view in _VIEWS:
        shares[view] = np.zeros((k, k))
        np.add.at(shares[view], (index, measured.pop(view).astype(np.int64)), 1)
        shares[view] /= counts[:, None]
    errors = {
        f"{name.removesuffix(_VARIANCE)}_stderr": (np.sqrt(np.bincount(index, values)) / counts).tolist()
        for name, values in measured.items()
        if name.endswith(_VARIANCE)
    }
    measures = {
        name: (np.bincount(index, values) / counts).tolist()
        for name, values in measured.items()
        if not name.endswith(_VARIANCE)
    }
    measures |= errors
    return ClassReport([called[int(c)] for c in classes], counts.tolist(), measures, shares)


def _parts(batches: Batches, rows: NDArray[np.int64]) -> list[Tensor]:
    every = torch.from_numpy(rows).to(batches.x.device)
    return [every[start : start + _BATCH] for start in range(0, len(every), _BATCH)]


def _class_means(
    vae: VAE, batches: Batches, labels: NDArray[np.int64], rows: NDArray[np.int64], classes: NDArray[np.int64]
) -> tuple[Tensor, Tensor]:
    """Mean example (k, D), in comparable units, and mean code (k, d) of each class."""
    kept = rows[np.isin(labels[rows], classes)]
    which = np.searchsorted(classes, labels[kept])
    one_hots = F.one_hot(torch.from_numpy(which)).to(batches.x.device)
    sums: list[Tensor] = []
    for i, chosen in enumerate(_parts(batches, kept)):
        x = batches[chosen]
        one_hot = one_hots[i * _BATCH : (i + 1) * _BATCH].to(x.dtype)
        added = [
            one_hot.T @ vae.comparable(x).flatten(1),
            one_hot.T @ vae.infer(x, batches.conditions(chosen)).mean,
        ]
        sums = [a + b for a, b in zip(sums, added, strict=True)] if sums else added
    counts = one_hots.sum(0)[:, None]
    return sums[0] / counts, sums[1] / counts


def _measure(vae: VAE, x: Tensor, c: Tensor | None, means: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Of each of these examples: its measures, and the index of the class it is nearest to."""
    terms = vae(x, _DRAWS, c)
    code = terms.posterior.mean
    decoded = terms.generate(code).mean
    images, codes = means
    found = {
        "distortion": terms.distortion,
        "rate": terms.rate,
        "mse": (x - decoded).square().flatten(1).mean(1),
        "originals": torch.cdist(vae.comparable(x).flatten(1), images).argmin(1),
        "reconstructions": torch.cdist(vae.comparable(decoded).flatten(1), images).argmin(1),
        "codes": torch.cdist(code, codes).argmin(1),
    }
    found |= {"ssim": ssim(x, decoded)} if x.ndim == 4 else {}
    found[f"distortion{_VARIANCE}"] = terms.log_likelihood.var(0) / _DRAWS  # of the mean over the draws
    if "log_q" in terms.known:  # the rate is a mean over the same draws
        found[f"rate{_VARIANCE}"] = (terms.log_q - terms.log_prior).var(0) / _DRAWS
    return found


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of images (Wang et al. 2004, IEEE TIP 13(4), eq. 13), at most 1.

    An 11×11 normal window with a standard deviation of 1.5 pixels, K₁ = 0.01, K₂ = 0.03, and the mean over
    all places where the window lies within the image, and over channels. In images with a side below 11
    pixels the window is as wide as the largest odd number that fits.

    Parameters
    ----------
    a, b : Tensor
        Images (n, h, w, c), in which 0 is black and 1 white.

    Returns
    -------
    Tensor
        (n,).

    Examples
    --------
    >>> image = torch.linspace(0, 1, 256).reshape(1, 16, 16, 1)
    >>> round(ssim(image, image).item(), 6)
    1.0
    """
    width = min(_WINDOW, *(side - 1 + side % 2 for side in a.shape[1:3]))
    # In float64, which some accelerators lack: variances are small differences of squares.
    device = torch.device("cpu") if a.device.type == "mps" else a.device
    offsets = torch.arange(width, dtype=torch.float64, device=device) - width // 2
    weights = torch.exp(-offsets.square() / (2 * _SIGMA**2))
    weights = weights / weights.sum()
    x, y = (image.to(device).double().permute(0, 3, 1, 2).flatten(0, 1)[:, None] for image in (a, b))

    def blurred(planes: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(planes, weights[None, None, :, None]), weights[None, None, None])

    mean_x, mean_y = blurred(x), blurred(y)
    var_x, var_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    covariance = blurred(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return similarity.reshape(len(a), -1).mean(1).to(a.dtype).to(a.device)
