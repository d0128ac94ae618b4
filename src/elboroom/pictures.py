"""Pictures of examples: reconstructions, samples, decoded maps; and, of a file of their own, traversals.

What a model of images makes is drawn as images; rows of numbers are drawn as small line charts in their
place, so that every function here serves both. Values are in model units and clipped to [0, 1] for images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from elboroom.canvas import known_dims, losses_of, numbers, seeded, written
from elboroom.errors import UsageError
from elboroom.model import VAE, Array
from elboroom.plates import Plate, as_images, stack
from elboroom.traversals import traversals as traversals

_DRAWS = 500  # from a prior without quantiles


def pairs(x: Array, reconstruction: Array, **words: object) -> Plate:
    """Examples above their reconstructions, or as two lines in one chart: (n, *shape) both."""
    if x.ndim == 2:
        images, names = as_images(x, reconstruction), ["input (grey),\nreconstruction"]
    else:
        images = np.concatenate([numbers(x), numbers(reconstruction)])
        names = ["input", "reconstruction"]
    return Plate(images, max(1, len(x)), row_labels=names, **words)  # type: ignore[arg-type]


def reconstructions(vae: VAE, x: Array, n: int = 10) -> Figure:
    """Draw the first n examples of x above what the model makes of their codes.

    Parameters
    ----------
    vae : VAE
        The model; nothing is drawn at random.
    x : array
        Examples (m, *shape).
    n : int
        Of these, how many to show.

    Raises
    ------
    UsageError
        If there are no examples.
    """
    shown = vae.as_input(_some(x[:n]))
    return stack(pairs(shown, vae.reconstruct(shown)))


def _some(x: Array) -> Array:
    if not len(x):
        raise UsageError("got 0 examples to draw; give at least one")
    return x


def samples(vae: VAE, n: int = 64, seed: int = 0) -> Figure:
    """Draw n decoded draws from the prior: what the model dreams up.

    Parameters
    ----------
    vae : VAE
        The model.
    n : int
        How many, in a square.
    seed : int
        The same seed draws the same codes; the caller's random state is left alone.

    Raises
    ------
    UsageError
        If n is below 1.
    """
    if n < 1:
        raise UsageError(f"n = {n} samples; draw at least 1")
    with seeded(vae, seed):
        drawn = vae.sample(n)
    return stack(Plate(as_images(drawn), int(np.ceil(np.sqrt(n)))))


def manifold_grid(
    vae: VAE,
    steps: int = 20,
    *,
    center: Array | None = None,
    radius: float | None = None,
    dims: Sequence[int] = (0, 1),
) -> Tensor:
    """Codes on a square grid in two latent dimensions; a row of them if there is one.

    Parameters
    ----------
    vae : VAE
        Its prior says where codes are to be expected.
    steps : int
        g, codes along a side.
    center : array, optional
        Code (d,) that the other dimensions keep; the prior's median if not given.
    radius : float, optional
        Half the side of a square around ``center``. If not given, the grid is at the prior's quantiles 0.02
        to 0.98, so that each code stands for as much probability as the next. Of a prior that knows none,
        they are those of each dimension by itself, among draws that are always the same.
    dims : sequence of int
        The dimension that grows to the right and the one that grows upwards.

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
        raise UsageError("got a center and no radius; give the half-side of the square, as in radius=1.0")
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
    """Function u (..., d) in (0, 1) → codes (..., d): the prior's own, or of each dimension by itself."""
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


def manifold_plate(vae: VAE, grid: Tensor, dims: Sequence[int] = (0, 1)) -> Plate:
    """Decode a grid (g, g, d) into a seamless sheet, with the latent values at its edges."""
    tall = len(grid) > 1
    return Plate(
        as_images(vae.decode(grid.reshape(-1, vae.latent_dim)).mean, size=(44, 60)),
        grid.shape[1],
        row_labels=written(numbers(grid[:, 0, dims[1]])) if tall else (),
        captions=written(numbers(grid[0, :, dims[0]])),
        x_label=f"$z_{{{dims[0]}}}$",
        y_label=f"$z_{{{dims[1]}}}$" if tall else "",
        gap=3 if len(vae.shape) == 1 else 0,
    )


def manifold(
    vae: VAE,
    steps: int = 20,
    *,
    center: Array | None = None,
    radius: float | None = None,
    dims: Sequence[int] = (0, 1),
) -> Figure:
    """Draw what codes on a grid decode to; the arguments are those of :func:`manifold_grid`.

    Raises
    ------
    UsageError
        As :func:`manifold_grid` does.
    """
    grid = manifold_grid(vae, steps, center=center, radius=radius, dims=dims)
    return stack(manifold_plate(vae, grid, dims))


def best_and_worst(vae: VAE, x: Array, n: int = 10) -> Figure:
    """Draw the examples with the lowest and the highest −ELBO beside their reconstructions.

    Parameters
    ----------
    vae : VAE
        Its ELBO is taken with one sample per example, always the same noise.
    x : array
        Examples (m, *shape).
    n : int
        How many of each, at most half of all; −ELBO in nats stands under each.

    Raises
    ------
    UsageError
        If there are no examples.
    """
    losses = losses_of(vae, x)
    order = np.argsort(losses, kind="stable")
    n = max(1, min(n, len(order) // 2))
    plates = []
    for title, chosen in (("Lowest loss", order[:n]), ("Highest loss", order[::-1][:n].copy())):
        shown = vae.as_input(x[chosen])
        captions = [f"{losses[i]:,.1f}" for i in chosen]
        plates.append(pairs(shown, vae.reconstruct(shown), title=f"{title} (−ELBO, nats)", captions=captions))
    return stack(*plates)
