"""Annealed importance sampling: log p(x) where no posterior fits, and how far off it is at most."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from elboroom.errors import UsageError
from elboroom.models.vae import VAE

TEMPERATURES = 200
"""Steps from the posterior's density to that of the model."""

CHAINS = 32
"""Independent chains, an importance weight each."""

_LEAPS = 8  # of each Hamiltonian move
_WANTED = 0.65  # share of moves to accept (arXiv:1206.1901 §4.4)
_PILOT = 4  # chains that tune the step sizes, of which the others do not depend
_FIRST_STEP = 0.1
_STRETCH = 1.1
_WARM_UP = 15  # moves of the pilot at the first temperature

LogDensity = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Path:
    """Densities log f(z) = (1 − β) log q(z) + β log p(x, z), from one that can be drawn from to a model's.

    Attributes
    ----------
    start : callable
        log q(z) of codes (k, b, d), nats (k, b), normalised.
    end : callable
        log p(x, z), of each of b examples.
    draw : callable
        Draws k codes of each example from q, (k, b, d).
    """

    start: LogDensity
    end: LogDensity
    draw: Callable[[int], Tensor]

    def at(self, beta: float, z: Tensor) -> Tensor:
        """Log-density in between, (k, b)."""
        return (1 - beta) * self.start(z) + beta * self.end(z)

    def gradient(self, beta: float, z: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density and its gradient by z."""
        with torch.enable_grad():
            free = z.detach().requires_grad_()
            value = self.at(beta, free)
            (slope,) = torch.autograd.grad(value.sum(), free)
        return value.detach(), slope


def path_of(vae: VAE, x: Tensor, q: Any, condition: Tensor | None = None) -> Path:
    """Return the path from a posterior to p(x, z), or from the prior if the posterior has no density.

    Raises
    ------
    UsageError
        If the model has several stochastic layers, or codes without a density.
    """
    if len(vae.layers) > 1 or not getattr(q, "stochastic", True):
        what = f"{len(vae.layers)} stochastic layers" if len(vae.layers) > 1 else "codes without a density"
        raise UsageError(
            "estimator = 'annealed' moves the code of a model with one stochastic layer, and this one has "
            f"{what}; take 'importance'"
        )
    c = vae.condition_vectors(condition, len(x))
    prior = vae.prior_given(c)

    def joint(z: Tensor) -> Tensor:
        return prior.log_prob(z) + vae.generate(z, c).log_prob(x)

    if hasattr(q, "log_prob"):
        return Path(q.log_prob, joint, lambda k: q.rsample_and_log_prob(k)[0])
    return Path(prior.log_prob, joint, lambda k: torch.stack([prior.sample(len(x)) for _ in range(k)]))


def annealed_log_weights(path: Path, *, chains: int = CHAINS, temperatures: int = TEMPERATURES) -> Tensor:
    """Log-weights whose mean estimates p(x) without bias (Neal, 2001; arXiv:1611.04273).

    Codes drawn from q are moved by Hamiltonian Monte Carlo while the density changes to p(x, z) in small
    steps. The step sizes come from a few chains of their own, so that the weights keep the mean p(x).

    Parameters
    ----------
    path : Path
        Of b examples.
    chains : int
        Codes of each example, k.
    temperatures : int
        Steps of β from 0 to 1; more give weights that vary less.

    Returns
    -------
    Tensor
        float64 (k, b), nats.
    """
    betas = _betas(temperatures)
    steps = _tuned(path, betas)
    return _forward(path, path.draw(chains), betas, steps)


def bidirectional_gap(
    vae: VAE,
    examples: int,
    *,
    chains: int = CHAINS,
    temperatures: int = TEMPERATURES,
    condition: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Stochastic lower and upper bounds of log p(x) for examples drawn from the model (arXiv:1511.02543).

    The code that an example was drawn from is an exact sample of its posterior. From there the chain runs
    backwards, and its weights give a bound from above.

    Parameters
    ----------
    vae : VAE
        With one stochastic layer, at rest.
    examples, chains, temperatures : int
        How many, and as in `annealed_log_weights`.
    condition : Tensor, optional
        (examples, C), of a conditional model.

    Returns
    -------
    lower, upper : Tensor
        float64 (examples,) nats each: below and above log p(x) on average. Their difference bounds the error
        of the same chains on these examples.
    """
    c = vae.condition_vectors(condition, examples)
    prior = vae.prior_given(c)
    z = prior.sample(examples)
    x = vae.generate(z, c).sample()
    path = path_of(vae, x, vae.infer(x, c), c)
    betas = _betas(temperatures)
    steps = _tuned(path, betas)
    lower = _forward(path, path.draw(chains), betas, steps)
    upper = _backward(path, z.expand(chains, *z.shape).clone(), betas, steps)
    return _log_mean(lower), -_log_mean(upper)


def _log_mean(log_weights: Tensor) -> Tensor:
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))


def _betas(temperatures: int) -> list[float]:
    """From 0 to 1 by a sigmoid, with smaller steps at both ends (arXiv:1511.02543 §6)."""
    if temperatures < 1:
        raise UsageError(f"temperatures = {temperatures}: must be at least 1")
    raw = torch.sigmoid(torch.linspace(-4, 4, temperatures + 1, dtype=torch.float64))
    return ((raw - raw[0]) / (raw[-1] - raw[0])).tolist()


def _forward(path: Path, z: Tensor, betas: list[float], steps: list[Tensor]) -> Tensor:
    total = torch.zeros(z.shape[:2], dtype=torch.float64, device=z.device)
    for before, beta, step in zip(betas[:-1], betas[1:], steps, strict=True):
        total += (beta - before) * (path.end(z) - path.start(z)).double()
        z, _ = _move(path, beta, z, step)
    return total


def _backward(path: Path, z: Tensor, betas: list[float], steps: list[Tensor]) -> Tensor:
    """Weights of the chain that runs from exact samples of the end to the start; their mean is 1 / p(x)."""
    total = torch.zeros(z.shape[:2], dtype=torch.float64, device=z.device)
    for before, beta, step in reversed(list(zip(betas[:-1], betas[1:], steps, strict=True))):
        z, _ = _move(path, beta, z, step)
        total += (before - beta) * (path.end(z) - path.start(z)).double()
    return total


def _tuned(path: Path, betas: list[float]) -> list[Tensor]:
    """Step sizes of each example at each temperature (b,), by chains that are then forgotten."""
    z = path.draw(_PILOT)
    step = torch.full(z.shape[1:2], _FIRST_STEP, dtype=z.dtype, device=z.device)
    steps: list[Tensor] = []
    for beta in [0.0] * _WARM_UP + betas[1:]:
        z, accepted = _move(path, beta, z, step)
        stretch = _STRETCH if len(steps) >= _WARM_UP else _STRETCH**3
        step = torch.where(accepted.mean(0) > _WANTED, step * stretch, step / stretch)
        steps.append(step)
    return steps[_WARM_UP:]


def _move(path: Path, beta: float, z: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
    """One Hamiltonian move (arXiv:1206.1901), and how probable it was to be accepted, (k, b)."""
    size = step[:, None]
    momentum = torch.randn_like(z)
    value, slope = path.gradient(beta, z)
    energy = value - 0.5 * momentum.square().sum(-1)
    new, push = z, momentum + 0.5 * size * slope
    for leap in range(_LEAPS):
        new = new + size * push
        new_value, slope = path.gradient(beta, new)
        push = push + (size if leap < _LEAPS - 1 else 0.5 * size) * slope
    change = new_value - 0.5 * push.square().sum(-1) - energy
    probable = torch.nan_to_num(change, nan=-torch.inf).clamp(max=0).exp()
    taken = torch.rand_like(probable) < probable
    return torch.where(taken[..., None], new, z).detach(), probable
