"""Check that an objective fits a model, and a likelihood its data, by their names.

A configuration is therefore refused before anything is built. Parts composed in Python are checked by
:func:`elboroom.probability.check_pair` and by the bounds and penalties themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, get_args

from elboroom.config.bounds import BOUNDS, Need
from elboroom.config.likelihoods import with_measure
from elboroom.config.networks import LAYERED, NETWORKS
from elboroom.config.penalties import PENALTIES
from elboroom.config.posteriors import POSTERIORS, posteriors_with
from elboroom.config.priors import PRIORS, prior_of
from elboroom.config.sections import either

if TYPE_CHECKING:
    from elboroom.config.model import ModelConfig
    from elboroom.config.objective import ObjectiveConfig

# Posteriors and networks of several layers that fulfil each need of a bound or penalty.
HAVE: dict[Need, tuple[str, ...]] = {
    need: (*posteriors_with(need), *(name for name, row in NETWORKS.items() if need in row.has))
    for need in get_args(Need)
}
# How a message describes the others.
_LACK: dict[Need, str] = {
    "noise": "gives one code and no density",
    "density": "has it only at the codes that it draws itself",
    "factors": "does not factorise over dimensions",
    "covariance": "has none in closed form",
    "unbounded": "gives codes that are all of length 1",
}
_DENSITIES = with_measure("density")


def check_together(model: ModelConfig, objective: ObjectiveConfig) -> None:
    """Check that the objective fits the model.

    Raises
    ------
    ValueError
        If it does not; the message names both, the reason and what fits.
    """
    layered = model.network in LAYERED
    kind, name = ("network", model.network) if layered else ("posterior", model.posterior)
    _check_needs(model, objective, kind, name)
    if objective.free_bits:
        _check_free_bits(model, objective.free_bits)
    if objective.num_samples > 1 and name not in HAVE["noise"]:
        raise ValueError(
            f"num_samples = {objective.num_samples}, and posterior = {name!r} gives the same code each time; "
            "leave num_samples out, or take a posterior with noise, such as 'diagonal'"
        )
    if objective.beta == 0 and model.prior != "auto" and PRIORS[model.prior].learned == "from the rate":
        raise ValueError(
            f"prior = {model.prior!r} is trained by the rate, whose weight is beta = 0; give a beta above 0, "
            "or leave the prior out"
        )


def _check_needs(model: ModelConfig, objective: ObjectiveConfig, kind: str, name: str) -> None:
    bound = BOUNDS[objective.bound]
    asked = [(f"bound {objective.bound}", bound.need, bound.reason, "take bound = 'elbo'")]
    for penalty in objective.penalties:
        row = PENALTIES[penalty]
        asked.append((f"penalty {penalty}", row.need, row.reason, row.instead))
        if model.latent_dim < row.latent_dims:
            raise ValueError(
                f"penalty {penalty} compares dimensions of the code, and latent_dim = {model.latent_dim}; "
                f"give {row.latent_dims} or more"
            )
    for what, need, reason, instead in asked:
        if need is not None and name not in HAVE[need]:
            lack = _LACK["noise" if name not in (*HAVE["noise"], *HAVE[need]) else need]
            raise ValueError(
                f"{what} {reason}, and {kind} = {name!r} {lack}; {_posteriors(HAVE[need])}, or {instead}"
            )


def check_dequantized(likelihood: str, dequantize: str, binarize: str) -> None:
    """Check that dequantised data have a likelihood for real numbers.

    Raises
    ------
    ValueError
        If they do not; the message names both, the reason and what fits.
    """
    if dequantize == "none":
        return
    if binarize != "none":
        raise ValueError(
            f"dequantize = {dequantize!r} adds noise to 8-bit values and binarize = {binarize!r} removes it "
            "again; leave one of the two out"
        )
    if likelihood not in (*_DENSITIES, "auto"):
        raise ValueError(
            f"dequantize = {dequantize!r} needs a density over real numbers, and likelihood = {likelihood!r} "
            f"is none; leave it out, or take likelihood = {either(_DENSITIES)}"
        )


def _check_free_bits(model: ModelConfig, nats: float) -> None:
    prior = prior_of(model.posterior, model.prior)
    if model.network == "ladder" or (
        model.network != "chain" and (model.posterior, prior) == ("diagonal", "normal")
    ):
        return
    if model.network == "chain":
        what = "network = 'chain' estimates the rates of its layers from draws"
    elif model.posterior != "diagonal":
        what = f"posterior = {model.posterior!r} has no rate for single dimensions"
    else:
        what = f"prior = {prior!r} has no rate in closed form"
    raise ValueError(
        f"free_bits = {nats:g} needs the rate of each dimension, or of each layer, in closed form, and "
        f"{what}; leave it out, or take posterior = 'diagonal' with prior = 'normal', or network = 'ladder'"
    )


def _posteriors(names: Iterable[str]) -> str:
    return f"take posterior = {either(name for name in names if name in POSTERIORS)}"
