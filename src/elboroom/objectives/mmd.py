"""Maximum mean discrepancy (MMD) between the codes and the prior (InfoVAE, WAE)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from elboroom.errors import UsageError, nearest
from elboroom.models.terms import Terms

Kernel = Callable[[Tensor, float], Tensor]
"""(squared distances, squared length) → similarities in (0, 1]."""


def rbf(squares: Tensor, length: float) -> Tensor:
    """exp(−r² / length)."""
    return torch.exp(-squares / length)


def imq(squares: Tensor, length: float) -> Tensor:
    """Inverse multiquadratic length / (length + r²); its heavy tails give distant codes a gradient."""
    return length / (length + squares)


_KERNELS: dict[str, tuple[Kernel, tuple[float, ...]]] = {
    "rbf": (rbf, (1.0,)),
    "imq": (
        imq,
        (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
    ),  # the scales of the code published with arXiv:1711.01558
}


def squared_discrepancy(x: Tensor, y: Tensor, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """Unbiased estimate of MMD² between two samples (arXiv:1711.01558 algorithm 2).

    Parameters
    ----------
    x, y : Tensor
        Samples (..., n, d) and (..., m, d).
    kernel : callable
        Squared distances → similarities, elementwise.

    Returns
    -------
    Tensor
        (...), with expectation zero for equal distributions, so it can be negative.

    Examples
    --------
    >>> near = lambda squares: (squares < 0.5).double()
    >>> squared_discrepancy(torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [2.0]]), near)
    tensor(1., dtype=torch.float64)
    """
    return (
        _mean_of_pairs(kernel(_squares(x, x)))
        + _mean_of_pairs(kernel(_squares(y, y)))
        - 2 * kernel(_squares(x, y)).mean((-2, -1))
    )


def mmd(
    kernel: Literal["rbf", "imq"] = "imq", scales: Sequence[float] | None = None
) -> Callable[[Terms], Tensor]:
    """Penalty MMD²(q(z), p(z)), dimensionless, from the batch's codes and as many draws from the prior.

    The kernel's squared length is ``scale · 2d``. As 2d is the mean squared distance between two draws from
    N(0, I), a scale of 1 suits the standard normal in any dimension. Kernels of several scales are summed.
    With several codes per example, each set of b codes is compared separately, because codes of the same
    example are not independent draws from q(z). A batch of one has no pairs, so only the cross term remains.

    Parameters
    ----------
    kernel : {"rbf", "imq"}
        Gaussian exp(−r² / length) (arXiv:1706.02262) or inverse multiquadratic length / (length + r²)
        (arXiv:1711.01558).
    scales : sequence of float, optional
        1 for rbf, 0.1 to 10 for imq, as in the papers.

    Raises
    ------
    UsageError
        If the kernel is unknown or a scale is not above 0.

    Examples
    --------
    >>> from elboroom.objectives import Objective
    >>> from elboroom.objectives.schedules import constant
    >>> wae = Objective(0.0, penalties={"mmd": (mmd("imq"), constant(10.0))})
    """
    if kernel not in _KERNELS:
        raise UsageError(f"kernel = {kernel!r}; {nearest(kernel, _KERNELS)}")
    similarity, default = _KERNELS[kernel]
    chosen = tuple(default if scales is None else scales)
    if not chosen or min(chosen) <= 0:
        raise UsageError(f"scales = {list(chosen)}: give one or more numbers above 0")

    def penalty(terms: Terms) -> Tensor:
        k, b, d = terms.z.shape
        with torch.no_grad():
            prior: Tensor = terms.prior.sample(k * b).reshape(k, b, d)
        lengths = [2.0 * d * scale for scale in chosen]

        def summed(squares: Tensor) -> Tensor:
            return torch.stack([similarity(squares, length) for length in lengths]).sum(0)

        return squared_discrepancy(terms.z, prior, summed).mean()

    return penalty


def _squares(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances (..., n, m) by a matrix product, clamped at 0 against rounding."""
    products = x @ y.mT
    norms = x.square().sum(-1)[..., :, None] + y.square().sum(-1)[..., None, :]
    return (norms - 2 * products).clamp_min(0)


def _mean_of_pairs(similarities: Tensor) -> Tensor:
    """Mean of the off-diagonal elements of (..., n, n); 0 if there are none."""
    n = similarities.shape[-1]
    total = similarities.sum((-2, -1)) - similarities.diagonal(dim1=-2, dim2=-1).sum(-1)
    return total / max(n * (n - 1), 1)
