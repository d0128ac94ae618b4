"""Rows of a table sampled on condition, without rejection.

Given z the columns are independent, so that an event E has the probability p(E|z) = Π p(x_j ∈ E_j|z) in
closed form, and rows within it can be drawn directly. What is left is to draw codes from
p(z|E) ∝ p(z) p(E|z): by annealed importance resampling from the prior (sequential Monte Carlo, Del Moral et
al. 2006), with some Metropolis steps at each temperature.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from elboroom.errors import FailureError, UsageError
from elboroom.models.inputs import check_count
from elboroom.models.vae import VAE
from elboroom.probability.codes import AutoregressiveCodes, UniformCodes
from elboroom.probability.mixed import Mixed, MixedHead
from elboroom.tables.conditions import Event, Wanted, read_conditions
from elboroom.tables.events import log_probability, sample_within

_PARTICLES = (2_000, 20_000)  # at least and at most at a time
_KEPT = 0.5  # share of the particles that a temperature step keeps as effective sample size
_MOVES = 10  # Metropolis steps at each temperature
_MOST_TEMPERATURES = 60
_LEAST_ESS = 100  # of draws from a prior that has no density on all of R^d
_LEAST = math.log(1e-9)  # of the probability of an event


class GivenSample(NamedTuple):
    """Rows sampled on condition.

    Attributes
    ----------
    x : Tensor
        The rows, (n, d), in the data set's units.
    log_probability : float
        Estimate of log p(E), nats: of the probability of the condition under the model, or its density where
        a number is given exactly.
    prior_ess : float
        Effective sample size that as many draws from the prior alone would have had.
    ess : float
        Effective number of different codes behind the rows, at most n: equal codes count together.
    temperatures : int
        Steps from the prior to the condition; 1 if importance resampling was enough.
    has_density : bool
        Whether a number is given exactly.
    """

    x: Tensor
    log_probability: float
    prior_ess: float
    ess: float
    temperatures: int
    has_density: bool

    def describe(self) -> str:
        """How likely the condition is, and how many different codes the rows come from."""
        kind = "density" if self.has_density else "probability"
        return (
            f"{kind} of the condition under the model: {math.exp(self.log_probability):.3g}; "
            f"effective sample size {self.ess:,.0f} of {len(self.x):,}"
        )


class _Codes(NamedTuple):
    """Codes z (N, d) from p(z|E), and how they were found."""

    z: Tensor
    log_probability: float
    prior_ess: float
    temperatures: int


def sample_given(vae: VAE, given: Wanted, n: int) -> GivenSample:
    """Sample rows from p(x|x ∈ E), for a condition E on columns.

    Parameters
    ----------
    vae : VAE
        Model of a table: with the mixed likelihood.
    given : str or mapping
        The condition, such as ``"job=cook, age>40"``; see
        :func:`~elboroom.tables.conditions.read_conditions`.
    n : int
        How many rows.

    Raises
    ------
    UsageError
        If the model is not one of a table, the condition cannot be read, or its probability is below 1e-9.
    FailureError
        If codes from p(z|E) cannot be found.
    """
    if not isinstance(vae.likelihood, MixedHead):
        raise UsageError("a condition on columns needs a model of a table, with likelihood = 'mixed'")
    check_count("n", n, 1)
    events = read_conditions(given, vae.likelihood.columns)
    with vae.at_rest():
        parts: list[Tensor] = []
        found: list[_Codes] = []
        while sum(map(len, parts)) < n:
            left = n - sum(map(len, parts))
            codes = _codes_given(vae, events, min(max(2 * left, _PARTICLES[0]), _PARTICLES[1]))
            chosen = torch.randperm(len(codes.z), device=codes.z.device)[: min(left, len(codes.z) // 2)]
            parts.append(sample_within(_generate(vae, codes.z[chosen]), events))
            found.append(codes._replace(z=codes.z[chosen]))
    return GivenSample(
        torch.cat(parts),
        _log_mean([codes.log_probability for codes in found]),
        sum(codes.prior_ess for codes in found),
        sum(_effective(codes.z) for codes in found),
        max(codes.temperatures for codes in found),
        any(event.is_point for event in events),
    )


def _log_mean(values: list[float]) -> float:
    return float(torch.tensor(values, dtype=torch.float64).logsumexp(0)) - math.log(len(values))


def _codes_given(vae: VAE, events: tuple[Event, ...], count: int) -> _Codes:
    """Draw ``count`` codes from p(z|E), by importance resampling in as few temperature steps as suffice."""
    prior = vae.prior_given(vae.condition_vectors(None, count))
    z = prior.sample(count)
    p = _generate(vae, z)
    log_event, usual = log_probability(p, events).double(), _usual_density(p, events)
    temperature, total, steps = 0.0, 0.0, 0
    prior_ess = _effective_size(log_event)
    scale, moves = 1.0, _is_euclidean(vae)
    if not moves and prior_ess < _LEAST_ESS:
        raise FailureError(
            f"of {count:,} draws from the prior {prior_ess:.0f} satisfy the condition, and codes on a sphere "
            "or in a codebook cannot be refined; loosen it"
        )
    while temperature < 1:
        steps += 1
        # E[L^t] is at least E[L] if L is a probability, at most 1; a density may be larger.
        _check_mass(log_event, 0.0 if usual is not None else total, events, steps)
        following = _next_temperature(log_event, temperature, z) if moves else 1.0
        log_weights = (following - temperature) * log_event
        total += float(log_weights.logsumexp(0)) - math.log(count)
        chosen = _resampled(log_weights)
        z, log_event = z[chosen], log_event[chosen]
        temperature = following
        if moves:
            z, log_event, scale = _moved(vae, events, z, log_event, temperature, scale)
    _check_mass(log_event, total - (usual or 0.0), events, steps)
    return _Codes(z, total, prior_ess, steps)


def _usual_density(p: Mixed, events: tuple[Event, ...]) -> float | None:
    """Mean log-density of drawn numbers in the columns that are given exactly; None if there are none.

    Beside it a density says how unusual a number is, whatever the unit of its column.
    """
    places = [event.place for event in events if event.is_point]
    if not places:
        return None
    return float(p.log_prob_of_cells(p.sample())[..., places].sum(-1).mean())


def _is_euclidean(vae: VAE) -> bool:
    """Whether any vector is a code."""
    return getattr(vae, "_space", None) is None and not isinstance(
        vae.prior, UniformCodes | AutoregressiveCodes
    )


def _generate(vae: VAE, z: Tensor) -> Mixed:
    found = vae.generate(z, vae.condition_vectors(None, len(z)))
    assert isinstance(found, Mixed)
    return found


def _check_mass(log_event: Tensor, total: float, events: tuple[Event, ...], steps: int) -> None:
    """Refuse an event that the model gives next to no probability."""
    asked = ", ".join(event.text for event in events)
    if not bool((log_event > -math.inf).any()):
        raise UsageError(f"the model gives the condition {asked} no probability; loosen it")
    if total < _LEAST:
        raise UsageError(
            f"the model gives the condition {asked} a probability below {math.exp(_LEAST):.0e}; loosen it"
        )
    if steps > _MOST_TEMPERATURES:
        raise FailureError(
            f"no codes found that satisfy the condition {asked} after {_MOST_TEMPERATURES} temperature "
            "steps; loosen it"
        )


def _next_temperature(log_event: Tensor, temperature: float, z: Tensor) -> float:
    """The largest temperature up to 1 whose weights keep half of the particles."""
    wanted = _KEPT * len(z)

    def keeps(to: float) -> bool:
        return _effective_size((to - temperature) * log_event) >= wanted

    if keeps(1.0):
        return 1.0
    low, high = temperature, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if keeps(middle) else (low, middle)
    return high if low == temperature else low


def _moved(
    vae: VAE, events: tuple[Event, ...], z: Tensor, log_event: Tensor, temperature: float, scale: float
) -> tuple[Tensor, Tensor, float]:
    """Some Metropolis steps at a temperature, with proposals shaped like the particles; also their scale."""
    prior = vae.prior_given(vae.condition_vectors(None, len(z)))
    d = z.shape[1]
    covariance = torch.cov(z.double().T).reshape(d, d)
    jitter = 1e-6 * torch.eye(d, dtype=covariance.dtype, device=z.device)
    root = torch.linalg.cholesky(covariance + jitter * covariance.diagonal().mean().clamp(min=1e-12))
    log_prior = prior.log_prob(z).double()
    for _ in range(_MOVES):
        noise = torch.randn(z.shape, dtype=root.dtype, device=z.device) @ root.T
        proposed = z + (scale * 2.38 / math.sqrt(d) * noise).to(z.dtype)
        log_event_there = log_probability(_generate(vae, proposed), events).double()
        log_prior_there = prior.log_prob(proposed).double()
        gain = log_prior_there - log_prior + temperature * (log_event_there - log_event)
        accepted = torch.rand(len(z), dtype=gain.dtype, device=z.device).log() < gain
        z = torch.where(accepted[:, None], proposed, z)
        log_event = torch.where(accepted, log_event_there, log_event)
        log_prior = torch.where(accepted, log_prior_there, log_prior)
        scale *= math.exp(float(accepted.double().mean()) - 0.3)
    return z, log_event, scale


def _resampled(log_weights: Tensor) -> Tensor:
    """Numbers of particles, each about N · weight times, by systematic resampling."""
    count = len(log_weights)
    edges = log_weights.softmax(0).cumsum(0)
    points = (torch.arange(count, device=edges.device) + torch.rand((), device=edges.device).double()) / count
    return torch.searchsorted(edges, points.to(edges.dtype)).clamp(max=count - 1)


def _effective_size(log_weights: Tensor) -> float:
    """(Σw)² / Σw² of weights that may all be zero."""
    if not bool((log_weights > -math.inf).any()):
        return 0.0
    weights = (log_weights - log_weights.max()).exp()
    return float(weights.sum().square() / weights.square().sum())


def _effective(z: Tensor) -> float:
    """Effective number of different codes (N, d)."""
    counts = torch.unique(z, dim=0, return_counts=True)[1].double()
    return float(counts.sum().square() / counts.square().sum())
