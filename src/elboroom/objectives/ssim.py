"""Multi-scale structural similarity of images (Wang, Simoncelli, Bovik 2003), as a penalty."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

from elboroom.errors import UsageError
from elboroom.models.terms import Terms

# From Wang et al.: the weights of the scales, finest first, and the constants that stabilise the quotients.
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
# Powers below 1 have an infinite gradient at 0, and opposite structures have a negative similarity.
_LEAST = 1e-3


def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Multi-scale structural similarity of images, 1 for equal images.

    The product over scales of (contrast · structure)^weight, including the luminance at the coarsest. Each is
    computed under a Gaussian window of 11×11 pixels, σ = 1.5, without padding. Of the five published scales,
    those are used at which the image is at least as wide as the window, with weights rescaled to sum to one:
    5 from 176 pixels, 3 at 64, 2 at 28. For an image below 11 pixels the window shrinks to the largest odd
    size that fits. A mean structure below 0.001 counts as 0.001.

    Parameters
    ----------
    x, y : Tensor
        Images (..., h, w, c) in [0, 1]; leading shapes broadcast.

    Returns
    -------
    Tensor
        (...), in (0, 1], the mean over channels.

    Raises
    ------
    UsageError
        If ``x`` and ``y`` are not images or differ in size.

    Examples
    --------
    >>> image = torch.rand(28, 28, 1)
    >>> ms_ssim(image, image).item()
    1.0
    """
    if min(x.ndim, y.ndim) < 3 or x.shape[-3:] != y.shape[-3:]:
        raise UsageError(
            f"ms_ssim of shapes {tuple(x.shape)} and {tuple(y.shape)}: give images (..., h, w, c) of one size"
        )
    shape = torch.broadcast_shapes(x.shape, y.shape)  # type: ignore[no-untyped-call]
    *leading, h, w, c = shape
    images = torch.stack([x.expand(shape), y.expand(shape)])
    pair = images.movedim(-1, -3).reshape(-1, 1, h, w)  # each channel as an image: (2n, 1, h, w)
    scales = _number_of_scales(min(h, w))
    weights = [weight / sum(_SCALE_WEIGHTS[:scales]) for weight in _SCALE_WEIGHTS[:scales]]
    window = _window(min(h, w), pair)
    similarity = torch.ones(len(pair) // 2, dtype=pair.dtype, device=pair.device)
    for scale, weight in enumerate(weights):
        ours, theirs = pair.chunk(2)
        luminance, structure = _compare(ours, theirs, window)
        if scale == scales - 1:
            structure = luminance * structure
        similarity = similarity * structure.mean((-3, -2, -1)).clamp_min(_LEAST) ** weight
        pair = F.avg_pool2d(pair, 2) if scale < scales - 1 else pair
    return similarity.reshape(*leading, c).mean(-1)


def structural_dissimilarity(terms: Terms) -> Tensor:
    """1 − MS-SSIM of the examples and their reconstructions p(x|z).mean, in [0, 1), mean over codes.

    Raises
    ------
    UsageError
        If the examples are not images (b, h, w, c).
    """
    if terms.x.ndim != 4:
        raise UsageError(
            f"structural_dissimilarity compares images (h, w, c), and these examples have shape "
            f"{tuple(terms.x.shape[1:])}; leave it out for rows"
        )
    return 1 - ms_ssim(terms.likelihood.mean, terms.x).mean()


def _number_of_scales(side: int) -> int:
    return max(1, sum(side >> scale >= _WINDOW for scale in range(len(_SCALE_WEIGHTS))))


def _window(side: int, like: Tensor) -> Tensor:
    size = min(_WINDOW, side - (side + 1) % 2)
    offsets = torch.arange(size, dtype=like.dtype, device=like.device) - size // 2
    return torch.softmax(-0.5 * (offsets / _SIGMA).square(), 0)


def _compare(x: Tensor, y: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """Luminance, and contrast times structure, at each position of images (n, 1, h, w)."""
    maps = torch.cat([x, y, x * x, y * y, x * y])
    blurred = functools.reduce(F.conv2d, (window.view(1, 1, -1, 1), window.view(1, 1, 1, -1)), maps)
    mean_x, mean_y, square_x, square_y, product = blurred.chunk(5)
    variances = (square_x - mean_x.square()) + (square_y - mean_y.square())
    covariance = product - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x.square() + mean_y.square() + _C1)
    return luminance, (2 * covariance + _C2) / (variances + _C2)
