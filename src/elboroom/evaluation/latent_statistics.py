"""Mean and standard deviation of a model's codes, which exports and second stages scale them by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.data.batches import Batches
from elboroom.evaluation.support import checked_batches
from elboroom.models.vae import VAE
from elboroom.probability.posteriors import DiagonalGaussian

ENOUGH = 4096
"""Training examples whose codes are looked at after a training."""

_BATCH = 500
_TINY = 0.1
_FAR_MEAN, _FAR_STD = 1.0, 2.0  # from those of N(0, I): in its standard deviations, and as a factor


def latent_statistics(
    codes: Tensor, latent_shape: tuple[int, ...], within: Tensor | None = None
) -> dict[str, Any]:
    """Mean and standard deviation of codes, by dimension, or by channel of codes on a grid.

    Parameters
    ----------
    codes : Tensor
        (n, d).
    latent_shape : tuple of int
        (d,), or (c, h, w), as ``vae.latent_shape``.
    within : Tensor, optional
        Variances (n, d) of q(z|x), if ``codes`` are its means: the result is then that of draws from q.

    Returns
    -------
    dict
        ``of`` ("dimensions" or "channels"), ``mean``, ``std`` and ``scaling_factor`` = 1/std (None where
        the codes are constant) of each, ``overall_scaling_factor``, one number for all of them, and
        ``codes``, which is n.

    Examples
    --------
    >>> import torch
    >>> latent_statistics(torch.tensor([[1.0, 0.0], [5.0, 0.0]]), (2,))["scaling_factor"]
    [0.5, None]
    """
    grid = len(latent_shape) == 3
    shape = latent_shape if grid else (latent_shape[0], 1)

    def by_row(numbers: Tensor) -> Tensor:
        return numbers.double().reshape(len(codes), shape[0], -1).transpose(0, 1).flatten(1)

    each = by_row(codes)
    added = torch.zeros_like(each) if within is None else by_row(within)
    std = (each.var(1, correction=0) + added.mean(1)).sqrt()
    overall = float((each.var(correction=0) + added.mean()).sqrt())
    return {
        "of": "channels" if grid else "dimensions",
        "mean": each.mean(1).tolist(),
        "std": std.tolist(),
        "scaling_factor": [1 / value if value > 0 else None for value in std.tolist()],
        "overall_scaling_factor": 1 / overall if overall > 0 else None,
        "codes": len(codes),
    }


def is_measured(vae: VAE, beta: float) -> bool:
    """Whether the codes of a training may be far from the prior, and exports may want their scale.

    That is so of codes on a grid, and of any codes that the rate hardly draws to the prior.

    Parameters
    ----------
    vae : VAE
        Models of several stochastic layers and conditional ones have no density of codes to scale.
    beta : float
        Weight of the rate, for a loss summed over dimensions.
    """
    if len(vae.layers) > 1 or vae.conditioning is not None:
        return False
    makes = getattr(vae.posterior, "makes", None)
    rated = getattr(makes, "stochastic", True) and beta >= _TINY
    return len(vae.latent_shape) == 3 or (not rated and getattr(makes, "space", None) is None)


def measure_codes(
    vae: VAE, batches: Batches, indices: NDArray[np.int64], *, seed: int = 0, limit: int = ENOUGH
) -> dict[str, Any] | None:
    """Statistics of codes z ~ q(z|x) of at most ``limit`` examples; None if one is not finite.

    Of a Gaussian q without correlations they are exact for these examples: the variance of its means, and
    the mean of its variances. Of others, one code of each is drawn. If there are more examples, they are
    chosen at random, by the seed.
    """
    if len(indices) > limit:
        indices = np.sort(np.random.default_rng(seed).choice(indices, limit, replace=False))
    within = None
    if getattr(vae.posterior, "makes", None) is DiagonalGaussian:
        with vae.at_rest():
            found = [vae.infer(x) for _, x in checked_batches(vae, batches, indices, _BATCH)]
        codes, within = (torch.cat([getattr(q, name) for q in found]).cpu() for name in ("mean", "variance"))
    else:
        codes = draw_codes(vae, batches, indices, seed=seed)
    finite = all(bool(numbers.isfinite().all()) for numbers in (codes, within) if numbers is not None)
    return latent_statistics(codes, vae.latent_shape, within) if finite else None


def draw_codes(vae: VAE, batches: Batches, indices: NDArray[np.int64], *, seed: int = 0) -> Tensor:
    """Draw one code z ~ q(z|x) of each example, (n, d) float64 on the CPU; its code if it is deterministic.

    The caller's randomness is left alone.
    """
    with vae.at_rest():
        return torch.cat(list(_codes(vae, batches, indices, seed)))


def _codes(vae: VAE, batches: Batches, indices: NDArray[np.int64], seed: int) -> Iterator[Tensor]:
    devices = [batches.x.device] if batches.x.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        for _, x in checked_batches(vae, batches, indices, _BATCH):
            q: Any = vae.infer(x)
            yield q.rsample_and_log_prob(1)[0][0].cpu().double()


def why_far(statistics: Mapping[str, Any]) -> str | None:
    """Say where codes are far from N(0, I); None if they are near it.

    Far means a mean above 1 in size, or a standard deviation above 2 or below 1/2. The worst is named.

    Examples
    --------
    >>> why_far({"of": "channels", "mean": [0.1, -3.0], "std": [1.1, 7.0]})
    'codes of training examples have mean -3 and standard deviation 7 in channel 1, and N(0, I) has 0 and 1'
    >>> why_far({"of": "channels", "mean": [0.1], "std": [1.1]})
    """
    mean, std = (np.asarray(statistics[name], dtype=float) for name in ("mean", "std"))
    off = np.maximum(np.abs(mean) / _FAR_MEAN, np.abs(np.log(np.maximum(std, 1e-12))) / np.log(_FAR_STD))
    worst = int(off.argmax())
    if off[worst] <= 1:
        return None
    return (
        f"codes of training examples have mean {mean[worst]:.3g} and standard deviation {std[worst]:.3g} in "
        f"{statistics['of'][:-1]} {worst}, and N(0, I) has 0 and 1"
    )


def spread_of(statistics: Mapping[str, Any]) -> str:
    """Statistics in words.

    Examples
    --------
    >>> spread_of({"of": "channels", "std": [0.5, 2.0], "overall_scaling_factor": 0.8})
    'standard deviation 0.5 to 2 by channel; scaling factor of all 0.8'
    """
    std, factor = statistics["std"], statistics["overall_scaling_factor"]
    scale = "none, as they are constant" if factor is None else f"{factor:.4g}"
    name = statistics["of"][:-1]
    return f"standard deviation {min(std):.3g} to {max(std):.3g} by {name}; scaling factor of all {scale}"
