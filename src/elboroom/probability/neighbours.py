"""A density of codes along their manifold: a normal at each code, as wide as its neighbours lie apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from elboroom.errors import UsageError

_LEAST_VARIANCE = 1e-6  # of a component, in standardised codes: neighbours may be copies
# Numbers in memory at a time when codes are compared with all components.
_COMPARED_NUMBERS = 8_000_000


class NeighbourMixture(nn.Module):
    """Manifold Parzen windows: (1/n) Σ_i N(z; z_i, bandwidth² C_i) over n known codes.

    C_i = (1 − roundness) S_i + roundness · tr(S_i)/d · I, where S_i is the second moment, about z_i, of the
    steps from z_i to its k nearest neighbours (Vincent and Bengio, 2003). A draw is thus a known code, moved
    along random steps to its neighbours, and by a little noise in all directions.

    Parameters
    ----------
    codes : Tensor
        z_i in units of ``spread`` from ``shift``, (n, d).
    neighbours : Tensor
        Rows of the k neighbours of each code, int64 (n, k).
    shift, spread : Tensor
        Of each dimension, (d,): codes are ``shift + spread · z``.
    bandwidth, roundness : float or Tensor
        As above; roundness is above 0 and at most 1, where all components are round.

    Raises
    ------
    UsageError
        If the shapes do not fit together, or a number is out of range.

    Examples
    --------
    >>> line = torch.linspace(-1, 1, 5)[:, None] * torch.tensor([1.0, 0.0])
    >>> near = neighbours_of(line, 2)
    >>> mixture = NeighbourMixture(line, near, torch.zeros(2), torch.ones(2), 1.0, 0.1)
    >>> on, off = mixture.log_prob(torch.tensor([[0.25, 0.0], [0.25, 0.5]])).tolist()
    >>> on - off > 3
    True
    """

    codes: Tensor
    neighbours: Tensor
    shift: Tensor
    spread: Tensor
    bandwidth: Tensor
    roundness: Tensor
    directions: Tensor
    variances: Tensor
    floor: Tensor

    def __init__(
        self,
        codes: Tensor,
        neighbours: Tensor,
        shift: Tensor,
        spread: Tensor,
        bandwidth: float | Tensor,
        roundness: float | Tensor,
    ):
        super().__init__()
        n, d = codes.shape
        fits = neighbours.ndim == 2 and len(neighbours) == n and not neighbours.is_floating_point()
        if not fits or shift.shape != (d,) or spread.shape != (d,) or not 1 <= neighbours.shape[1] < n:
            raise UsageError(
                f"codes of shape {tuple(codes.shape)} need rows of neighbours ({n}, k), with k from 1 to "
                f"{n - 1}, and shift and spread ({d},); got {tuple(neighbours.shape)}, {tuple(shift.shape)} "
                f"and {tuple(spread.shape)}"
            )
        if int(neighbours.min()) < 0 or int(neighbours.max()) >= n:
            raise UsageError(f"neighbours must be rows of the codes, from 0 to {n - 1}")
        width, round_ = (torch.as_tensor(number).to(codes) for number in (bandwidth, roundness))
        if not float(width) > 0 or not 0 < float(round_) <= 1 or not bool((spread > 0).all()):
            raise UsageError(
                f"bandwidth = {float(width):g}, roundness = {float(round_):g}: the bandwidth and all spreads "
                "must be above 0, and the roundness above 0 and at most 1"
            )
        self.latent_dim = d
        for name, tensor in (("codes", codes), ("shift", shift), ("spread", spread)):
            self.register_buffer(name, tensor)
        self.register_buffer("neighbours", neighbours)
        self.register_buffer("bandwidth", width)
        self.register_buffer("roundness", round_)
        # Computed again wherever the codes are read: the file need not hold them.
        directions, variances = local_axes(codes, neighbours)
        mean = variances.sum(1, keepdim=True) / d + _LEAST_VARIANCE
        self.register_buffer("directions", directions, persistent=False)
        self.register_buffer("variances", (1 - round_) * variances + round_ * mean, persistent=False)
        self.register_buffer("floor", (round_ * mean).squeeze(1), persistent=False)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (..., d) in nats, (...)."""
        flat = (z.reshape(-1, self.latent_dim) - self.shift) / self.spread
        pieces = torch.split(flat, pieces_of(self.directions))
        return torch.cat([self._log_prob(piece) for piece in pieces]).reshape(z.shape[:-1])

    def _log_prob(self, z: Tensor) -> Tensor:
        n, d = self.codes.shape
        within, beside = parts_of(z, self.codes, self.directions)
        squares = (within / self.variances).sum(-1) + beside / self.floor
        rest = d - self.variances.shape[1]
        log_det = self.variances.log().sum(1) + rest * self.floor.log() + 2 * d * self.bandwidth.log()
        each = -0.5 * (squares / self.bandwidth.square() + log_det + d * math.log(2 * math.pi))
        return torch.logsumexp(each, 1) - math.log(n) - self.spread.log().sum()

    def sample(self, n: int) -> Tensor:
        """Draw n codes, (n, d)."""
        with torch.no_grad():
            chosen = torch.randint(len(self.codes), (n,), device=self.codes.device)
            noise = torch.randn(n, self.latent_dim, dtype=self.codes.dtype, device=self.codes.device)
            along = torch.einsum("nrd,nd->nr", self.directions[chosen], noise)
            floor = self.floor[chosen, None].sqrt()
            stretched = (self.variances[chosen].sqrt() - floor) * along
            step = floor * noise + torch.einsum("nr,nrd->nd", stretched, self.directions[chosen])
            return self.shift + self.spread * (self.codes[chosen] + self.bandwidth * step)

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return (
            f"latent_dim={self.latent_dim}, codes={len(self.codes)}, neighbours={self.neighbours.shape[1]}, "
            f"bandwidth={float(self.bandwidth):.3g}, roundness={float(self.roundness):.3g}"
        )


def neighbours_of(codes: Tensor, k: int) -> Tensor:
    """Rows of the k codes nearest to each of codes (n, d), itself left out, (n, k); the nearest first."""
    found = []
    for start in range(0, len(codes), 1000):
        distance = torch.cdist(codes[start : start + 1000], codes)
        own = torch.arange(len(distance), device=codes.device)
        distance[own, start + own] = math.inf
        found.append(distance.topk(k, largest=False).indices)
    return torch.cat(found)


def local_axes(codes: Tensor, neighbours: Tensor) -> tuple[Tensor, Tensor]:
    """Principal axes of the steps from each code to its neighbours: (n, r, d), and their variances (n, r).

    r is the smaller of k and d.
    """
    found = []
    for rows, near in zip(torch.split(codes, 1000), torch.split(neighbours, 1000), strict=True):
        steps = codes[near] - rows[:, None]
        _, size, axes = torch.linalg.svd(steps, full_matrices=False)
        found.append((axes, size.square() / neighbours.shape[1]))
    return torch.cat([axes for axes, _ in found]), torch.cat([variance for _, variance in found])


def parts_of(z: Tensor, codes: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances of z (m, d) from codes along their axes, (m, n, r), and off them, (m, n)."""
    away = z[:, None] - codes
    within = torch.einsum("mnd,nrd->mnr", away, directions).square()
    return within, (away.square().sum(-1) - within.sum(-1)).clamp_min(0)


def pieces_of(directions: Tensor) -> int:
    """How many codes to compare with all components at a time."""
    n, r, d = directions.shape
    return max(1, _COMPARED_NUMBERS // (n * max(r, d)))
