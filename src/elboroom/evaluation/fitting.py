"""Priors fitted after training: the aggregate posterior as a density that codes can be drawn from."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.evaluation.latent_statistics import draw_codes
from elboroom.evaluation.latent_statistics import latent_statistics as latent_statistics
from elboroom.evaluation.measure import Measure
from elboroom.models.fitted_prior import KINDS, FittedPrior
from elboroom.models.vae import VAE
from elboroom.probability.codes import UniformCodes
from elboroom.probability.flow_prior import FlowPrior
from elboroom.probability.gaussian_mixture import GaussianMixture
from elboroom.probability.posteriors import Deterministic
from elboroom.probability.priors import StandardNormal

_BATCH = 500
_FEWEST = 20
_CHOOSING = 0.1  # share of the codes by which components, or the end of a flow's training, are chosen
_COMPONENTS = (1, 2, 4, 8, 16, 32)
_EACH = 5  # codes per component, at least
_FULL = 256  # dimensions up to which full covariances are tried
_LEAST_VARIANCE = 1e-6  # added to variances of standardised codes
_LEAST_SPREAD = 1e-3  # standard deviation of a dimension that is constant, as a share of the largest
_FLOW_BATCH, _FLOW_EPOCHS, _FLOW_PATIENCE, _FLOW_LR = 256, 60, 5, 2e-3


def why_not(vae: VAE) -> str | None:
    """Say why no prior can be fitted to a model's codes; None if one can."""
    space = getattr(getattr(vae.posterior, "makes", None), "space", None)
    if vae.condition is not None or vae.conditioning is not None:
        return (
            "the model is conditional: one density of the codes of all conditions is not p(z|c); train with "
            "a conditional prior instead"
        )
    if len(vae.layers) > 1:
        return "the model has several stochastic layers, whose lower codes have a prior given the upper ones"
    if space == "sphere":
        return "its codes lie on a sphere, and draws from a mixture or a flow would not"
    if space == "codes":
        return (
            "its codes are entries of a codebook, and draws from a mixture or a flow are not; train with "
            "--prior autoregressive, which learns the entries"
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
    z = draw_codes(vae, batches, indices, seed=seed)
    if not bool(torch.isfinite(z).all()):
        raise UsageError("the codes are not all finite numbers, so that no density can be fitted to them")
    return z


def fit_prior(codes: Tensor, *, kind: str = "gmm", seed: int = 0) -> FittedPrior:
    """Fit a density to codes, as complex as those of a tenth of them that it has not seen support.

    Parameters
    ----------
    codes : Tensor
        (n, d), such as `sampled_codes` of training examples.
    kind : {"gmm", "flow"}
        A Gaussian mixture, whose number of components (1 to 32) and covariances (full or diagonal) are
        chosen by log-density of the tenth (arXiv:1903.12436 §4), or a neural spline flow, whose training
        ends when that no longer rises.
    seed : int
        Of the tenth and of the fit.

    Raises
    ------
    UsageError
        If ``kind`` is not known, or there are fewer than 20 codes or none that differ.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> z = torch.cat([torch.randn(500, 2) - 5, torch.randn(500, 2) + 5]).double()
    >>> len(fit_prior(z).density.mean)
    2
    """
    if kind not in KINDS:
        raise UsageError(f"kind = {kind!r}: must be one of {', '.join(KINDS)}")
    if codes.ndim != 2 or len(codes) < _FEWEST:
        raise UsageError(f"codes have shape {tuple(codes.shape)}; give at least {_FEWEST} of them, (n, d)")
    codes = codes.double()
    shift, spread = codes.mean(0), codes.std(0)
    least = _LEAST_SPREAD * float(spread.max())
    if least == 0:
        raise UsageError("all codes are the same: the posterior has collapsed to a point")
    constant = int((spread < least).sum())
    spread = spread.clamp_min(least)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(codes)))
    standard = ((codes - shift) / spread)[order]
    few = max(2, round(_CHOOSING * len(codes)))
    fit = _mixture if kind == "gmm" else _flow
    density, found = fit(standard[few:], standard[:few], shift, spread, seed)
    counts = {"codes": len(codes) - few, "codes_to_choose_by": few, "constant_dimensions": constant}
    return FittedPrior(kind, density, {**counts, "seed": seed, **found})


def _mixture(
    seen: Tensor, unseen: Tensor, shift: Tensor, spread: Tensor, seed: int
) -> tuple[GaussianMixture, dict[str, Any]]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture as Fit

    n, d = seen.shape
    tried: list[tuple[float, int, str, Any]] = []
    for covariance in ("full", "diag") if d <= _FULL else ("diag",):
        scores: list[float] = []
        for k in _COMPONENTS:
            # Two that are worse than the one before: more will not do better.
            if k * _EACH > n or (len(scores) > 2 and scores[-3] > max(scores[-2:])):
                break
            model = Fit(k, covariance_type=covariance, reg_covar=_LEAST_VARIANCE, random_state=seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                scores.append(float(model.fit(seen.numpy()).score(unseen.numpy())))
            tried.append((scores[-1] - float(spread.log().sum()), k, covariance, model))
    _, k, covariance, best = max(tried, key=lambda one: one[0])
    scale = torch.from_numpy(best.covariances_)
    factor = torch.linalg.cholesky(scale) * spread[:, None] if covariance == "full" else scale.sqrt() * spread
    mean = torch.from_numpy(best.means_) * spread + shift
    candidates = [{"components": k, "covariance": c, "log_density": score} for score, k, c, _ in tried]
    density = GaussianMixture(torch.from_numpy(best.weights_).log(), mean, factor)
    return density, {"components": k, "covariance": covariance, "candidates": candidates}


def _flow(
    seen: Tensor, unseen: Tensor, shift: Tensor, spread: Tensor, seed: int
) -> tuple[FlowPrior, dict[str, Any]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow = FlowPrior(seen.shape[1]).double()
        with torch.enable_grad():
            epochs = _train(flow, seen, unseen)
    with torch.no_grad():  # back to the units of the codes
        flow.shift.copy_(shift + spread * flow.shift)
        flow.log_scale.add_(spread.log())
    return flow, {"epochs": epochs}


def _train(flow: FlowPrior, seen: Tensor, unseen: Tensor) -> int:
    """Maximise the log-density of codes until that of unseen ones falls; return the epochs kept."""
    optimiser = torch.optim.Adam(flow.parameters(), lr=_FLOW_LR)
    best, kept, weights = -math.inf, 0, {}
    for epoch in range(_FLOW_EPOCHS + 1):
        if epoch:
            for part in torch.split(torch.randperm(len(seen)), _FLOW_BATCH):
                optimiser.zero_grad()
                (-flow.log_prob(seen[part]).mean()).backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
                optimiser.step()
        with torch.no_grad():
            score = float(flow.log_prob(unseen).mean())
        if score > best:
            best, kept = score, epoch
            weights = {name: tensor.clone() for name, tensor in flow.state_dict().items()}
        elif epoch - kept >= _FLOW_PATIENCE:
            break
    flow.load_state_dict(weights)
    return kept


def score_prior(vae: VAE, fitted: FittedPrior, codes: Tensor, *, seed: int = 0) -> dict[str, Measure]:
    """Log-density of held-out codes (n, d) under the fitted prior, N(0, I) and the model's prior.

    Returns
    -------
    dict of str to Measure
        Nats per example: ``fitted``, ``standard_normal``, ``model_prior`` if it is another one, and
        ``gain_over_...`` of each, whose error is that of the differences, example by example.
    """
    with torch.no_grad():
        own = fitted.density.double().log_prob(codes)
        others = {"standard_normal": StandardNormal(codes.shape[1]).log_prob(codes)}
        if not isinstance(vae.prior, StandardNormal):
            weight = next(vae.parameters())
            with vae.at_rest():
                pieces = [vae.prior.log_prob(z.to(weight)).cpu().double() for z in torch.split(codes, _BATCH)]
            others["model_prior"] = torch.cat(pieces)
    found = {"fitted": own, **others}
    found |= {f"gain_over_{name}": own - other for name, other in others.items()}
    return {name: _mean(values, seed) for name, values in found.items()}


def _mean(values: Tensor, seed: int) -> Measure:
    return Measure(
        value=float(values.mean()),
        error=float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else None,
        unit="nats",
        estimator="mean log-density of one code of each example",
        examples=len(values),
        seed=seed,
    )
