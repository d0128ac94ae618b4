"""Equivariance: a code that is turned or halved decodes to its picture likewise (arXiv:2502.09509)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from elboroom.distributed.noise import uniform
from elboroom.errors import UsageError
from elboroom.models.terms import Terms
from elboroom.models.vae import VAE
from elboroom.networks.spatial import decode_grid
from elboroom.probability.bernoulli import BernoulliHead
from elboroom.probability.location_scale import GaussianHead, LaplaceHead, StudentTHead

_AVERAGED = (GaussianHead, LaplaceHead, StudentTHead, BernoulliHead)


def equivariance(vae: VAE) -> Callable[[Terms], Tensor]:
    """Penalty on the distortion of pictures decoded from turned and from halved codes.

    Of each code, one copy is turned by 90°, 180° or 270° (of images that are not square, by 90° or 270°), and
    another is halved by averages and turned by a multiple of 90° (180°). Both are decoded and compared with
    the picture that was turned and halved likewise. The penalty is the mean of both distortions, in nats per
    example, and that of the halved picture is counted for as many numbers as the whole one has. Its gradient
    reaches the encoder as well. It costs one and a quarter further passes through the decoder.

    Parameters
    ----------
    vae : VAE
        Its codes must be on a grid.

    Raises
    ------
    UsageError
        If the codes are not numbers on a grid, if the grid does not divide the image, if the model is
        conditional, or if the likelihood's numbers cannot be averaged.
    """
    reason = _why_not(vae)
    if reason is not None:
        raise UsageError(f"penalty equivariance scales and turns codes on a grid, and {reason}")
    grid = vae.latent_shape

    square = grid[1] == grid[2]
    of_whole, of_half = ((1, 2, 3), (0, 1, 2, 3)) if square else ((1, 3), (0, 2))

    def penalty(terms: Terms) -> Tensor:
        k, b = terms.z.shape[:2]
        codes = terms.z.reshape(k * b, *grid)
        images = terms.x.permute(0, 3, 1, 2).repeat(k, 1, 1, 1)
        first, second = (uniform(b, batch_dim=0, like=terms.z).repeat(k) for _ in range(2))
        whole = _distortion(vae, *(turned(each, first, of_whole) for each in (codes, images)))
        halves = [halved(codes, 1), halved(images, images.shape[-1] // codes.shape[-1])]
        half = _distortion(vae, *(turned(each, second, of_half) for each in halves))
        return 0.5 * (whole + half * (images[0].numel() / halves[1][0].numel()))

    return penalty


def turned(grids: Tensor, draws: Tensor, quarters: Sequence[int]) -> Tensor:
    """Turn each of (n, c, h, w) counterclockwise by one of some numbers of quarter turns.

    Parameters
    ----------
    grids : Tensor
        (n, c, h, w). Where h and w differ, the numbers must be all odd or all even.
    draws : Tensor
        (n,), uniform in [0, 1); they choose among the numbers.
    quarters : sequence of int
        The numbers.

    Examples
    --------
    >>> import torch
    >>> x = torch.arange(4.0).reshape(1, 1, 2, 2).repeat(2, 1, 1, 1)
    >>> turned(x, torch.tensor([0.1, 0.9]), (1, 2)).flatten(1).tolist()
    [[1.0, 3.0, 0.0, 2.0], [3.0, 2.0, 1.0, 0.0]]
    """
    chosen = (draws * len(quarters)).floor()
    found = torch.rot90(grids, quarters[0], (-2, -1))
    for i, number in enumerate(quarters[1:], 1):
        found = torch.where((chosen == i)[:, None, None, None], torch.rot90(grids, number, (-2, -1)), found)
    return found


def halved(grids: Tensor, pixels: int) -> Tensor:
    """Halve grids (n, c, h, w) of square blocks, ``pixels`` a side, by averages; an odd last one is left out.

    Examples
    --------
    >>> import torch
    >>> halved(torch.arange(6.0).reshape(1, 1, 2, 3), 1)
    tensor([[[[2.]]]])
    """
    height, width = (side // (2 * pixels) * (2 * pixels) for side in grids.shape[-2:])
    return F.avg_pool2d(grids[..., :height, :width], 2)


def _distortion(vae: VAE, codes: Tensor, images: Tensor) -> Tensor:
    """Mean distortion of pictures decoded from codes on a grid of any size, nats."""
    with vae.products():
        features = decode_grid(vae.decoder, codes)
    likelihood: Any = vae.likelihood(features.to(codes.dtype))
    found: Tensor = -likelihood.log_prob(images.permute(0, 2, 3, 1)).mean()
    return found


def _why_not(vae: VAE) -> str | None:
    if len(vae.latent_shape) != 3:
        return (
            f"the model's codes are {vae.latent_dim} numbers without places; take network = 'spatial', or "
            "leave it out"
        )
    if getattr(getattr(vae.posterior, "makes", None), "space", None) == "codes":
        return "entries of a codebook cannot be averaged; take a diagonal posterior, or leave it out"
    if vae.conditioning is not None:
        return "the model is conditional, which it does not know; leave it out"
    pixels = code_pixels(vae)
    if pixels is None:
        return (
            f"the grid {vae.latent_shape[1:]} does not divide images of {vae.shape[0]}×{vae.shape[1]} pixels "
            "into squares; take another size of images, or leave it out"
        )
    if min(vae.latent_shape[1:]) < 2:
        return f"a grid of {vae.latent_shape[1:]} cannot be halved; take fewer conv_levels, or leave it out"
    if not isinstance(vae.likelihood, _AVERAGED) or getattr(vae.likelihood, "learn_scale", "") == "optimal":
        return (
            f"pictures under this likelihood, {type(vae.likelihood).__name__}, cannot be averaged; take "
            "laplace, gaussian with a fixed or learned scale, student_t or bernoulli, or leave it out"
        )
    return None


def code_pixels(vae: VAE) -> int | None:
    """Pixels along the side of the square that belongs to one place of the code; None if it is none."""
    (height, width), (rows, columns) = vae.shape[:2], vae.latent_shape[1:]
    sides = {height / rows, width / columns}
    side = sides.pop()
    return int(side) if not sides and side == int(side) else None
