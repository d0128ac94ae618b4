"""Paths through the latent space, from one code to another.

A path is computed by a function of two codes (d,) and a number of steps that returns codes (steps, d), whose
first and last are exactly the endpoints. ``PATHS`` names these functions; :mod:`elboroom.latent.targets`
finds endpoints.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from elboroom.errors import UsageError
from elboroom.latent.arrays import evenly
from elboroom.models.vae import Array
from elboroom.probability.posteriors import unit_vector

LogDensity = Callable[[Tensor], Tensor]
"""From codes (..., d) to the logarithm of a density (...), in nats; differentiable."""

LatentPath = Callable[[Tensor, Tensor, int], Tensor]
"""From two endpoints (d,) and a number of steps to the codes of the path, (steps, d)."""

_PIECES = 128  # straight segments of the optimised curve
_BENDS = 8  # sine waves added to the straight line
_LANDMARKS = 2000  # most codes whose density is estimated


def linear(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Return codes (steps, d) on the straight line from code a to code b (d,), evenly spaced.

    Raises
    ------
    UsageError
        If ``steps`` < 2.

    Examples
    --------
    >>> linear(torch.zeros(2), torch.ones(2), 3).tolist()
    [[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]
    """
    weights = _fractions(steps).to(a.dtype).to(a.device)[:, None]
    return _with_endpoints(torch.lerp(a[None], b[None], weights), a, b)


def spherical(a: Tensor, b: Tensor, steps: int) -> Tensor:
    """Return codes (steps, d) from code a to code b (d,) whose direction turns and whose norm changes evenly.

    In many dimensions a normal prior's codes lie near a sphere of radius √d; this path stays near it, and
    the straight line does not (arXiv:1609.04468). In one dimension, between parallel vectors, or if one of
    them is zero, it is the straight line. Between opposite vectors, where all half circles are equally
    short, it passes through the axis farthest from both.

    Raises
    ------
    UsageError
        If ``steps`` < 2.

    Examples
    --------
    >>> spherical(torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 0.0]), 3)[1].abs().round().tolist()
    [0.0, 2.0]
    """
    t = _fractions(steps)[:, None]
    start, end = a.cpu().double(), b.cpu().double()  # some accelerators have no float64
    from_norm, to_norm = start.norm(), end.norm()
    if len(a) == 1 or from_norm == 0 or to_norm == 0:
        return linear(a, b, steps)
    u, v = start / from_norm, end / to_norm
    along = v @ u
    aside = v - along * u
    angle = torch.atan2(aside.norm(), along)
    if aside.norm() < 1e-7:  # parallel or opposite: any orthogonal direction will do
        axis = torch.eye(len(a), dtype=u.dtype)[u.abs().argmin()]
        aside = axis - (axis @ u) * u
        angle = torch.pi * (along < 0)
    direction = torch.cos(t * angle) * u + torch.sin(t * angle) * aside / aside.norm()
    return _with_endpoints((torch.lerp(from_norm, to_norm, t) * direction).to(a.dtype).to(a.device), a, b)


def dense(a: Tensor, b: Tensor, steps: int, log_density: LogDensity, *, iterations: int = 80) -> Tensor:
    """Return codes (steps, d) from code a to code b (d,) through dense regions, evenly spaced along the path.

    The path minimises ∫ p(z)^(−1/d) |dz|, its length in units of the typical distance p^(−1/d) between
    neighbouring codes, a density-based distance as in arXiv:1810.09398. It is the straight line plus eight
    sine waves, whose amplitudes L-BFGS finds by minimising the energy of the curve, which bounds that length
    from above. By this measure it is never longer than the straight line.

    Parameters
    ----------
    a, b : Tensor
        Codes (d,).
    steps : int
        At least 2.
    log_density : callable
        Log density of codes (..., d), differentiable: ``vae.prior.log_prob``, or :func:`code_density`.
    iterations : int
        Maximum number of L-BFGS iterations.

    Raises
    ------
    UsageError
        If ``steps`` < 2.
    """
    straight = linear(a, b, steps)
    distance = (b - a).norm()
    if distance == 0:
        return straight
    t = torch.linspace(0, 1, _PIECES + 1).to(a)
    line = torch.lerp(a.detach(), b.detach(), t[:, None])
    wave = torch.arange(1, _BENDS + 1).to(a)
    basis = torch.sin(torch.pi * t[:, None] * wave) / wave
    # A slight fixed bend breaks the symmetry: at a symmetric obstacle the straight line has no gradient.
    bend = torch.randn(_BENDS, len(a), generator=torch.Generator().manual_seed(0)).to(a)
    bend = (bend * 1e-3 * distance).requires_grad_()
    optimizer = torch.optim.LBFGS([bend], max_iter=iterations, line_search_fn="strong_wolfe")

    def energy() -> Tensor:
        optimizer.zero_grad()
        logs = torch.logsumexp(2 * _log_pieces(line + basis @ bend, log_density), 0)
        (bend.grad,) = torch.autograd.grad(
            logs, bend
        )  # leaves the density's own parameters without gradients
        return logs.detach()

    with torch.enable_grad():
        optimizer.step(energy)  # type: ignore[no-untyped-call]
    curve = line + basis @ bend.detach()
    if not density_length(curve, log_density) < density_length(line, log_density):
        return straight
    return _with_endpoints(_evenly_spaced(curve, steps), a, b)


def density_length(path: Tensor, log_density: LogDensity) -> float:
    """Logarithm of Σ p^(−1/d) |Δz| along codes (steps, d), with the density at the middle of each segment."""
    with torch.no_grad():
        return float(torch.logsumexp(_log_pieces(path, log_density), 0))


def _log_pieces(path: Tensor, log_density: LogDensity) -> Tensor:
    pieces = path.diff(dim=0)
    lengths = pieces.square().sum(-1).clamp_min(1e-30).log() / 2
    return lengths - log_density(path[:-1] + pieces / 2) / path.shape[1]


def _evenly_spaced(path: Tensor, steps: int) -> Tensor:
    """Points (steps, d) on a polyline, at equal distances along it."""
    done = torch.cat([path.new_zeros(1), path.diff(dim=0).norm(dim=-1).cumsum(0)])
    wanted = _fractions(steps).to(path.dtype).to(path.device) * done[-1]
    piece = torch.searchsorted(done, wanted).clamp(1, len(path) - 1)
    rest = (wanted - done[piece - 1]) / (done[piece] - done[piece - 1]).clamp_min(1e-30)
    return torch.lerp(path[piece - 1], path[piece], rest[:, None])


def code_density(codes: Array) -> LogDensity:
    """Estimate the density of encoded data with a normal kernel around each code.

    Parameters
    ----------
    codes : array
        (n, d); of more than 2,000, that many are used, taken evenly. The kernel's standard deviation is
        Scott's n^(−1/(d+4)) times the root of the mean variance of the dimensions.

    Returns
    -------
    callable
        From codes (..., d) to log density (...), nats.

    Raises
    ------
    UsageError
        If there are fewer than 2 codes, or all are equal.
    """
    known = torch.as_tensor(codes).detach()
    known = known[torch.from_numpy(evenly(len(known), _LANDMARKS)).to(known.device)]
    n, d = known.shape
    spread = float(known.var(0, correction=0).mean()) if n > 1 else 0.0
    if not spread > 0:
        raise UsageError(
            f"got {n} codes with variance {spread:g}; a density needs at least 2 different codes"
        )
    variance = spread * n ** (-2 / (d + 4))

    def log_density(z: Tensor) -> Tensor:
        near = known.to(z)
        squares = z.square().sum(-1, keepdim=True) + near.square().sum(-1) - 2 * z @ near.T
        normal = math.log(n) + 0.5 * d * math.log(2 * math.pi * variance)
        return torch.logsumexp(-0.5 * squares / variance, -1) - normal

    return log_density


def _on_space(prior: Any, path: LatentPath) -> LatentPath:
    """The path itself; if codes lie on a sphere, its projection onto the sphere."""
    if getattr(prior, "space", None) != "sphere":
        return path

    def on_sphere(a: Tensor, b: Tensor, steps: int) -> Tensor:
        return _with_endpoints(unit_vector(path(a, b, steps)), a, b)

    return on_sphere


PATHS: dict[str, Callable[[Any, Callable[[], Array]], LatentPath]] = {
    "linear": lambda prior, _codes: _on_space(prior, linear),
    "spherical": lambda _prior, _codes: spherical,
    "dense": lambda prior, _codes: _on_space(prior, partial(dense, log_density=prior.log_prob)),
    "data": lambda prior, codes: _on_space(prior, partial(dense, log_density=code_density(codes()))),
}
"""By name, how each path is made from a prior and a function that returns codes (n, d) of encoded data."""


def _fractions(steps: int) -> Tensor:
    if steps < 2:
        raise UsageError(f"steps = {steps}: a path needs at least 2, its endpoints")
    return torch.linspace(0, 1, steps, dtype=torch.float64)


def _with_endpoints(path: Tensor, a: Tensor, b: Tensor) -> Tensor:
    path[0], path[-1] = a, b  # exact, without rounding errors
    return path
