"""The rate taken apart: what codes know of the examples and of one another, and how they miss the prior."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.evaluation.measure import Measure
from elboroom.evaluation.support import checked_batches
from elboroom.models.vae import VAE
from elboroom.probability.posteriors import DiagonalGaussian
from elboroom.probability.priors import StandardNormal

_BATCH = 500
_COMPARED = 8_000_000  # numbers in memory at a time, float64


def aggregate_measures(
    vae: VAE, batches: Batches, indices: NDArray[np.int64], *, codes: int = 2000, seed: int = 0
) -> dict[str, Measure]:
    """Take the rate of a model on some examples apart (arXiv:1802.04942 §2.2).

    Over the n examples, with the aggregate posterior q(z) = Σ q(z|x_i) / n,

        rate = index-code mutual information + KL(q(z) ‖ p(z))

    and with a prior that factorises the last term is the total correlation and the sum of the dimension-wise
    KLs. q(z) is summed over all n examples, and expectations are means over draws of z, so that no term is
    biased for these examples. The information cannot be more than log n: use several thousand examples.

    Parameters
    ----------
    vae : VAE
        With a diagonal Gaussian posterior and one stochastic layer.
    batches : Batches
        The data as the model saw them in training.
    indices : array
        Of the examples, (n,).
    codes : int
        Draws of z; time grows with it times n.
    seed : int
        Of the draws; the caller's randomness is left alone.

    Returns
    -------
    dict of str to Measure
        Nats: ``index_code_information``, ``marginal_kl``, and, where the prior factorises,
        ``total_correlation`` and ``dimension_wise_kl`` (by dimension in its details).

    Raises
    ------
    UsageError
        If the posterior is no diagonal Gaussian, or there are fewer than 2 examples or codes.
    """
    if min(len(indices), codes) < 2:
        raise UsageError(
            f"{len(indices)} examples and {codes} codes; at least 2 of each are needed to compare codes"
        )
    generator = torch.Generator().manual_seed(seed)
    with vae.at_rest():
        q = _posterior(vae, batches, indices, seed)
        chosen = torch.randint(len(q.mean), (codes,), generator=generator)
        noise = torch.randn(codes, q.mean.shape[1], dtype=torch.float64, generator=generator)
        z = q.mean[chosen] + q.scale[chosen] * noise
        own = DiagonalGaussian(q.mean[chosen], q.scale[chosen]).log_prob(z)
        log_prior = _log_prior(vae, z)
    joint, marginal = aggregate_log_prob(q, z)
    parts = {
        "index_code_information": (own - joint, "log q(z|x) less log q(z)"),
        "marginal_kl": (joint - log_prior, "log q(z) less log p(z)"),
    }
    each = None
    if isinstance(vae.prior, StandardNormal):
        by_dimension = marginal + 0.5 * (z.square() + math.log(2 * math.pi))
        each = by_dimension.mean(0)
        parts["total_correlation"] = (joint - marginal.sum(1), "log q(z) less the sum of log q(z_j)")
        parts["dimension_wise_kl"] = (by_dimension.sum(1), "sum of log q(z_j) less log p(z_j)")
    found = {name: _mean(values, how, len(indices), seed) for name, (values, how) in parts.items()}
    if each is not None:
        found["dimension_wise_kl"].details["dimensions"] = each.tolist()
    return found


def aggregate_log_prob(q: DiagonalGaussian, z: Tensor) -> tuple[Tensor, Tensor]:
    """Log-density of codes under the mean of n posteriors, and under its marginals.

    Parameters
    ----------
    q : DiagonalGaussian
        Of n examples, (n, d), float64.
    z : Tensor
        Codes (m, d), float64.

    Returns
    -------
    joint : Tensor
        log q(z), (m,), nats.
    marginal : Tensor
        log q(z_j), (m, d), nats.
    """
    n, d = q.mean.shape
    joint, marginal = [], []
    for some in torch.split(z, max(1, _COMPARED // (n * d))):
        each = q.marginal_log_prob(some[:, None])  # (codes, examples, d)
        joint.append(torch.logsumexp(each.sum(-1), 1) - math.log(n))
        marginal.append(torch.logsumexp(each, 1) - math.log(n))
    return torch.cat(joint), torch.cat(marginal)


def _posterior(vae: VAE, batches: Batches, indices: NDArray[np.int64], seed: int) -> DiagonalGaussian:
    batches.condition_on(vae.condition)
    means, scales = [], []
    for q in _posteriors(vae, batches, indices, seed):
        if not isinstance(q, DiagonalGaussian):
            raise UsageError(
                "measures of latents take the rate of a diagonal Gaussian posterior apart, and this model "
                "has another posterior, or several stochastic layers; leave latents out"
            )
        means.append(q.mean.cpu().double())
        scales.append(q.scale.cpu().double())
    return DiagonalGaussian(torch.cat(means), torch.cat(scales))


def _posteriors(vae: VAE, batches: Batches, indices: NDArray[np.int64], seed: int) -> Iterator[object]:
    devices = [batches.x.device] if batches.x.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)  # pixels may be drawn
        for chosen, x in checked_batches(vae, batches, indices, _BATCH):
            yield vae.infer(x, batches.conditions(chosen))


def _log_prior(vae: VAE, z: Tensor) -> Tensor:
    if vae.condition is not None:
        raise UsageError(
            "the model is conditional: its codes are those of a condition, which one aggregate posterior of "
            "all examples says nothing about"
        )
    log_prob: Callable[[Tensor], Tensor] = vae.prior.log_prob
    if isinstance(vae.prior, StandardNormal):  # it has no weights, so that float64 keeps its digits
        return log_prob(z)
    weight = next(vae.parameters())
    return torch.cat([log_prob(some.to(weight)).cpu().double() for some in torch.split(z, _BATCH)])


def _mean(values: Tensor, how: str, examples: int, seed: int) -> Measure:
    return Measure(
        value=float(values.mean()),
        error=float(values.std(correction=1)) / math.sqrt(len(values)),
        unit="nats",
        estimator=f"mean of {how} over {len(values)} draws, q(z) summed over all examples",
        examples=examples,
        seed=seed,
    )
