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
_BLOCK = 8  # pixels along a side whose spectrum is taken
_AROUND = 3  # blocks along a side over which energy is averaged
_ADDED = (8 / 255) ** 2  # to energies
_FINE = 0.5  # of the highest frequency


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
    """Divergence of local power spectra, KL(N(0, e) ‖ N(0, ê)) of each frequency at each place.

    e and ê are mean squares of cosine transforms of blocks of 8×8 pixels, half overlapping, over 3×3
    neighbouring blocks (16×16 pixels), of an image and its reconstruction, at frequencies of at least half
    the highest. As a function of ê the divergence is, but for a constant, (e/ê + log ê)/2, whose mean is
    least where ê is the expected e (the Itakura–Saito distance). So the penalty asks for as much detail of
    each kind as the pictures have at each place, where a blur has too little, but not for the detail itself,
    which a code may have lost. Use it beside a likelihood, which it does not replace.

    To both energies that of eight levels of 255 is added, which bounds the slope where a blur has nearly no
    energy and leaves the best ê. In nats per coefficient, times the numbers of an image, mean over codes.

    Raises
    ------
    UsageError
        If the examples are not images (b, h, w, c) of at least 4 pixels along each side.
    """
    pair = _pair(terms, "texture")
    if min(pair.shape[-2:]) < _SMALLEST:
        raise UsageError(
            f"texture looks at images of at least {_SMALLEST} pixels along a side, and these have shape "
            f"{tuple(terms.x.shape[1:])}; leave it out"
        )
    ours, theirs = (_spectra(images) for images in pair.to(torch.promote_types(pair.dtype, torch.float32)))
    return _divergence(ours, theirs) * terms.x[0].numel()


def _spectra(images: Tensor) -> Tensor:
    """Local power spectra of images (n, c, h, w): (n·c, frequencies, h', w')."""
    size = min(_BLOCK, *images.shape[-2:])
    blocks = _cosines(size).to(images)
    with torch.autocast(images.device.type, enabled=False):  # brightness would hide detail in half precision
        found = F.conv2d(images.flatten(0, 1)[:, None], blocks, stride=size // 2)
    around = min(_AROUND, found.shape[-2]), min(_AROUND, found.shape[-1])
    return F.avg_pool2d(found.square(), around, stride=_AROUND // 2 + 1) + _ADDED


def _cosines(size: int) -> Tensor:
    """Orthonormal cosines over a block, (frequencies, 1, size, size), without the lowest."""
    at = torch.arange(size, dtype=torch.float64)
    along = torch.cos(torch.pi / size * (at + 0.5) * at[:, None]) * (2 / size) ** 0.5
    along[0] /= 2**0.5
    both = along[:, None, :, None] * along[None, :, None, :]
    return both[torch.hypot(at[:, None], at) >= _FINE * size][:, None]


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
