"""The terms that one forward pass of a VAE yields, and estimates of log p(x) from importance samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from elboroom.probability import Likelihood, Meter, Posterior, find_closed_form, importance


@dataclass(frozen=True)
class Terms:
    """The result of one forward pass for b examples with k samples each: everything an objective needs.

    Attributes
    ----------
    x : Tensor
        The examples, (b, *shape).
    posterior, likelihood, prior
        q(z|x) of b examples, p(x|z) of (k, b) codes, p(z). In a conditional model all three are given the
        examples' conditions.
    z : Tensor
        Codes (k, b, d), differentiable in the posterior's parameters.
    generate : callable
        Codes (..., b, d) → p(x|z), for bounds that need a second pass through the decoder.
    known : mapping of str to Tensor
        Those of ``log_q``, ``log_prior`` and ``rate`` that the pass has computed; others are computed on
        access.
    rates : Tensor, optional
        Rate of each stochastic layer, (L, b), top first, if there are several; they add up to ``rate``.
    """

    x: Tensor
    posterior: Posterior
    likelihood: Likelihood
    prior: Any
    z: Tensor
    generate: Callable[[Tensor], Likelihood]
    known: Mapping[str, Tensor] = field(default_factory=dict)
    rates: Tensor | None = None

    def __post_init__(self) -> None:
        self.__dict__.update(self.known)

    @cached_property
    def log_likelihood(self) -> Tensor:
        """Log p(x|z), (k, b), nats."""
        return self.likelihood.log_prob(self.x)

    @cached_property
    def log_q(self) -> Tensor:
        """Log q(z|x), (k, b), nats."""
        posterior: Any = self.posterior
        return posterior.log_prob(self.z)

    @cached_property
    def log_prior(self) -> Tensor:
        """Log p(z), (k, b), nats."""
        return self.prior.log_prob(self.z)

    @cached_property
    def rate(self) -> Tensor:
        """KL(q ‖ p), (b,), nats per example: in closed form if there is one, otherwise by Monte Carlo."""
        closed_form = find_closed_form(self.posterior, self.prior)
        if closed_form is not None:
            return closed_form(self.posterior, self.prior)
        return (self.log_q - self.log_prior).mean(0)

    @cached_property
    def distortion(self) -> Tensor:
        """−E_q log p(x|z), the mean over the k samples: (b,), nats per example."""
        log_likelihood = self.log_likelihood
        return -(log_likelihood[0] if len(log_likelihood) == 1 else log_likelihood.mean(0))

    @cached_property
    def log_weights(self) -> Tensor:
        """Importance weights log p(x|z) + log p(z) − log q(z|x), (k, b), nats."""
        return self.log_likelihood + self.log_prior - self.log_q

    @property
    def meters(self) -> dict[str, Meter]:
        """Further columns of a run's history: ``rate_1`` … of several layers, and the parts' own."""
        layers = () if self.rates is None else self.rates.unbind()
        found = {f"rate_{i}": Meter(rate.sum()) for i, rate in enumerate(layers, 1)}
        for part in (self.posterior, self.likelihood, self.prior):
            found |= getattr(part, "meters", {})
        return found


class Draws(NamedTuple):
    """A chunk of importance samples of b examples.

    Attributes
    ----------
    log_likelihood, log_weights : Tensor
        log p(x|z) and log p(x|z) + log p(z) − log q(z|x), (k, b), nats.
    rates : Tensor, optional
        Rates of each stochastic layer, (L, k, b), top first, if there are several.
    by_number : Tensor, optional
        log p(x|z) of each number of an example, (k, b, *shape), if asked for; they sum to
        ``log_likelihood``.
    """

    log_likelihood: Tensor
    log_weights: Tensor
    rates: Tensor | None = None
    by_number: Tensor | None = None


class NLL(NamedTuple):
    """Importance-sampled −log p(x) of each example, (b,), with measures of its reliability.

    Attributes
    ----------
    value : Tensor
        The estimate in nats; above −log p(x) on average.
    stderr : Tensor
        Monte Carlo standard error, by the jackknife; NaN from one sample.
    bias : Tensor
        How much too high the value is, to first order; NaN from one sample.
    ess : Tensor
        Effective sample size (Σw)² / Σw², from 1 to k.
    pareto_k : Tensor
        Shape of the tail of the weights (arXiv:1507.02646). Above 0.7 none of these numbers is reliable. NaN
        for fewer than 21 samples.
    """

    value: Tensor
    stderr: Tensor
    bias: Tensor
    ess: Tensor
    pareto_k: Tensor

    @property
    def reliable(self) -> Tensor:
        """Whether Pareto k̂ is 0.7 or less, (b,); False where it is NaN."""
        return self.pareto_k <= importance.UNRELIABLE

    @classmethod
    def from_log_weights(cls, log_weights: Tensor) -> NLL:
        """−log of the mean weight, from (k, b), in nats."""
        log_mean = torch.logsumexp(log_weights, 0) - math.log(len(log_weights))
        stderr, bias = importance.log_mean_error(log_weights)
        ess = importance.effective_sample_size(log_weights)
        return cls(-log_mean, stderr, bias, ess, importance.pareto_k(log_weights))
