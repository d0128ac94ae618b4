"""Planes through a latent space of more than two dimensions, along directions of high variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from elboroom.latent.arrays import Numbers, codes_of, evenly, numbers
from elboroom.models.conditioning import apart
from elboroom.models.vae import VAE, Array

_REACH = 2.0  # standard deviations of the codes from the centre of a plane to its edge


@dataclass(frozen=True)
class Plane:
    """A rectangle in the latent space, in units of the prior (:meth:`elboroom.VAE.standardized`).

    Attributes
    ----------
    center : Tensor
        Code (d,) at its centre.
    across, up : Tensor
        Vectors (d,) from the centre to the right and to the upper edge.
    names : tuple of str
        Labels of the two axes.
    ticks : tuple of float
        Coordinates of the right and the upper edge; those of the left and the lower are their negatives.
    """

    center: Tensor
    across: Tensor
    up: Tensor
    names: tuple[str, str]
    ticks: tuple[float, float] = (_REACH, _REACH)

    def grid(self, vae: VAE, steps: int = 15) -> Tensor:
        """Codes (steps, steps, d), the top row first; a conditional model must be given its condition."""
        line = torch.linspace(-1, 1, steps)
        codes = self.center + line[:, None] * self.across + line.flip(0)[:, None, None] * self.up
        return vae.onto_space(vae.placed(codes.reshape(-1, len(self.center)))).reshape(codes.shape)


def principal_directions(codes: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Mean (d,) of codes (n, d), their two principal directions (2, d), and each one's share of variance."""
    with np.errstate(invalid="ignore"):  # codes that are all the same have no variance to explain
        from sklearn.decomposition import PCA  # over a second to import

        pca = PCA(2, random_state=0).fit(codes)
    return pca.mean_, pca.components_, np.nan_to_num(pca.explained_variance_ratio_)


def principal_plane(vae: VAE, x: Array) -> Plane:
    """Plane through the mean code of examples x (n, *shape), along the two principal directions of the codes.

    It reaches two standard deviations of the codes in each direction. The model has at least two latent
    dimensions.
    """
    codes = _standard_codes(vae, x)
    mean, directions, shares = principal_directions(codes)
    spread = ((codes - mean) @ directions.T).std(0)
    across, up = (torch.from_numpy(_REACH * s * v).float() for s, v in zip(spread, directions, strict=True))
    names = [
        f"principal direction {i} of the codes ({share:.0%} of variance), standard deviations"
        for i, share in enumerate(shares, 1)
    ]
    return Plane(torch.from_numpy(mean).float(), across, up, (names[0], names[1]))


def plane_between(vae: VAE, start: Tensor, end: Tensor, x: Array) -> Plane:
    """Plane whose horizontal centre line joins two codes (d,).

    Its vertical direction is the one orthogonal to that line in which the codes of x vary most.
    """
    endpoints = vae.standardized(torch.stack([start, end])).cpu()
    across = (endpoints[1] - endpoints[0]) / 2
    codes = _standard_codes(vae, x)
    along = numbers(across / across.norm().clamp(min=1e-12))
    rest = codes - codes.mean(0)
    rest = rest - (rest @ along)[:, None] * along
    _, directions, _ = principal_directions(rest)
    spread = float((rest @ directions[0]).std())
    names = (
        "from the morph's start (−1) to its end (1)",
        "orthogonal direction of most variance, standard deviations",
    )
    up = torch.from_numpy(_REACH * spread * directions[0]).float()
    return Plane(endpoints.mean(0), across, up, names, (1.0, _REACH))


def _standard_codes(vae: VAE, x: Array) -> Numbers:
    """Codes of examples in units of the prior; of more than 10,000, of that many, taken evenly."""
    shown = x[evenly(len(x))]
    return numbers(vae.standardized(codes_of(vae, shown), apart(shown)[1]))
