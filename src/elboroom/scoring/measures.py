"""Anomaly scores by the bound, the likelihood and the reconstruction: each with its error and its parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.distributed.noise import SharedNoise, noise_from
from elboroom.errors import UsageError
from elboroom.models.terms import NLL, Draws
from elboroom.models.vae import VAE
from elboroom.probability import find_closed_form
from elboroom.probability.importance import UNRELIABLE
from elboroom.probability.likelihoods import log_prob_by_number
from elboroom.scoring.contributions import Contributions

ScoreName = Literal["elbo", "nll", "reconstruction", "regret"]


@dataclass(frozen=True, eq=False)
class Scores:
    """Anomaly scores of n examples, in nats: higher is more anomalous.

    Attributes
    ----------
    name : {"elbo", "nll", "reconstruction", "regret"}
        What was measured.
    value : numpy.ndarray
        float64 (n,).
    stderr : numpy.ndarray
        Monte Carlo standard error of each value, float64 (n,): 0 where nothing is drawn, NaN where a single
        draw does not tell it.
    contributions : Contributions
        The parts of each value, which sum to it.
    unreliable : numpy.ndarray
        bool (n,): whether the importance weights of an example are too uneven for its value and error to be
        believed (Pareto k̂ > 0.7). Only "nll" has weights, and fewer than 21 draws do not tell.
    """

    name: ScoreName
    value: NDArray[np.float64]
    stderr: NDArray[np.float64]
    contributions: Contributions
    unreliable: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, chosen: slice | NDArray[Any]) -> Scores:
        """The scores of some of the examples."""
        parts = Contributions(self.contributions.by_column[chosen], self.contributions.latent[chosen])
        return Scores(self.name, self.value[chosen], self.stderr[chosen], parts, self.unreliable[chosen])

    @classmethod
    def joined(cls, parts: Sequence[Scores]) -> Scores:
        """Put the scores of several batches together."""
        return cls(
            parts[0].name,
            np.concatenate([part.value for part in parts]),
            np.concatenate([part.stderr for part in parts]),
            Contributions(
                np.concatenate([part.contributions.by_column for part in parts]),
                np.concatenate([part.contributions.latent for part in parts]),
            ),
            np.concatenate([part.unreliable for part in parts]),
        )


def measure(
    vae: VAE, x: Tensor, condition: Tensor | None, name: ScoreName, num_samples: int, *, seed: int = 0
) -> Scores:
    """Score a batch by its ELBO, its likelihood or its reconstruction.

    Parameters
    ----------
    vae : VAE
        At rest, see :meth:`elboroom.VAE.at_rest`.
    x : Tensor
        Examples (b, *shape) in model units, on the model's device.
    condition : Tensor, optional
        (b, C), of a conditional model.
    name : {"elbo", "nll", "reconstruction"}
        "elbo" is −ELBO, distortion + rate; "nll" is −log p(x), estimated with importance weights
        (arXiv:1509.00519 eq. 8); "reconstruction" is the distortion alone, −E_q log p(x|z) (J. An and S. Cho,
        Variational autoencoder based anomaly detection using reconstruction probability, 2015).
    num_samples : int
        Codes drawn from q(z|x) for each example; where a model gives one code and no density, that one is
        taken.
    seed : int
        Of the noise, which all examples share, so that a score does not depend on the examples beside it.

    Raises
    ------
    UsageError
        If "nll" is asked of a posterior without density.
    """
    q: Any = vae.infer(x, condition)
    if getattr(q, "stochastic", True):
        return _SCORES[name](draw(vae, x, condition, q, num_samples, weighted=name == "nll", seed=seed))
    if name == "nll":
        raise UsageError(
            "score = 'nll' needs the density of codes, and this model's posterior has none, as it gives one "
            "code of each example; take 'elbo' or 'reconstruction'"
        )
    terms = vae(x, 1, condition)
    by_number, rate = _host(log_prob_by_number(terms.likelihood, x)), _host(terms.rate)[None]
    drawn = Drawn(by_number[0], by_number.flatten(2).sum(-1), rate, torch.zeros_like(rate), exact=True)
    return _SCORES[name](drawn)


@dataclass(frozen=True, eq=False)
class Drawn:
    """What k draws of the codes of b examples tell, in float64 on the host.

    Attributes
    ----------
    by_number : Tensor
        Mean of log p(x|z) of each number of an example, (b, *shape), over the draws; or over the posterior,
        that is weighted by the normalised importance weights.
    log_likelihood, log_weights : Tensor
        (k, b).
    rates : Tensor
        (k, b), or (1, b) if the rate has a closed form, which no draw changes.
    exact : bool
        Nothing is random, so that one draw says all.
    """

    by_number: Tensor
    log_likelihood: Tensor
    rates: Tensor
    log_weights: Tensor
    exact: bool = False

    def error(self, draws: Tensor) -> NDArray[np.float64]:
        """Standard error of the mean over draws (k, b), (b,)."""
        k, b = draws.shape
        if self.exact:
            return np.zeros(b)
        return np.full(b, np.nan) if k == 1 else (draws.std(0, correction=1) / math.sqrt(k)).numpy()


def draw(
    vae: VAE,
    x: Tensor,
    condition: Tensor | None,
    q: Any,
    num_samples: int,
    *,
    weighted: bool = False,
    seed: int = 0,
) -> Drawn:
    """Draw codes of x (b, *shape) from its posterior q, and average log p(x|z) of each number over them.

    Parameters
    ----------
    vae, x, condition, num_samples, seed
        As in :func:`measure`.
    q : Posterior
        q(z|x) of these examples, with a density.
    weighted : bool
        Average over p(z|x) by importance weights, instead of over q.
    """
    closed_form = find_closed_form(q, prior := vae.prior_given(vae.condition_vectors(condition, len(x))))
    log_likelihood, log_weights, rates = [], [], []
    mean, log_total = torch.zeros(x.shape, dtype=torch.float64), torch.tensor(-torch.inf)
    noise = SharedNoise(seed)
    for draws in _with_noise(noise, vae.importance(x, num_samples, condition, posterior=q, by_number=True)):
        noise.next_draws()
        assert draws.by_number is not None
        each = _host(draws.by_number)
        log_p = each.flatten(2).sum(-1)  # in float64, so that the parts add up
        ratio = _host(draws.log_weights - draws.log_likelihood)
        log_likelihood.append(log_p)
        log_weights.append(log_p + ratio)
        rates.append(-ratio if draws.rates is None else _host(draws.rates).sum(0))
        log_of_each = log_weights[-1] if weighted else torch.zeros_like(log_p)
        mean, log_total = _averaged(mean, log_total, each, log_of_each)
    rate = torch.cat(rates) if closed_form is None else _host(closed_form(q, prior))[None]
    return Drawn(mean, torch.cat(log_likelihood), rate, torch.cat(log_weights))


def _with_noise(noise: SharedNoise, chunks: Iterator[Draws]) -> Iterator[Draws]:
    """Draw each chunk with this noise."""
    while True:
        with noise_from(noise):
            draws = next(chunks, None)
        if draws is None:
            return
        yield draws


def _averaged(mean: Tensor, log_total: Tensor, values: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean (b, *shape) and logarithm of all weights (b,), with k more values (k, b, *shape)."""
    log_sum = torch.logsumexp(log_weights, 0)
    shares = torch.exp(log_weights - log_sum)
    shares = torch.where(log_sum == -torch.inf, 1 / len(values), shares)  # all impossible: a plain mean
    shares = shares.reshape(*shares.shape, *[1] * (values.ndim - 2))
    here = torch.where(shares > 0, shares * values, 0.0).sum(0)
    log_all = torch.logaddexp(log_total, log_sum)
    old, new = (torch.exp(part - log_all) for part in (log_total, log_sum))
    none = log_all == -torch.inf
    old, new = (torch.where(none, 0.5, part).reshape(-1, *[1] * (mean.ndim - 1)) for part in (old, new))
    return torch.where(old > 0, old * mean, 0.0) + torch.where(new > 0, new * here, 0.0), log_all


def _elbo(drawn: Drawn) -> Scores:
    rate = drawn.rates.mean(0).numpy()
    return _scores("elbo", drawn, rate, drawn.error(drawn.log_likelihood - drawn.rates))


def _reconstruction(drawn: Drawn) -> Scores:
    nothing = np.zeros(drawn.log_likelihood.shape[1])
    return _scores("reconstruction", drawn, nothing, drawn.error(drawn.log_likelihood))


def _nll(drawn: Drawn) -> Scores:
    nll = NLL.from_log_weights(drawn.log_weights)
    value = nll.value.numpy()
    with np.errstate(invalid="ignore"):  # ∞ − ∞ where an example is impossible
        latent = value + drawn.by_number.flatten(1).sum(1).numpy()
    return _scores("nll", drawn, latent, nll.stderr.numpy(), nll)


_SCORES: dict[str, Callable[[Drawn], Scores]] = {
    "elbo": _elbo,
    "nll": _nll,
    "reconstruction": _reconstruction,
}


def _scores(
    name: ScoreName,
    drawn: Drawn,
    latent: NDArray[np.float64],
    stderr: NDArray[np.float64],
    nll: NLL | None = None,
) -> Scores:
    parts = Contributions(0.0 - drawn.by_number.numpy(), latent)  # 0, not -0, for a missing cell
    value = parts.total if nll is None else nll.value.numpy()
    unreliable = np.zeros(len(value), bool) if nll is None else (nll.pareto_k > UNRELIABLE).numpy()
    return Scores(name, value, stderr, parts, unreliable)


def _host(values: Tensor) -> Tensor:
    return values.detach().double().cpu()
