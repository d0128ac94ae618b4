"""How a quantised model uses its codes, and their probability if positions were independent."""

from __future__ import annotations

import torch
from torch import Tensor

from elboroom.probability.codebooks import counts_of, perplexity

_PSEUDO_COUNTS = tuple(2.0**power for power in range(-20, 2))  # added to the count of each code
_ALIKE = 2.0


def use_of_indices(indices: Tensor, size: int) -> dict[str, float]:
    """Count different rows of indices (n, P) into ``size`` codes, and the codes in use at a place.

    Returns
    -------
    dict
        ``rows``, how many there are; ``different_rows``; ``perplexity`` of the codes at a place, 1 to
        ``size``, the geometric mean over places.

    Examples
    --------
    >>> use_of_indices(torch.tensor([[0, 1], [1, 1], [0, 1], [1, 1]]), 3)
    {'rows': 4, 'different_rows': 2, 'perplexity': 1.414}
    """
    by_place = torch.stack([counts_of(place, size) for place in indices.T])
    return {
        "rows": len(indices),
        "different_rows": len(torch.unique(indices, dim=0)),
        "perplexity": round(float(perplexity(by_place).log().mean().exp()), 3),
    }


def why_alike(use: dict[str, float]) -> str | None:
    """Say that the rows of indices are nearly all alike, if a place uses less than two codes.

    Examples
    --------
    >>> why_alike({"rows": 50, "different_rows": 2, "perplexity": 1.2})
    'the quantised model has nearly collapsed: 50 examples have 2 different rows of indices'
    """
    if use["perplexity"] >= _ALIKE:
        return None
    return (
        f"the quantised model has nearly collapsed: {use['rows']:,} examples have "
        f"{use['different_rows']:,} different rows of indices"
    )


def independent_log_prob(seen: Tensor, indices: Tensor, size: int) -> Tensor:
    """Log-probability of rows of indices (n, P) if each position had its own frequencies in ``seen`` (m, P).

    A pseudo-count is added to the count of each of the ``size`` codes: the one that explains each row of
    ``seen`` best from the other rows.

    Returns
    -------
    Tensor
        (n,), float64, nats.

    Examples
    --------
    >>> seen = torch.tensor([[0], [0], [0], [1]])
    >>> chances = independent_log_prob(seen, torch.tensor([[0], [1], [2]]), 3).exp()
    >>> chances[0] > chances[1] > chances[2] and round(float(chances.sum()), 9)
    1.0
    """
    counts = torch.stack([counts_of(place, size) for place in seen.T]).double()
    m, others = len(seen), counts.gather(1, seen.T) - 1

    def left_out(more: float) -> float:
        return float(((others + more) / (m - 1 + size * more)).log().sum())

    more = max(_PSEUDO_COUNTS, key=left_out)
    chances = (counts + more) / (m + size * more)
    return chances.log().gather(1, indices.T).sum(0)
