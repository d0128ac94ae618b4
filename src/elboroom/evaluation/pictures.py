"""How close pictures are to others: pixel by pixel, in structure, and in what is left of fine detail."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from elboroom.errors import UsageError
from elboroom.evaluation.classes import ssim
from elboroom.evaluation.cosine_spectrum import band
from elboroom.evaluation.measure import Measure

Floats = NDArray[np.float64]

_LEAST_MSE = 1e-10


def compare_pictures(images: ArrayLike, others: ArrayLike) -> dict[str, Measure]:
    """Compare pictures with others of them, such as their reconstructions.

    Parameters
    ----------
    images, others : array
        (n, h, w, c), in [0, 1].

    Returns
    -------
    dict of str to Measure
        ``mse``; ``psnr`` in dB; ``ssim``, see :func:`~elboroom.evaluation.classes.ssim`;
        ``high_frequency_share``, see :func:`high_frequency_share`, with the correlation of the two in its
        details. All are means over pictures, but the last is a ratio of sums, whose error is that of a ratio
        of means.

    Raises
    ------
    UsageError
        If the two are not pictures of one shape in [0, 1], or the pictures hold no fine detail.

    Examples
    --------
    >>> pictures = np.random.default_rng(0).random((4, 16, 16, 1))
    >>> found = compare_pictures(pictures, 0.5 * pictures + 0.25)
    >>> round(found["high_frequency_share"].value, 3)
    0.25
    """
    x, y = _pair(images, others)
    each = (x - y).reshape(len(x), -1)
    mse = np.square(each).mean(1)
    return {
        "mse": _mean(mse, "squared units of the pictures", "mean squared error of pixels"),
        "psnr": _mean(_psnr(mse), "dB", "10·log10(1/MSE), mean over pictures"),
        "ssim": _mean(
            ssim(torch.from_numpy(x), torch.from_numpy(y)).numpy(),
            "similarity",
            "SSIM under a Gaussian window, mean over pictures",
        ),
        "high_frequency_share": _fine(x, y),
    }


def _psnr(mse: Floats) -> Floats:
    """In dB; at most 100, because equal pictures have no finite one."""
    decibels: Floats = -10 * np.log10(np.maximum(mse, _LEAST_MSE))
    return decibels


def high_frequency_share(images: ArrayLike, others: ArrayLike) -> float:
    """Energy of fine detail in others over that in the pictures: below 1 if they are blurred.

    The spectrum is that of a cosine transform, which takes a picture as mirrored at its edges: the edges of a
    Fourier transform's endless repetition would count as detail. Its upper half are the frequencies, in any
    direction, of at least half the highest along a row or column, which is one cycle in two pixels.

    Noise is detail too; the correlation in :func:`compare_pictures` tells how much of it is the picture's.

    Parameters
    ----------
    images, others : array
        (n, h, w, c), in [0, 1].

    Raises
    ------
    UsageError
        If the pictures hold no fine detail, or are not as in :func:`compare_pictures`.
    """
    return _fine(*_pair(images, others)).value


def _fine(x: Floats, y: Floats) -> Measure:
    ours, theirs = (band(pictures).reshape(len(pictures), -1) for pictures in (x, y))
    wanted = np.square(ours).sum(1)
    found = np.square(theirs).sum(1)
    if not wanted.sum() > 0:
        raise UsageError("these pictures hold no detail in the upper half of their spectrum to compare with")
    share = float(found.sum() / wanted.sum())
    scale = math.sqrt(float(found.sum()) * float(wanted.sum()))
    error = float((found - share * wanted).std(ddof=1)) / math.sqrt(len(x)) / float(wanted.mean())
    return Measure(
        value=share,
        error=error,
        unit="ratio",
        estimator="energy in the upper half of the cosine spectrum, over that of the pictures",
        examples=len(x),
        details={"correlation": float((ours * theirs).sum()) / scale if scale > 0 else 0.0},
    )


def _mean(values: Floats, unit: str, estimator: str) -> Measure:
    return Measure(
        value=float(values.mean()),
        error=float(values.std(ddof=1)) / math.sqrt(len(values)),
        unit=unit,
        estimator=estimator,
        examples=len(values),
    )


def _pair(images: ArrayLike, others: ArrayLike) -> tuple[Floats, Floats]:
    x, y = checked_pictures(images), checked_pictures(others)
    if x.shape != y.shape:
        raise UsageError(
            f"pictures of shapes {x.shape} and {y.shape}: give one of the others for each picture"
        )
    return x, y


def checked_pictures(images: ArrayLike) -> Floats:
    """Check that there are pictures (n, h, w, c) in [0, 1], at least two, and return them as float64.

    Raises
    ------
    UsageError
        If they are not; the message says what they are.
    """
    x = np.asarray(images, np.float64)
    if x.ndim != 4 or len(x) < 2 or 0 in x.shape:
        raise UsageError(f"pictures have shape {x.shape}; give at least two, (n, h, w, c)")
    if not (x.min() >= 0 and x.max() <= 1):
        raise UsageError(
            f"pictures reach from {x.min():g} to {x.max():g}; they must be in [0, 1]: divide 8-bit pixels by "
            "255, and clip what a model decodes"
        )
    return x
