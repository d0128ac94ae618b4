"""Diseases of the codes: a wrong weight of the rate, collapse, unused dimensions and layers, dead codes."""

from __future__ import annotations

import math

import numpy as np

from elboroom.doctor.chart import Chart
from elboroom.doctor.finding import Finding
from elboroom.evaluation.health import ACTIVE_VARIANCE

_NOTHING = 0.1  # nats of rate
_MANY = 16  # numbers in an example, from which a mean and a sum differ much
_NEAR = 2.0
_ALMOST_ALL = 0.95
_USED = 0.1
_STEEP_LR = 0.02
_LEAST = 4  # dimensions


def kl_weight(chart: Chart) -> Finding | None:
    """A weight of the rate that is meant for a loss averaged over dimensions, or one averaged in part."""
    if not chart.has_rate or chart.shape is None or chart.config.objective.penalties:
        return None
    numbers, beta = math.prod(chart.shape), chart.config.objective.beta
    if numbers < _MANY or not chart.history:
        return None
    rate = float(chart.history[-1]["rate"])
    known = {"beta": beta, "numbers": numbers, "rate": rate}
    if 1 / _NEAR <= beta * numbers <= _NEAR:
        said = (
            f"beta {beta:.3g} times the {numbers:,} numbers of an example is {beta * numbers:.3g}, as if the "
            f"loss were averaged over them and not summed; the rate is {rate:.3g} nats"
        )
        return Finding(said, known, {"beta": 1.0}, "weighs rate and distortion as the ELBO does")
    if numbers / _NEAR <= beta <= numbers * _NEAR and rate < _NOTHING:
        said = (
            f"beta {beta:g} is about the count of numbers of an example, {numbers:,}; the rate is "
            f"{rate:.3g} nats"
        )
        return Finding(said, known, {"beta": 1.0}, "weighs rate and distortion as the ELBO does")
    return None


def collapse(chart: Chart) -> Finding | None:
    """Codes that say nothing of the examples: a rate near 0, though the data vary."""
    if not chart.has_rate or not chart.history or _constant(chart):
        return None
    row = chart.history[-1]
    if row["beta"] == 0:
        return None  # its ramp has not begun
    rate = float(row.get("val_rate", row["rate"]))
    if rate >= _NOTHING:
        return None
    said, known = f"the rate is {rate:.2g} nats: codes say nothing of the examples", {"rate": rate}
    if chart.codes is not None:
        largest = float(chart.codes.mean.var(0).max())
        if largest > ACTIVE_VARIANCE:
            return None
        known["largest_variance"] = largest
        said += f"; the largest variance of their means is {largest:.2g}"
    objective, lr = chart.config.objective, chart.config.optimizer.lr
    if lr >= _STEEP_LR:
        return Finding(said, {**known, "lr": lr}, {"lr": 1e-3}, "takes steps that the encoder survives")
    if objective.beta > 1:
        return Finding(said, known, {"beta": 1.0}, "charges less for the rate")
    if objective.bound == "elbo" and not objective.free_bits:
        return Finding(said, known, {"free_bits": 0.5}, "frees half a nat of each dimension from the KL term")
    return Finding(said, known, {"beta_schedule": "linear"}, "begins without the KL term")


def unused(chart: Chart) -> Finding | None:
    """Most dimensions are not used, or a few carry almost all of the rate."""
    codes = chart.codes
    if codes is None or not chart.has_rate or chart.config.model.prior not in ("auto", "normal"):
        return None
    d = codes.mean.shape[1]
    active = int((codes.mean.var(0) > ACTIVE_VARIANCE).sum())
    if d < _LEAST or not active:  # none is a collapse
        return None
    rates = np.sort(codes.rates)[::-1]
    carrying = int(np.searchsorted(np.cumsum(rates), _ALMOST_ALL * rates.sum()) + 1)
    if min(active, carrying) > d / 2:
        return None
    known = {"dimensions": d, "active": active, "carrying": carrying}
    if active <= d / 2:
        said = (
            f"{active} of {d} latent dimensions are active (a variance of the mean above {ACTIVE_VARIANCE:g})"
        )
    else:
        said = f"{carrying} of {d} latent dimensions carry {_ALMOST_ALL:.0%} of the rate"
    return Finding(said, known, {"latent_dim": min(active, carrying)}, "keeps those that are used")


def idle_layers(chart: Chart) -> Finding | None:
    """Layers of a ladder or a chain without information."""
    rates = chart.metrics.get("rate_of_layers") or ()
    objective = chart.config.objective
    idle = [number for number, rate in enumerate(rates, 1) if rate < _NOTHING]
    if not idle or len(rates) < 2 or objective.bound != "elbo" or objective.free_bits:
        return None
    which = f"layer{'' if len(idle) == 1 else 's'} {', '.join(map(str, idle))} of {len(rates)}"
    known = {"idle": len(idle), "layers": len(rates)}
    said = f"{which} carr{'ies' if len(idle) == 1 else 'y'} less than {_NOTHING:g} nats"
    model = chart.config.model
    if model.network == "chain":  # whose rates are estimated from draws, so that none are free
        if objective.beta_schedule == "constant":
            return Finding(said, known, {"beta_schedule": "linear"}, "begins without the KL term")
        used = [number for number in range(len(rates)) if number + 1 not in idle]
        change = {
            name: tuple(getattr(model, name)[i] for i in used) for name in ("chain_dims", "chain_hidden")
        }
        return Finding(said, known, change, "would keep the layers that are used") if used else None
    nats = float(f"{max(sum(rates) / len(rates) / 2, _NOTHING):.1g}")
    return Finding(said, known, {"free_bits": nats}, "frees that many nats per layer")


def dead_codes(chart: Chart) -> Finding | None:
    """A codebook most of whose entries are not used."""
    model = chart.config.model
    if chart.composed or model.posterior != "vq" or not chart.history:
        return None
    used = chart.history[-1].get("perplexity")
    if used is None or used >= _USED * model.codebook_size:
        return None
    smaller = max(2, 2 ** math.ceil(math.log2(max(1.0, used)) + 1))
    said = f"training uses {used:.3g} of the {model.codebook_size:,} codebook entries (perplexity)"
    known = {"perplexity": used, "codebook_size": model.codebook_size}
    return Finding(said, known, {"codebook_size": smaller}, "keeps as many as are used")


def _constant(chart: Chart) -> bool:
    return chart.values is not None and not bool((chart.values != chart.values[:1]).any())
