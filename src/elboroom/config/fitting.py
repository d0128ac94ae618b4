"""Which posterior goes with which bound and penalty; for what does not, why, and what would.

By name, so that a configuration is refused before anything is built. Parts that are composed in Python are
checked by :func:`elboroom.probability.check_pair` and by the bounds and penalties themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from elboroom.config.likelihoods import with_measure
from elboroom.config.priors import GAUSSIAN, PRIORS, prior_of
from elboroom.config.sections import either

if TYPE_CHECKING:
    from elboroom.config.model import ModelConfig
    from elboroom.config.objective import ObjectiveConfig

_WITH_NOISE = (*GAUSSIAN, "planar", "iaf", "power_spherical", "ladder", "chain")
_WITH_DENSITY = (*GAUSSIAN, "power_spherical")

# Bound → posteriors (or networks of several layers) that fit, and what it needs of them.
_Needs = dict[str, tuple[tuple[str, ...], str]]
_BOUNDS: _Needs = {
    **dict.fromkeys(("iwae", "miwae", "piwae", "ciwae"), (_WITH_NOISE, "weighs samples by their density")),
    **dict.fromkeys(("dreg", "stl"), (_WITH_DENSITY, "takes the density of q(z|x) at given codes")),
    "capacity": (_WITH_NOISE, "leads the rate to the capacity"),
}
_PENALTIES: _Needs = {
    "total_correlation": (("diagonal",), "takes the density of each dimension by itself"),
    "decorrelation_ii": (GAUSSIAN, "takes the covariance of q(z|x)"),
    "code_norm": (
        (*(name for name in PRIORS if name != "power_spherical"), "ladder", "chain"),
        "shortens codes, all of length 1 on a sphere",
    ),
}
_DENSITIES = with_measure("density")
_LEARNED = ("mixture", "vamp", "flow")


def check_together(model: ModelConfig, objective: ObjectiveConfig) -> None:
    """Refuse an objective that has no meaning for a model.

    Raises
    ------
    ValueError
        With both names, why, and what would do.
    """
    layered = model.network in ("ladder", "chain")
    kind, name = ("network", model.network) if layered else ("posterior", model.posterior)
    asked: list[tuple[str, str, _Needs]] = [("bound", objective.bound, _BOUNDS)]
    asked += [("penalty", penalty, _PENALTIES) for penalty in objective.penalties]
    for what, choice, table in asked:
        fitting, need = table.get(choice, ((name,), ""))
        if name not in fitting:
            instead = {"bound": "bound = 'elbo'", "penalty": "leave the penalty out"}[what]
            if choice == "total_correlation":
                instead = "the penalty total_correlation_critic"
            raise ValueError(
                f"{what} {choice} {need}, and {kind} = {name!r} {_lack(name)}; "
                f"take {_kinds(fitting)}, or {instead}"
            )
    if objective.free_bits:
        _check_free_bits(model, objective.free_bits)
    if objective.num_samples > 1 and name not in _WITH_NOISE:
        raise ValueError(
            f"num_samples = {objective.num_samples}, and posterior = {name!r} gives the same code each time; "
            "leave num_samples out, or take a posterior with noise, such as 'diagonal'"
        )
    if "total_correlation" in objective.penalties and model.latent_dim < 2:
        raise ValueError(
            "penalty total_correlation is between dimensions of the code, and latent_dim is 1; give 2 or more"
        )
    if objective.beta == 0 and model.prior in _LEARNED:
        raise ValueError(
            f"prior = {model.prior!r} learns from the rate, whose weight is beta = 0; give a beta above "
            "0, or leave the prior out"
        )


def check_dequantized(likelihood: str, dequantize: str, binarize: str) -> None:
    """Refuse noise on whole numbers whose likelihood is no density of real ones.

    Raises
    ------
    ValueError
        With both names, why, and what would do.
    """
    if dequantize == "none":
        return
    if binarize != "none":
        raise ValueError(
            f"dequantize = {dequantize!r} spreads 8-bit values and binarize = {binarize!r} undoes that; "
            "leave one of the two out"
        )
    if likelihood not in (*_DENSITIES, "auto"):
        raise ValueError(
            f"dequantize = {dequantize!r} is for densities of real numbers, and likelihood = {likelihood!r} "
            f"is none; leave it out, or take likelihood = {either(_DENSITIES)}"
        )


def _check_free_bits(model: ModelConfig, nats: float) -> None:
    prior = prior_of(model.posterior, model.prior)
    if model.network == "ladder" or (
        model.network != "chain" and (model.posterior, prior) == ("diagonal", "normal")
    ):
        return
    if model.network == "chain":
        what = "network = 'chain' estimates those of its layers from draws"
    elif model.posterior != "diagonal":
        what = f"posterior = {model.posterior!r} has no rate of a dimension by itself"
    else:
        what = f"prior = {prior!r} has no rate in closed form"
    raise ValueError(
        f"free_bits = {nats:g} needs the rate of each dimension, or of each layer, in closed form, and "
        f"{what}; leave it out, or take posterior = 'diagonal' with prior = 'normal', or network = 'ladder'"
    )


def _lack(name: str) -> str:
    if name in ("deterministic", "vq", "fsq"):
        return "gives one code and no density"
    if name == "power_spherical":
        return "puts them on one"
    return "has no such thing"


def _kinds(fitting: Iterable[str]) -> str:
    return f"posterior = {either(name for name in fitting if name in PRIORS)}"
