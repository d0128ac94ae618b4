"""Sheets of images: reconstructions, samples, manifolds and traversals.

The examples of a model of images are drawn as images; rows of numbers and time series are drawn as small line
charts. Values are in model units; images are clipped to the range of the training images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from elboroom.errors import UsageError
from elboroom.figures.grids import ImageGrid, images_of, stack, titled
from elboroom.figures.row_tables import draw_tables, reconstructed_rows
from elboroom.figures.style import written
from elboroom.figures.traversals import traversals as traversals
from elboroom.latent.arrays import (
    Numbers,
    known_dims,
    loss_of_images,
    losses_of,
    losses_with_errors,
    numbers,
    seeded,
    with_error,
)
from elboroom.latent.planes import Plane
from elboroom.models.conditioning import apart
from elboroom.models.vae import VAE, Array

_DRAWS = 500  # to estimate the quantiles of a prior that has none


def pairs(vae: VAE, x: Array, **words: object) -> ImageGrid:
    """Examples (n, *shape) above their reconstructions; rows of numbers share a chart with them."""
    shown, rebuilt = vae.as_input(apart(x)[0]), vae.reconstruct(x)
    if len(vae.shape) == 3:
        images, names = images_of(vae, torch.cat([shown, rebuilt])), ["input", "reconstruction"]
    else:
        images, names = images_of(vae, shown, rebuilt), ["input (grey),\nreconstruction"]
    return ImageGrid(images, max(1, len(x)), row_labels=names, **words)  # type: ignore[arg-type]


def reconstructions(
    vae: VAE, x: Array, n: int = 10, *, title: str = "Examples and their reconstructions"
) -> Figure:
    """Draw the first n examples of x above their reconstructions.

    Parameters
    ----------
    vae : VAE
        The model; reconstructions decode posterior means, without sampling.
    x : array
        Examples (m, *shape).
    n : int
        How many to show.
    title : str
        Title of the figure.

    Raises
    ------
    UsageError
        If there are no examples.
    """
    return stack(pairs(vae, _some(x[:n])), title=titled(vae, title))


def _some(x: Array) -> Array:
    if not len(x):
        raise UsageError("got 0 examples to draw; give at least one")
    return x


def samples(
    vae: VAE, n: int = 64, seed: int = 0, *, title: str = "Samples: decoded draws from the prior"
) -> Figure:
    """Draw n decoded draws from the prior.

    Parameters
    ----------
    vae : VAE
        The model.
    n : int
        How many.
    seed : int
        The same seed draws the same codes; the caller's random state is left alone.
    title : str
        Title of the figure.

    Raises
    ------
    UsageError
        If n is below 1.
    """
    if n < 1:
        raise UsageError(f"n = {n}: draw at least 1 sample")
    with seeded(vae, seed):
        drawn = vae.sample(n)
    return stack(ImageGrid(images_of(vae, drawn), int(np.ceil(np.sqrt(n)))), title=titled(vae, title))


def manifold_grid(
    vae: VAE,
    steps: int = 20,
    *,
    center: Array | None = None,
    radius: float | None = None,
    dims: Sequence[int] = (0, 1),
) -> Tensor:
    """Codes on a square grid in two latent dimensions; in a row with one latent dimension.

    Parameters
    ----------
    vae : VAE
        Its prior determines the range of the grid.
    steps : int
        g, the number of codes along a side.
    center : array, optional
        Code (d,) that gives the other dimensions; the prior's median if not given.
    radius : float, optional
        Half the side of a square around ``center``. If not given, the grid is evenly spaced in the prior's
        quantiles from 0.02 to 0.98, and all cells have equal probability. For a prior without quantiles,
        they are estimated for each dimension from draws with a fixed seed.
    dims : sequence of int
        The dimensions that increase to the right and upwards.

    Returns
    -------
    Tensor
        (g, g, d), the top row first; (1, g, d) if the model has one latent dimension.

    Raises
    ------
    UsageError
        If ``steps`` < 1, ``radius`` ≤ 0, ``dims`` are not two of the model's, or ``center`` is not (d,).

    Examples
    --------
    >>> vae = VAE.build(shape=(4,), latent_dim=2, hidden=[8])
    >>> manifold_grid(vae, 3, center=np.zeros(2), radius=1.0)[0].tolist()
    [[-1.0, 1.0], [0.0, 1.0], [1.0, 1.0]]
    """
    d = vae.latent_dim
    dims = known_dims(vae, dims[:d])
    if steps < 1 or (radius is not None and not radius > 0):
        raise UsageError(f"got steps = {steps}, radius = {radius}; give at least 1 step and a radius above 0")
    if center is not None and radius is None and d <= len(dims):
        raise UsageError("got a center but no radius; give half the side of the square, as in radius=1.0")
    weight = next(vae.parameters())
    line = torch.linspace(-1, 1, steps).to(weight) if steps > 1 else torch.zeros(1).to(weight)
    offset = weight.new_zeros(steps if len(dims) > 1 else 1, steps, d)
    offset[..., dims[0]] = line
    for dim in dims[1:]:
        offset[..., dim] = line.flip(0)[:, None]
    with torch.no_grad():
        quantile = _quantiles(vae)
        median: Tensor = quantile(torch.full_like(offset, 0.5))
        origin = median if center is None else _code(vae, center).expand_as(offset)
        if radius is not None:
            return vae.onto_space(origin + radius * offset)
        grid: Tensor = quantile(0.5 + 0.48 * offset)
    still = [dim for dim in range(d) if dim not in dims]
    grid[..., still] = origin[..., still]
    return vae.onto_space(grid)


def _quantiles(vae: VAE) -> Callable[[Tensor], Tensor]:
    """Function from u (..., d) in (0, 1) to codes (..., d): the prior's, or estimated for each dimension."""
    if hasattr(vae.prior, "quantile"):
        own: Callable[[Tensor], Tensor] = vae.prior.quantile
        return own
    with seeded(vae, 0), vae.at_rest():
        ordered = vae.prior.sample(_DRAWS).sort(dim=0).values

    def among_draws(u: Tensor) -> Tensor:
        rows = (u.reshape(-1, u.shape[-1]) * (_DRAWS - 1)).round().long()
        return ordered.gather(0, rows).reshape(u.shape)

    return among_draws


def _code(vae: VAE, code: Array) -> Tensor:
    weight = next(vae.parameters())
    tensor = torch.as_tensor(code).to(weight)
    if tensor.shape != (vae.latent_dim,):
        raise UsageError(f"got a code of shape {tuple(tensor.shape)}; the model's are ({vae.latent_dim},)")
    return tensor


def manifold_image_grid(vae: VAE, grid: Tensor, dims: Sequence[int] = (0, 1)) -> ImageGrid:
    """Decode a grid (g, g, d), with the latent values at the edges and a hairline between the images."""
    tall = len(grid) > 1
    return ImageGrid(
        _decoded(vae, grid),
        grid.shape[1],
        row_labels=written(numbers(grid[:, 0, dims[1]])) if tall else (),
        captions=written(numbers(grid[0, :, dims[0]])),
        x_label=f"$z_{{{dims[0]}}}$",
        y_label=f"$z_{{{dims[1]}}}$" if tall else "",
        gap=1 if len(vae.shape) == 3 else 3,
    )


def plane_image_grid(vae: VAE, plane: Plane, steps: int = 15) -> ImageGrid:
    """Decode the codes of a plane, with distances from its centre at the edges and hairlines between."""
    across, up = (np.linspace(-edge, edge, steps) for edge in plane.ticks)
    return ImageGrid(
        _decoded(vae, plane.grid(vae, steps)),
        steps,
        row_labels=written(up[::-1]),
        captions=written(across),
        x_label=plane.names[0],
        y_label=plane.names[1],
        gap=1 if len(vae.shape) == 3 else 3,
    )


def _decoded(vae: VAE, grid: Tensor) -> Numbers:
    return images_of(vae, vae.decode(grid.reshape(-1, vae.latent_dim)).mean, size=(44, 60))


def manifold(
    vae: VAE,
    steps: int = 20,
    *,
    center: Array | None = None,
    radius: float | None = None,
    dims: Sequence[int] = (0, 1),
    plane: Plane | None = None,
    title: str = "Decoded codes on a grid",
) -> Figure:
    """Draw decoded codes on a grid; the arguments are those of :func:`manifold_grid`.

    With a ``plane`` (:func:`elboroom.latent.planes.principal_plane`) the grid lies in it, and ``center``,
    ``radius`` and ``dims`` are ignored.

    Raises
    ------
    UsageError
        As :func:`manifold_grid` does.
    """
    if plane is not None:
        return stack(plane_image_grid(vae, plane, steps), title=titled(vae, title))
    grid = manifold_grid(vae, steps, center=center, radius=radius, dims=dims)
    return stack(manifold_image_grid(vae, grid, dims), title=titled(vae, title))


def best_and_worst(vae: VAE, x: Array, n: int = 10, *, noun: str = "examples") -> Figure:
    """Draw the examples with the lowest and the highest −ELBO beside their reconstructions; rows as text.

    Parameters
    ----------
    vae : VAE
        The model. Examples are ranked by the ELBO with one draw each; the loss below each is the mean of 32
        draws with its standard error, with the same noise for all.
    x : array
        Examples (m, *shape).
    n : int
        How many of each, at most half of all.
    noun : str
        What the title calls the examples.

    Raises
    ------
    UsageError
        If there are no examples.
    """
    order = np.argsort(losses_of(vae, x), kind="stable")
    n = max(1, min(n, len(order) // 2))
    image_grids, tables = [], []
    of_table = bool(getattr(vae.likelihood, "columns", ()))
    ends = (("Lowest", 1, order[: 2 * n]), ("Highest", -1, order[::-1][: 2 * n].copy()))
    for name, sign, candidates in ends:
        values, errors = losses_with_errors(vae, x[candidates])
        best = np.argsort(sign * values, kind="stable")[:n]
        captions = [with_error(values[i], errors[i]).replace(" ±", "\n±") for i in best]
        chosen = x[candidates[best]]
        if of_table:
            tables.append(reconstructed_rows(vae, chosen, f"{name} loss", captions))
        else:
            image_grids.append(pairs(vae, chosen, title=f"{name} loss", captions=captions))
    title = f"Best and worst of {len(x):,} {noun} and their reconstructions; loss: {loss_of_images(vae)}"
    if of_table:
        return draw_tables(vae, title.replace("reconstructions", "reconstructions (orange)"), tables)
    return stack(*image_grids, title=titled(vae, title))
