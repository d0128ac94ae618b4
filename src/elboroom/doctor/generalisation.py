"""Diseases that show beside held-out examples: overfit networks, memorised samples, a hole in the prior."""

from __future__ import annotations

import math

from elboroom.doctor.chart import Chart
from elboroom.doctor.finding import Finding

_ENCODER = 3.0  # times the gap of training examples
_DECODER = 0.15  # share of what training gained
_NEARER = 0.8  # share of samples; 0.5 if nothing is memorised, and up to 0.76 among some 150 examples
_FEW_NATS = 0.005  # of a number of an example
_HOLE = 1.0  # nats
_MUCH = 1 / 3  # of the rate, where beta is no reason for a hole
_SMALLER = 8


def overfit_encoder(chart: Chart) -> Finding | None:
    """Posteriors that fit training examples far better than held-out ones (arXiv:1801.03558)."""
    seen = chart.held_out
    if seen is None or seen.held_out.refined is None:
        return None
    own, other = seen.train.gaps, seen.held_out.gaps
    error = math.hypot(own.std() / math.sqrt(len(own)), other.std() / math.sqrt(len(other)))
    more = float(other.mean() - own.mean())
    little = _FEW_NATS * math.prod(chart.shape or (1,))
    if other.mean() <= _ENCODER * own.mean() or more <= max(3 * error, little):
        return None
    said = (
        f"50 gradient steps on each posterior gain {other.mean():.3g} nats on held-out examples, and "
        f"{own.mean():.3g} on training examples"
    )
    known = {"gap_train": float(own.mean()), "gap_held_out": float(other.mean())}
    return Finding(said, known, *_less_capacity(chart))


def overfit_decoder(chart: Chart) -> Finding | None:
    """A bound with the best posteriors that is much better on training examples."""
    seen = chart.held_out
    if seen is None or seen.train.refined is None or seen.held_out.refined is None:
        return None
    own, other = float(seen.train.refined.mean()), float(seen.held_out.refined.mean())
    gained = own - chart.first_elbo
    if not gained > 0 or own - other <= _DECODER * gained:
        return None
    said = (
        f"with refined posteriors the ELBO is {own:.4g} nats on training examples and {other:.4g} on "
        f"held-out ones, a difference of {(own - other) / gained:.0%} of what training gained"
    )
    known = {"train": own, "held_out": other, "gained": gained}
    return Finding(said, known, *_less_capacity(chart))


def memorised(chart: Chart) -> Finding | None:
    """Samples that lie closer to training examples than to as many held-out ones."""
    seen = chart.samples
    if seen is None or seen.nearer <= max(_NEARER, 0.5 + 3 * seen.error):
        return None
    count = len(seen.train)
    said = (
        f"{seen.nearer:.0%} of {len(seen.drawn)} samples are nearer to one of {count} training examples "
        f"than to one of {count} held-out ones; 50% would be if none were memorised"
    )
    known = {"nearer": seen.nearer, "error": seen.error, "examples": count}
    return Finding(said, known, *_less_capacity(chart))


def prior_hole(chart: Chart) -> Finding | None:
    """Codes that fill little of the prior, most often as the rate hardly counted in training."""
    if chart.hole is None or chart.hole <= _HOLE:
        return None
    beta, row = chart.config.objective.beta, chart.history[-1]
    rate = float(row.get("val_rate", row["rate"]))
    if beta >= 1 and chart.hole <= _MUCH * rate:
        return None
    said = (
        f"a density fitted to the codes explains those of held-out examples better than the prior by "
        f"{chart.hole:.3g} of the {rate:.3g} nats of their rate, so that samples come from where no codes are"
    )
    known = {"nats": chart.hole, "rate": rate, "beta": beta}
    effect = "would learn where the codes are; 'elboroom fit-prior' does so without training again"
    return Finding(said, known, {"prior": _prior_over_codes(chart)}, effect)


def _prior_over_codes(chart: Chart) -> str:
    """Name a learned prior: a mixture, or, of codes that beta has not kept near N(0, I), one made of them."""
    model = chart.config.model
    if chart.config.objective.beta < 1 or model.posterior != "diagonal" or model.condition != "none":
        return "mixture"
    return "mixture" if model.prior == "vamp" else "vamp"


def _less_capacity(chart: Chart) -> tuple[dict[str, object], str]:
    model = chart.config.model
    if model.network in ("auto", "mlp"):
        smaller = tuple(max(_SMALLER, width // _SMALLER) for width in model.hidden)
        return {"hidden": smaller}, "has less room to learn examples by heart"
    if not chart.config.data.flip and len(chart.shape or ()) == 3:
        return {"flip": True}, "shows mirror images as well"
    return {"patience": max(2, len(chart.history) // 20)}, "stops when the validation examples gain no more"
