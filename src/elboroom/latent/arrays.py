"""Codes and losses of many examples, and helpers to select and format them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.data.column_fits import seen_as
from elboroom.errors import UsageError
from elboroom.models.vae import VAE, Array
from elboroom.probability.posteriors import Deterministic

if TYPE_CHECKING:
    from elboroom.config.columns import Column

Numbers = NDArray[Any]

DRAWS = 32  # of the code, for the loss reported of one image

_BATCH = 2000
_POINTS = 10_000


@contextmanager
def seeded(vae: VAE, seed: int) -> Iterator[None]:
    """Seed the random generators inside the block, and restore the caller's state after it."""
    device = next(vae.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # torch.manual_seed would also reset the devices that were not forked.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


def evenly(n: int, limit: int = _POINTS) -> NDArray[np.int64]:
    """Indices of at most ``limit`` of n examples, evenly spaced from first to last.

    Examples
    --------
    >>> evenly(9, 3).tolist(), evenly(2, 3).tolist()
    ([0, 4, 8], [0, 1])
    """
    return np.linspace(0, n - 1, min(n, limit)).round().astype(np.int64)


def codes_of(vae: VAE, x: Array) -> Numbers:
    """Embed x (n, *shape) a few thousand examples at a time: float32 (n, d)."""
    return _in_batches(vae.embed, x)


def losses_of(vae: VAE, x: Array, seed: int = 0) -> Numbers:
    """−ELBO of each example of x (n, *shape) with one draw each, in nats, float32 (n,).

    For distributions of losses. For the loss of a single image use :func:`losses_with_errors`.
    """
    with seeded(vae, seed):
        return _in_batches(lambda part: -vae.elbo(part), x)


def losses_with_errors(vae: VAE, x: Array, seed: int = 0) -> tuple[Numbers, Numbers]:
    """−ELBO of each example as the mean over 32 draws of its code, and the standard error of that mean.

    This is the loss reported for an image. Each example gets the same noise, so its loss does not depend on
    the other examples.

    Parameters
    ----------
    vae : VAE
        The model; the caller's random state is left alone.
    x : array
        Examples (n, *shape), of a conditional model with their conditions.
    seed : int
        Seed of the noise.

    Returns
    -------
    value, stderr : numpy.ndarray
        float64 (n,), nats.
    """
    values, errors = np.empty(len(x)), np.empty(len(x))
    for i in range(len(x)):
        with seeded(vae, seed):
            losses = -vae.elbo(x[np.full(DRAWS, i)]).double().cpu()
        values[i], errors[i] = losses.mean(), losses.std() / DRAWS**0.5
    return values, errors


def loss_of_images(vae: VAE) -> str:
    """Say what `losses_with_errors` are: of codes without noise all draws are the same."""
    makes = getattr(vae.posterior, "makes", None)
    return f"−ELBO, mean of {DRAWS} draws" if getattr(makes, "stochastic", True) else loss_name(vae)


def loss_name(vae: VAE) -> str:
    """Name the loss of an example; of an autoencoder, whose codes have no density, it bounds nothing."""
    return "−log p(x|z)" if getattr(vae.posterior, "makes", None) is Deterministic else "−ELBO"


def codes_title(vae: VAE) -> str:
    """Say what the codes on a map are: posteriors without noise, as of a codebook, have no mean."""
    makes = getattr(vae.posterior, "makes", None)
    return "Codes (posterior means)" if getattr(makes, "stochastic", True) else "Codes"


def with_error(value: float, error: float) -> str:
    """Write a value with its standard error, rounded to the error's first digit.

    Examples
    --------
    >>> with_error(-2943.21, 6.52), with_error(134.567, 0.234), with_error(1.5, 0.0)
    ('−2,943 ± 7', '134.6 ± 0.2', '1.50')
    """
    if not (np.isfinite(value) and np.isfinite(error)):
        return f"{value:.4g}"
    if error <= 1e-6 * max(1.0, abs(value)):  # a deterministic loss: the rest is rounding
        return f"{value:,.2f}".replace("-", "−")
    decimals = max(0, -int(np.floor(np.log10(error))))
    return f"{value:,.{decimals}f} ± {error:,.{decimals}f}".replace("-", "−")


def _in_batches(function: Callable[[Array], Tensor], x: Array) -> Numbers:
    if not len(x):
        raise UsageError("got 0 examples to draw; give at least one")
    return numbers(torch.cat([function(x[i : i + _BATCH]) for i in range(0, len(x), _BATCH)]))


def numbers(values: Array) -> Numbers:
    """Convert an array, or a tensor on any device, to a float32 numpy array."""
    array = values.detach().float().cpu().numpy() if isinstance(values, Tensor) else values
    return np.asarray(array, dtype=np.float32)


def standardizes(vae: VAE) -> bool:
    """Whether a model standardises its rows or time series."""
    return len(vae.shape) != 3 and hasattr(getattr(vae, "likelihood", None), "standardize")


def standardized(vae: VAE, x: Array) -> NDArray[np.float64]:
    """Rows or time series (n, *shape) in standard deviations if the model standardises them.

    Categories of a table run from −1 to 1.
    """
    values = numbers(x).astype(np.float64)
    if not standardizes(vae):
        return values
    columns = getattr(vae.likelihood, "columns", ())
    if columns:
        return np.stack([_standard(column, values[..., i]) for i, column in enumerate(columns)], -1)
    return np.asarray((values - numbers(vae.likelihood.location)) / numbers(vae.likelihood.spread))


def _standard(column: Column, cells: NDArray[np.float64]) -> NDArray[np.float64]:
    if column.categories:
        return cells * (2 / (len(column.categories) - 1)) - 1
    return np.asarray((seen_as(column, cells) - column.location) / column.scale)


def known_dims(vae: VAE, dims: Sequence[int]) -> list[int]:
    """Check that latent dimensions exist and are distinct, and return them.

    Raises
    ------
    UsageError
        If there is none, or one is repeated or out of range.
    """
    known = [dim for dim in dict.fromkeys(dims) if 0 <= dim < vae.latent_dim]
    if known != list(dims) or not known:
        raise UsageError(
            f"dims = {list(dims)}: give different latent dimensions from 0 to {vae.latent_dim - 1}"
        )
    return known
