"""How each kind of prior is fitted to codes: on most of them, and as complex as the rest support."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from elboroom.errors import UsageError
from elboroom.probability.codes import AutoregressiveCodes, fit_code_prior
from elboroom.probability.flow_prior import FlowPrior
from elboroom.probability.gaussian_mixture import GaussianMixture
from elboroom.probability.neighbours import (
    NeighbourMixture,
    local_axes,
    neighbours_of,
    parts_of,
    pieces_of,
)
from elboroom.probability.quantized import Quantizer
from elboroom.probability.two_stage import TwoStagePrior

_COMPONENTS = (1, 2, 4, 8, 16, 32)
_EACH = 5  # codes per component, at least
_FULL = 256  # dimensions up to which full covariances are tried
_LEAST_VARIANCE = 1e-6  # added to variances of standardised codes
_NEIGHBOURS = (5, 10, 20, 40)
_BANDWIDTHS = tuple(2 ** (power / 4) for power in range(-12, 9))  # 1/8 to 4
_ROUNDNESS = (0.03, 0.1, 0.3, 1.0)
_STEPS_IN_MEMORY = 40_000_000  # numbers: of steps from each code to its neighbours
_TRAINED = {  # epochs at most, epochs without a rise, codes in a step, learning rate
    "flow": (60, 5, 256, 2e-3),
    "vae": (200, 15, 64, 3e-3),
}
_WIDTH, _LAYERS, _HEADS = 64, 2, 4  # of the transformer over indices
_CODE_EPOCHS, _CODE_PATIENCE, _CODE_BATCH, _CODE_LR = 60, 3, 64, 2e-3


def fit_mixture(
    seen: Tensor, unseen: Tensor, shift: Tensor, spread: Tensor, seed: int
) -> tuple[GaussianMixture, dict[str, Any]]:
    """Fit a Gaussian mixture to standardised codes; components and covariances are chosen by the unseen."""
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


def fit_neighbours(
    seen: Tensor, unseen: Tensor, shift: Tensor, spread: Tensor, _seed: int
) -> tuple[NeighbourMixture, dict[str, Any]]:
    """Choose neighbours, bandwidth and roundness of a normal at each code by the unseen codes."""
    n, d = seen.shape
    counts = [k for k in _NEIGHBOURS if k < n and n * min(k, d) * max(k, d) <= _STEPS_IN_MEMORY]
    if not counts:
        raise UsageError(
            f"{n:,} codes of {d:,} numbers are too many for kind 'knn', which keeps the steps between "
            "neighbours in memory; give fewer codes"
        )
    near = neighbours_of(seen, max(counts))
    offset = float(spread.log().sum())
    candidates = []
    for k in counts:
        table = neighbour_scores(seen, unseen, near[:, :k])
        for roundness, row in zip(_ROUNDNESS, table.tolist(), strict=True):
            score, bandwidth = max(zip(row, _BANDWIDTHS, strict=True))
            candidates.append(
                {
                    "neighbours": k,
                    "bandwidth": bandwidth,
                    "roundness": roundness,
                    "log_density": score - offset,
                }
            )
    best = max(candidates, key=lambda one: one["log_density"])
    chosen = {name: best[name] for name in ("neighbours", "bandwidth", "roundness")}
    density = NeighbourMixture(
        seen, near[:, : int(best["neighbours"])], shift, spread, best["bandwidth"], best["roundness"]
    )
    return density, {**chosen, "candidates": candidates}


def neighbour_scores(seen: Tensor, unseen: Tensor, near: Tensor) -> Tensor:
    """Mean log-density of unseen codes for each roundness and bandwidth, from one pass over all pairs."""
    axes, variances = local_axes(seen, near)
    n, d = seen.shape
    mean = variances.sum(1) / d + _LEAST_VARIANCE
    widths = torch.tensor(_BANDWIDTHS, dtype=seen.dtype)
    normal = 0.5 * d * math.log(2 * math.pi) + math.log(n)
    totals = torch.zeros(len(_ROUNDNESS), len(_BANDWIDTHS), dtype=seen.dtype)
    for piece in torch.split(unseen, pieces_of(axes)):
        within, beside = parts_of(piece, seen, axes)
        for i, roundness in enumerate(_ROUNDNESS):
            floor = roundness * mean
            along = (1 - roundness) * variances + floor[:, None]
            squares = torch.einsum("mnr,nr->mn", within, 1 / along) + beside / floor
            log_det = along.log().sum(1) + (d - along.shape[1]) * floor.log()
            for j, width in enumerate(widths):
                each = -0.5 * (squares / width.square() + log_det) - d * width.log()
                totals[i, j] += (torch.logsumexp(each, 1) - normal).sum()
    return totals / len(unseen)


def fit_flow(
    seen: Tensor, unseen: Tensor, shift: Tensor, spread: Tensor, seed: int
) -> tuple[FlowPrior, dict[str, Any]]:
    """Train a neural spline flow on standardised codes until the log-density of the unseen falls."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow = FlowPrior(seen.shape[1]).double()
        with torch.enable_grad():
            epochs = _train(flow, flow.log_prob, seen, unseen, "flow")
    with torch.no_grad():  # back to the units of the codes
        flow.shift.copy_(shift + spread * flow.shift)
        flow.log_scale.add_(spread.log())
    return flow, {"epochs": epochs}


def fit_two_stage(
    seen: Tensor, unseen: Tensor, shift: Tensor, spread: Tensor, seed: int
) -> tuple[TwoStagePrior, dict[str, Any]]:
    """Train a second VAE on standardised codes until the log-density of the unseen falls."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # In float32, twice as fast; a fit by gradient steps is not more exact than that.
        vae = TwoStagePrior(seen.shape[1])
        with torch.enable_grad():
            epochs = _train(vae, vae.elbo, seen.float(), unseen.float(), "vae")
    vae = vae.double()
    vae.shift.copy_(shift)
    vae.spread.copy_(spread)
    return vae, {"epochs": epochs}


def _train(
    model: FlowPrior | TwoStagePrior,
    score: Callable[[Tensor], Tensor],
    seen: Tensor,
    unseen: Tensor,
    kind: str,
) -> int:
    """Maximise the score of codes until the log-density of unseen ones falls; return the epochs kept."""
    most, patience, batch, lr = _TRAINED[kind]
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    best, kept, weights = -math.inf, 0, {}
    for epoch in range(most + 1):
        if epoch:
            for part in torch.split(torch.randperm(len(seen)), batch):
                optimiser.zero_grad()
                (-score(seen[part]).mean()).backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
                optimiser.step()
        with torch.no_grad():
            value = float(model.log_prob(unseen).mean())
        if value > best:
            best, kept = value, epoch
            weights = _copy(model)
        elif epoch - kept >= patience:
            break
    model.load_state_dict(weights)
    return kept


def fit_indices(
    quantizer: Quantizer, seen: Tensor, unseen: Tensor, seed: int
) -> tuple[AutoregressiveCodes, dict[str, Any]]:
    """Train a causal transformer on rows of indices until the log-probability of the unseen falls."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        prior = AutoregressiveCodes(quantizer, width=_WIDTH, layers=_LAYERS, heads=_HEADS)
        best, kept, weights = _mean_nats(prior, unseen), 0, _copy(prior)

        def is_over(epoch: int, _nats: float) -> bool:
            nonlocal best, kept, weights
            value = _mean_nats(prior, unseen)
            if value > best:
                best, kept, weights = value, epoch, _copy(prior)
            return epoch - kept >= _CODE_PATIENCE

        with torch.enable_grad():
            fit_code_prior(
                prior, seen, epochs=_CODE_EPOCHS, batch_size=_CODE_BATCH, lr=_CODE_LR, on_epoch=is_over
            )
    prior.load_state_dict(weights)
    return prior, {"epochs": kept, "width": _WIDTH, "layers": _LAYERS, "heads": _HEADS}


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _mean_nats(prior: AutoregressiveCodes, indices: Tensor) -> float:
    with torch.no_grad():
        return float(torch.cat([prior.log_prob_of(rows) for rows in torch.split(indices, 500)]).mean())
