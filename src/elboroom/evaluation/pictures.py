"""How close pictures are to others: pixel by pixel, in structure, and in what is left of fine detail."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import dctn
from scipy.ndimage import correlate1d

from elboroom.errors import UsageError
from elboroom.evaluation.measure import Measure

Floats = NDArray[np.float64]

_HALF = 0.5  # of the highest frequency that pixels can hold
_LEAST_MSE = 1e-10
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def compare_pictures(images: ArrayLike, others: ArrayLike) -> dict[str, Measure]:
    """Compare pictures with others of them, such as their reconstructions.

    Parameters
    ----------
    images, others : array
        (n, h, w, c), in [0, 1].

    Returns
    -------
    dict of str to Measure
        ``mse``; ``psnr`` in dB; ``ssim``, see :func:`structural_similarity`; ``high_frequency_share``, see
        :func:`high_frequency_share`, with the correlation of the two in its details. All are means over
        pictures, but the last is a ratio of sums, whose error is that of a ratio of means.

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
            structural_similarity(x, y), "similarity", "SSIM under a Gaussian window, mean over pictures"
        ),
        "high_frequency_share": _fine(x, y),
    }


def _psnr(mse: Floats) -> Floats:
    """In dB; at most 100, because equal pictures have no finite one."""
    decibels: Floats = -10 * np.log10(np.maximum(mse, _LEAST_MSE))
    return decibels


def structural_similarity(images: ArrayLike, others: ArrayLike) -> Floats:
    """Structural similarity of each picture and its other (Wang, Bovik, Sheikh, Simoncelli 2004), (n,).

    Under a Gaussian window of 11×11 pixels, σ = 1.5, at the places where it fits; mean over places and
    channels. For pictures below 11 pixels the window shrinks to the largest odd size that fits.

    Parameters
    ----------
    images, others : array
        (n, h, w, c), in [0, 1].

    Examples
    --------
    >>> pair = np.random.default_rng(0).random((2, 16, 16, 3))
    >>> structural_similarity(pair, pair).round(6).tolist()
    [1.0, 1.0]
    """
    x, y = _pair(images, others)
    side = min(x.shape[1:3])
    size = min(_WINDOW, side - (side + 1) % 2)
    offsets = np.arange(size) - size // 2
    window = np.exp(-0.5 * np.square(offsets / _SIGMA))
    window /= window.sum()
    margin = size // 2
    inside = (slice(None), slice(margin, x.shape[1] - margin), slice(margin, x.shape[2] - margin))

    def smooth(values: Floats) -> Floats:
        smoothed: Floats = correlate1d(correlate1d(values, window, 1), window, 2)[inside]
        return smoothed

    mean_x, mean_y = smooth(x), smooth(y)
    variances = smooth(x * x) - mean_x**2 + smooth(y * y) - mean_y**2
    covariance = smooth(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    similarity: Floats = (luminance * (2 * covariance + _C2) / (variances + _C2)).mean((1, 2, 3))
    return similarity


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
    ours, theirs = _detail(x), _detail(y)
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


def _detail(pictures: Floats) -> Floats:
    """Coefficients (n, ...) of the upper half of the spectrum."""
    _, height, width, _ = pictures.shape
    along = np.arange(height)[:, None] / height, np.arange(width) / width
    upper = np.hypot(*along) >= _HALF
    spectrum: Floats = dctn(pictures, axes=(1, 2), norm="ortho")[:, upper].reshape(len(pictures), -1)
    return spectrum


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
