"""When an importance-sampled NLL is not to be believed, and what helps."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from elboroom.models.terms import NLL
from elboroom.probability.importance import UNRELIABLE

# For 18 % of examples chance puts k̂ above 0.7 where the shape is ½, which is reliable, and k is 100.
TOO_MANY = 0.2

_FEW = 2.0  # effective samples below which one draw carries an estimate


def reliability(nll: NLL | None) -> dict[str, Any]:
    """Sum up over examples what says how far to believe their NLLs; None where it is not known.

    Returns
    -------
    dict
        ``nll_bias``, a mean in nats; ``nll_ess`` and ``nll_pareto_k``, medians; ``nll_unreliable``, the share
        of examples with k̂ > 0.7; ``nll_verdict``, a sentence if that is more than a fifth, or,
        of too few samples for k̂, if the median of the effective sample size is below 2.
    """
    if nll is None:
        return dict.fromkeys(("nll_bias", "nll_ess", "nll_pareto_k", "nll_unreliable", "nll_verdict"))
    known = not bool(nll.pareto_k.isnan().any())
    share = float((nll.pareto_k > UNRELIABLE).double().mean()) if known else None
    return {
        "nll_bias": _number(nll.bias.mean()),
        "nll_ess": _number(nll.ess.median()),
        "nll_pareto_k": _number(nll.pareto_k.median()),
        "nll_unreliable": share,
        "nll_verdict": verdict(share) if known else _few_samples(nll),
    }


def _few_samples(nll: NLL) -> str | None:
    """Say what the effective sample size alone tells, where samples are too few for Pareto k̂."""
    ess = float(nll.ess.median())
    if bool(nll.stderr.isnan().any()) or ess >= _FEW:  # of one sample the ELBO is known, and nothing else
        return None
    return (
        f"not reliable: half of the estimates rest on {ess:.3g} effective samples or fewer, and samples are "
        "too few to tell more by Pareto k̂. Take 100 samples or more"
    )


def verdict(share: float | None) -> str | None:
    """Say that an NLL is not reliable, why and what helps; None if nothing speaks against it.

    Parameters
    ----------
    share : float or None
        Of examples with k̂ > 0.7; None if too few samples were drawn to know.

    Examples
    --------
    >>> verdict(0.03) is None
    True
    """
    if share is None or share <= TOO_MANY:
        return None
    return (
        f"not reliable: Pareto k̂ is above {UNRELIABLE} for {share:.0%} of the examples. A few samples carry "
        "their estimates, so the NLL is too high by more than its error and bias say. Take more samples "
        "and see whether the number still falls; another estimator (refined or annealed) holds here, and a "
        "posterior that fits better helps too (posterior full or iaf, bound iwae or dreg)"
    )


def _number(value: Tensor) -> float | None:
    found = float(torch.as_tensor(value))
    return found if math.isfinite(found) else None
