"""Maximum mean discrepancy between the codes and the prior (InfoVAE, WAE)."""

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
    """Inverse multiquadratic length / (length + r²), whose tails still pull far codes in."""
    return length / (length + squares)


_KERNELS: dict[str, tuple[Kernel, tuple[float, ...]]] = {
    "rbf": (rbf, (1.0,)),
    "imq": (imq, (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)),  # the scales of arXiv:1711.01558's program
}


def squared_discrepancy(x: Tensor, y: Tensor, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """MMD² of two samples by the unbiased estimate (arXiv:1711.01558 algorithm 2).

    Parameters
    ----------
    x, y : Tensor
        Samples (..., n, d) and (..., m, d).
    kernel : callable
        Squared distances → similarities, elementwise.

    Returns
    -------
    Tensor
        (...), zero in mean where the distributions are the same, and so below zero at times.

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
    """Penalty MMD²(q(z), p(z)), no unit, from the batch's codes and as many draws of the prior.

    The kernel's squared length is ``scale · 2d``: 2d is the mean squared distance of two draws of N(0, I),
    so that scale 1 suits the standard normal in any dimension. Several scales are summed. With more than
    one code an example, each set of b codes is measured by itself, as codes of one example are not
    independent draws from q(z). A batch of one has no pairs, and only its distance from the prior counts.

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
        raise UsageError(f"scales = {list(chosen)}: one or more numbers above 0")

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
    """Squared distances (..., n, m), by a matrix product; rounding may not make them negative."""
    products = x @ y.mT
    norms = x.square().sum(-1)[..., :, None] + y.square().sum(-1)[..., None, :]
    return (norms - 2 * products).clamp_min(0)


def _mean_of_pairs(similarities: Tensor) -> Tensor:
    """Mean off the diagonal of (..., n, n); 0 if there is nothing."""
    n = similarities.shape[-1]
    total = similarities.sum((-2, -1)) - similarities.diagonal(dim1=-2, dim2=-1).sum(-1)
    return total / max(n * (n - 1), 1)
