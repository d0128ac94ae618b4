"""Priors fitted after training: the aggregate posterior as a density that codes can be drawn from."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.evaluation import fitters
from elboroom.evaluation.index_statistics import independent_log_prob, use_of_indices
from elboroom.evaluation.latent_statistics import draw_codes
from elboroom.evaluation.latent_statistics import latent_statistics as latent_statistics
from elboroom.evaluation.measure import Measure
from elboroom.evaluation.support import checked_batches
from elboroom.models.fitted_prior import KINDS, FittedPrior
from elboroom.models.vae import VAE
from elboroom.probability.codes import UniformCodes
from elboroom.probability.posteriors import Deterministic
from elboroom.probability.priors import StandardNormal
from elboroom.probability.quantized import Quantizer

_BATCH = 500
FEWEST = 20
"""Codes that a density can be fitted to."""
_CHOOSING = 0.1  # share of the codes by which components, or the end of a training, are chosen
_LEAST_SPREAD = 1e-3  # standard deviation of a dimension that is constant, as a share of the largest


def kind_for(vae: VAE) -> str:
    """Return the kind that is fitted if none is named: that of the model's codes.

    Examples
    --------
    >>> kind_for(VAE.build(shape=(4,), hidden=[8]))
    'gmm'
    """
    return "autoregressive" if _quantised(vae) else "gmm"


def _quantised(vae: VAE) -> bool:
    return getattr(getattr(vae.posterior, "makes", None), "space", None) == "codes"


def why_not(vae: VAE, kind: str | None = None) -> str | None:
    """Say why no prior of this kind can be fitted to a model's codes; None if one can.

    Without a kind, that of the model's codes (`kind_for`) is meant.
    """
    kind = kind_for(vae) if kind is None else kind
    if vae.condition is not None or vae.conditioning is not None:
        return (
            "the model is conditional: one density of the codes of all conditions is not p(z|c); train with "
            "a conditional prior instead"
        )
    if len(vae.layers) > 1:
        return "the model has several stochastic layers, whose lower codes have a prior given the upper ones"
    if getattr(getattr(vae.posterior, "makes", None), "space", None) == "sphere":
        return "its codes lie on a sphere, and draws from a mixture or a flow would not"
    if _quantised(vae) and kind != "autoregressive":
        return (
            f"its codes are entries of a codebook, and draws of kind {kind!r} are not; kind 'autoregressive' "
            "learns the entries"
        )
    if kind == "autoregressive" and not _quantised(vae):
        others = ", ".join(repr(other) for other in KINDS if other != kind)
        return (
            "its codes are continuous, and kind 'autoregressive' is for entries of a codebook; the kinds "
            f"{others} are for such codes"
        )
    return None


def why_noise(vae: VAE, beta: float = 1.0, *, matched: bool = False) -> str | None:
    """Say why draws from a model's own prior decode to noise, where that follows from its parts.

    Parameters
    ----------
    vae : VAE
        The model, with its own prior.
    beta : float
        Weight of the rate in training, for a loss summed over dimensions.
    matched : bool
        Whether a penalty matched the codes of all examples to the prior.

    Returns
    -------
    str or None
        The reason. None says nothing about the quality of samples.

    Examples
    --------
    >>> vae = VAE.build(shape=(4,), hidden=[8], posterior="deterministic")
    >>> why_noise(vae)
    'nothing in a deterministic posterior draws the codes to the prior N(0, I)'
    """
    makes = getattr(vae.posterior, "makes", None)
    if isinstance(vae.prior, UniformCodes):
        return "entries of the codebook are drawn independently of one another, and codes of examples are not"
    if matched or not isinstance(vae.prior, StandardNormal):
        return None
    if makes is Deterministic:
        return "nothing in a deterministic posterior draws the codes to the prior N(0, I)"
    if beta < 0.1:
        return f"with beta {beta:.3g} training hardly drew the codes to the prior N(0, I)"
    return None


def sampled_codes(vae: VAE, batches: Batches, indices: NDArray[np.int64], *, seed: int = 0) -> Tensor:
    """Draw one code z ~ q(z|x) of each example, (n, d) float64 on the CPU; its code if it is deterministic.

    Of a quantised model the indices of the codebook's entries, int64 (n, P).

    Parameters
    ----------
    vae : VAE
        On the device of ``batches``.
    batches : Batches
        The data as the model saw them in training.
    indices : array
        Of the examples, (n,).
    seed : int
        Of the draws; the caller's randomness is left alone.

    Raises
    ------
    UsageError
        If no density can be fitted to such codes; the message gives the reason.
    """
    reason = why_not(vae)
    if reason is not None:
        raise UsageError(f"no prior can be fitted: {reason}")
    if _quantised(vae):
        with vae.at_rest():
            found: list[Any] = [vae.infer(x) for _, x in checked_batches(vae, batches, indices, _BATCH)]
        return torch.cat([q.indices.cpu() for q in found])
    z = draw_codes(vae, batches, indices, seed=seed)
    if not bool(torch.isfinite(z).all()):
        raise UsageError("the codes are not all finite numbers, so that no density can be fitted to them")
    return z


def fit_prior(
    codes: Tensor, *, kind: str = "gmm", seed: int = 0, quantizer: Quantizer | None = None
) -> FittedPrior:
    """Fit a density to codes, as complex as those of a tenth of them that it has not seen support.

    Parameters
    ----------
    codes : Tensor
        (n, d), such as `sampled_codes` of training examples; of a quantised model their indices (n, P).
    kind : {"gmm", "flow", "knn", "vae", "autoregressive"}
        A Gaussian mixture, whose number of components (1 to 32) and covariances (full or diagonal) are
        chosen by log-density of the tenth (arXiv:1903.12436 §4); a neural spline flow, whose training
        ends when that no longer rises; a normal at each code, as wide and as flat as its neighbours lie,
        whose bandwidth is chosen by the tenth; a second VAE on the codes (arXiv:1903.05789); for indices, a
        causal transformer (the second stage of arXiv:1711.00937 §3.3).
    seed : int
        Of the tenth and of the fit.
    quantizer : Quantizer, optional
        The model's, for kind "autoregressive": ``vae.prior.quantizer``.

    Raises
    ------
    UsageError
        If ``kind`` is not known or not for such codes, or there are fewer than 20 codes or none that differ.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> z = torch.cat([torch.randn(500, 2) - 5, torch.randn(500, 2) + 5]).double()
    >>> len(fit_prior(z).density.mean)
    2
    """
    if kind not in KINDS:
        raise UsageError(f"kind = {kind!r}: must be one of {', '.join(KINDS)}")
    if codes.ndim != 2 or len(codes) < FEWEST:
        raise UsageError(f"codes have shape {tuple(codes.shape)}; give at least {FEWEST} of them, (n, d)")
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(codes)))
    few = max(2, round(_CHOOSING * len(codes)))
    counts = {"codes": len(codes) - few, "codes_to_choose_by": few}
    if kind == "autoregressive":
        _check_indices(codes, quantizer)
        assert quantizer is not None
        prior, found = fitters.fit_indices(quantizer, codes[order][few:], codes[order][:few], seed)
        found |= {"use": use_of_indices(codes, quantizer.codebook_size)}
        return FittedPrior(kind, prior, {**counts, "constant_dimensions": 0, "seed": seed, **found})
    codes = codes.double()
    shift, spread = codes.mean(0), codes.std(0)
    least = _LEAST_SPREAD * float(spread.max())
    if least == 0:
        raise UsageError("all codes are the same: the posterior has collapsed to a point")
    counts["constant_dimensions"] = int((spread < least).sum())
    spread = spread.clamp_min(least)
    standard = ((codes - shift) / spread)[order]
    density, found = _FITS[kind](standard[few:], standard[:few], shift, spread, seed)
    return FittedPrior(kind, density, {**counts, "seed": seed, **found})


_FITS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor, int], tuple[Any, dict[str, Any]]]] = {
    "gmm": fitters.fit_mixture,
    "flow": fitters.fit_flow,
    "knn": fitters.fit_neighbours,
    "vae": fitters.fit_two_stage,
}


def _check_indices(codes: Tensor, quantizer: Quantizer | None) -> None:
    if quantizer is None or codes.is_floating_point():
        raise UsageError(
            "kind = 'autoregressive': give the indices (n, P) of a quantised model, and its quantizer; for "
            f"continuous codes there are {', '.join(_FITS)}"
        )
    if codes.shape[1] != quantizer.num_indices:
        raise UsageError(
            f"codes have shape {tuple(codes.shape)}, and the quantizer has {quantizer.num_indices} indices"
        )
    if bool((codes == codes[0]).all()):
        raise UsageError("all codes have the same indices: the quantised model has collapsed to one code")


def score_prior(
    vae: VAE, fitted: FittedPrior, codes: Tensor, *, seen: Tensor | None = None, seed: int = 0
) -> dict[str, Measure]:
    """Log-density of held-out codes (n, d) under the fitted prior, N(0, I) and the model's prior.

    Of a quantised model it is the log-probability of held-out indices (n, P), and that of a uniform draw of
    each index in place of N(0, I). ``seen`` are the indices that the prior was fitted to: a prior that has
    learned more than how often each index occurs at each position is higher than ``independent``.

    Returns
    -------
    dict of str to Measure
        Nats per example: ``fitted``, ``standard_normal`` or ``uniform``, ``independent`` if indices are
        ``seen``, ``model_prior`` if it is another one, and ``gain_over_...`` of each, whose error is that of
        the differences, example by example. Of a second VAE, ``fitted`` is a lower bound.
    """
    weight = next(vae.parameters())
    with torch.no_grad(), vae.at_rest():
        if fitted.kind == "autoregressive":
            own = _in_parts(fitted.density.log_prob_of, codes)
            quantizer = fitted.density.quantizer
            nats = quantizer.num_indices * math.log(quantizer.codebook_size)
            others = {"uniform": torch.full_like(own, -nats)}
            if seen is not None:
                others["independent"] = independent_log_prob(seen, codes, quantizer.codebook_size)
            if not isinstance(vae.prior, UniformCodes):
                others["model_prior"] = _in_parts(vae.prior.log_prob_of, codes.to(weight.device))
        else:
            own = fitted.density.double().log_prob(codes)
            others = {"standard_normal": StandardNormal(codes.shape[1]).log_prob(codes)}
            if not isinstance(vae.prior, StandardNormal):
                others["model_prior"] = _in_parts(vae.prior.log_prob, codes.to(weight))
    found = {"fitted": own, **others}
    found |= {f"gain_over_{name}": own - other for name, other in others.items()}
    estimator = _ESTIMATORS.get(fitted.kind, _ESTIMATOR)
    plain = estimator if fitted.kind == "autoregressive" else _ESTIMATOR
    ours = ("fitted", *(name for name in found if name.startswith("gain_over_")))
    return {name: _mean(values, estimator if name in ours else plain, seed) for name, values in found.items()}


_ESTIMATORS = {
    "autoregressive": "mean log-probability of the indices of each example",
    "vae": "mean lower bound, of 64 importance samples, on the log-density of one code of each example",
}
_ESTIMATOR = "mean log-density of one code of each example"


def _in_parts(log_prob: Callable[[Tensor], Tensor], codes: Tensor) -> Tensor:
    return torch.cat([log_prob(some).cpu().double() for some in torch.split(codes, _BATCH)])


def _mean(values: Tensor, estimator: str, seed: int) -> Measure:
    # Values that are all the same do not tell how much others would differ.
    spread = float(values.std()) if len(values) > 1 else 0.0
    return Measure(
        value=float(values.mean()),
        error=spread / math.sqrt(len(values)) if spread > 1e-9 * abs(float(values[0])) else None,
        unit="nats",
        estimator=estimator,
        examples=len(values),
        seed=seed,
    )
