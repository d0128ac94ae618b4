"""Penalties on lost detail of images: in gradients, in the spectrum, and in the energy of texture.

A squared error weighs what is fine no more than what is coarse, and fine detail has little energy: a blurred
picture has almost the least error. These penalties need no trained network.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from elboroom.errors import UsageError
from elboroom.models.terms import Terms

_SCALES = 3
_SMALLEST = 4  # pixels along a side, below which an image is not halved again
_WINDOW = 4  # pixels along a side over which energy is averaged
_LEVEL = 1 / 255**2  # energy of one level of eight bits, below which nothing is seen
_TAPS = 3  # numbers of a filter along a side


def gradient_difference(terms: Terms) -> Tensor:
    """Absolute difference of the gradients of images and reconstructions, at up to three scales.

    The gradients are differences of neighbouring pixels, downwards and to the right (arXiv:1511.05440 §3.2);
    the image is halved by averages for each further scale. In units of the data, summed over the numbers of
    an image like a distortion, mean over scales and codes.

    Raises
    ------
    UsageError
        If the examples are not images (b, h, w, c).
    """
    pair = _pair(terms, "gradient_difference")
    numbers = terms.x[0].numel()
    total, scales = pair.new_zeros(()), 0
    while scales < _SCALES and (scales == 0 or min(pair.shape[-2:]) >= 2 * _SMALLEST):
        if scales:
            halved = F.avg_pool2d(pair.flatten(0, 1), 2)
            pair = halved.reshape(2, -1, *halved.shape[1:])
        ours, theirs = pair
        differences = [(a - b).abs().mean() for a, b in zip(_slopes(ours), _slopes(theirs), strict=True)]
        total = total + sum(differences)
        scales += 1
    return total * numbers / scales


def focal_frequency(terms: Terms) -> Tensor:
    """Squared difference of the spectra, weighted by itself (focal frequency loss, arXiv:2012.12821).

    With an orthonormal transform, and without the weights, this is the squared error. The weights are the
    differences' magnitudes over the largest of their image: they grow where the spectrum is worst, which is
    where detail is lost. Summed over the numbers of an image, mean over codes.

    Raises
    ------
    UsageError
        If the examples are not images (b, h, w, c).
    """
    pair = _pair(terms, "focal_frequency")
    ours, theirs = pair.to(
        torch.promote_types(pair.dtype, torch.float32)
    )  # bfloat16 has no Fourier transform
    spectrum = torch.fft.fft2(ours - theirs, norm="ortho")
    energy = spectrum.real.square() + spectrum.imag.square()
    magnitude = energy.detach().sqrt()
    weight = magnitude / magnitude.amax((-2, -1), keepdim=True).clamp_min(1e-12)
    return (weight * energy).sum((-3, -2, -1)).mean()


def texture(terms: Terms) -> Tensor:
    """Divergence of the local energy of fine detail, KL(N(0, e) ‖ N(0, ê)), at up to two scales.

    e and ê are the mean squares over windows of 4×4 pixels, half overlapping, of an image and its
    reconstruction after filters that let fine detail pass: [−1, 2, −1]/4 along one side and [1, 2, 1]/4
    along the other, either way round, or [−1, 2, −1]/4 along both. As a function of ê this is e/ê + log ê,
    whose mean is least where ê is the expected e (the Itakura–Saito distance). So the penalty asks for as
    much detail as the pictures have at each place, where a blur has too little, but not for the detail
    itself, which a code may have lost. Use it beside a likelihood, and best with a critic of patches, which
    sees what kind of detail it is.

    In nats per filtered number, times the numbers of an image, mean over scales and codes. To both energies
    that of one level of eight bits is added.

    Raises
    ------
    UsageError
        If the examples are not images (b, h, w, c) of at least 3 pixels along each side.
    """
    pair = _pair(terms, "texture")
    if min(pair.shape[-2:]) < _TAPS:
        raise UsageError(
            f"texture looks at images of at least {_TAPS} pixels along a side, and these have shape "
            f"{tuple(terms.x.shape[1:])}; leave it out"
        )
    ours, theirs = pair.to(torch.promote_types(pair.dtype, torch.float32))
    numbers = terms.x[0].numel()
    values = [_divergence(_energy(ours), _energy(theirs))]
    if min(pair.shape[-2:]) >= 2 * _SMALLEST:
        values.append(_divergence(_energy(F.avg_pool2d(ours, 2)), _energy(F.avg_pool2d(theirs, 2))))
    return torch.stack(values).mean() * numbers


def _energy(images: Tensor) -> Tensor:
    """Local energy of fine detail in images (n, c, h, w), per filter and window: (3, n, c, h', w')."""
    smooth, rough = _halves(images, -1)
    fine = torch.stack([_halves(smooth, -2)[1], *_halves(rough, -2)])  # convolutions of one channel are slower
    height, width = fine.shape[-2:]
    window = min(_WINDOW, height), min(_WINDOW, width)
    stride = max(1, window[0] // 2), max(1, window[1] // 2)
    energy = F.avg_pool2d(fine.square().flatten(0, 1), window, stride) + _LEVEL
    return energy.unflatten(0, fine.shape[:2])


def _halves(images: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Images after [1, 2, 1]/4 and after [−1, 2, −1]/4 along a side, without its first and last place."""
    length = images.shape[side]
    middle = images.narrow(side, 1, length - 2) / 2
    around = (images.narrow(side, 0, length - 2) + images.narrow(side, 2, length - 2)) / 4
    return middle + around, middle - around


def _divergence(found: Tensor, wanted: Tensor) -> Tensor:
    """Mean of KL(N(0, wanted) ‖ N(0, found)), in nats."""
    ratio = wanted / found
    return 0.5 * (ratio - ratio.log() - 1).mean()


def _pair(terms: Terms, name: str) -> Tensor:
    """Reconstructions and images, (2, n, c, h, w)."""
    if terms.x.ndim != 4:
        raise UsageError(
            f"{name} compares images (h, w, c), and these examples have shape {tuple(terms.x.shape[1:])}; "
            "leave it out for rows"
        )
    means = terms.likelihood.mean
    both = torch.stack([means, terms.x.expand_as(means)]).flatten(1, 2)
    return both.permute(0, 1, 4, 2, 3)


def _slopes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbours, downwards and to the right; none along a side of one pixel."""
    down, right = images.diff(dim=-2), images.diff(dim=-1)
    return tuple(part if part.numel() else images.new_zeros(1) for part in (down, right))  # type: ignore[return-value]
