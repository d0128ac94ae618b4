"""Total correlation of the aggregate posterior, estimated within a batch (β-TCVAE, arXiv:1802.04942)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from elboroom.config.sections import either
from elboroom.errors import UsageError
from elboroom.models.terms import Terms

Estimator = Literal["stratified", "weighted"]
_ESTIMATORS: tuple[Estimator, ...] = ("stratified", "weighted")


def batch_log_weights(
    dataset_size: int,
    batch_size: int,
    estimator: Estimator,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Log-weights with which a batch represents the whole data set.

    With codes zᵢ from q(z|xᵢ) of the batch, q(zᵢ) = 1/N Σₙ q(zᵢ|xₙ) is estimated by Σⱼ Wᵢⱼ q(zᵢ|xⱼ).

    ``stratified``: Wᵢᵢ = 1/N and Wᵢⱼ = (N − 1)/(N (M − 1)). Example i is in every batch that holds its code,
    so it counts once, and the M − 1 others represent the remaining N − 1. The estimate is unbiased for q(zᵢ)
    over batches drawn without replacement that contain i. The paper's weights favour one other example by its
    position in the batch; these weights are their mean over all orders of the batch.

    ``weighted``: Wᵢⱼ = 1/(N M). The expected log of the estimate is a lower bound, too low by log M for
    posteriors that do not overlap and by log N for posteriors that coincide.

    Parameters
    ----------
    dataset_size, batch_size : int
        N and M; a batch larger than the data set is treated as M = N.
    estimator : {"stratified", "weighted"}
        The weights.
    dtype, device : optional
        Of the result.

    Returns
    -------
    Tensor
        (M, M): rows for codes, columns for examples.

    Examples
    --------
    >>> batch_log_weights(5, 3, "stratified").exp().sum(1)
    tensor([1.0000, 1.0000, 1.0000])
    """
    M = batch_size
    N = max(dataset_size, M)
    # In a batch of one there are no others; the total correlation is then constant.
    others = math.log((N - 1) / (N * max(M - 1, 1))) if N > 1 else 0.0
    value = others if estimator == "stratified" else -math.log(N * M)
    weights = torch.full((M, M), value, dtype=dtype, device=device)
    return weights.fill_diagonal_(-math.log(N)) if estimator == "stratified" else weights


def total_correlation(dataset_size: int, estimator: Estimator = "stratified") -> Callable[[Terms], Tensor]:
    """Penalty KL(q(z) ‖ Πⱼ q(zⱼ)) in nats, estimated from all pairs of a batch (arXiv:1802.04942 eq. 2).

    The rate is the sum of mutual information, total correlation and dimension-wise KL. β-TCVAE weights the
    second by β, so it is the ELBO with this penalty at weight β − 1. The logarithms make the estimate biased
    even where the estimates of q(z) and q(zⱼ) are unbiased, less so in larger batches. It takes b²·d numbers
    of memory per sample.

    Parameters
    ----------
    dataset_size : int
        Number of training examples, N.
    estimator : {"stratified", "weighted"}
        How a batch represents the data set; see :func:`batch_log_weights`.

    Raises
    ------
    UsageError
        If an argument is out of range, or, when the penalty is called, if the posterior does not factorise.

    Examples
    --------
    >>> from elboroom.objectives import Objective
    >>> from elboroom.objectives.schedules import constant
    >>> beta = 6.0
    >>> objective = Objective(penalties={"tc": (total_correlation(60_000), constant(beta - 1))})
    """
    if dataset_size < 1:
        raise UsageError(f"dataset_size = {dataset_size}: the number of training examples must be at least 1")
    if estimator not in _ESTIMATORS:
        raise UsageError(f"estimator = {estimator!r}: must be {either(_ESTIMATORS)}")

    def penalty(terms: Terms) -> Tensor:
        z = terms.z  # (k, b, d)
        marginal = getattr(terms.posterior, "marginal_log_prob", None)
        if marginal is None:
            raise UsageError(
                f"total_correlation needs a posterior that factorises over its dimensions, and "
                f"{type(terms.posterior).__name__} does not; use the diagonal Gaussian, or a critic"
            )
        log_q: Tensor = marginal(z[:, :, None])  # (k, b codes, b examples, d)
        log_weights = batch_log_weights(dataset_size, z.shape[1], estimator, dtype=z.dtype, device=z.device)
        log_joint = torch.logsumexp(log_q.sum(-1) + log_weights, -1)
        log_marginals = torch.logsumexp(log_q + log_weights[..., None], -2).sum(-1)
        return (log_joint - log_marginals).mean()

    return penalty
