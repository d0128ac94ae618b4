"""Which parts of a model can take a condition."""

from __future__ import annotations

from typing import Any

from elboroom.config.posteriors import posteriors_with
from elboroom.config.priors import PRIORS, priors_for
from elboroom.config.sections import either

# Posteriors that fit a normal prior which depends on the condition.
_ON_NORMAL = tuple(name for name in posteriors_with("noise") if "normal" in priors_for(name))


def check_condition(model: Any) -> None:
    """Refuse to condition parts of a model that cannot take a condition, or could not learn from it.

    Parameters
    ----------
    model : ModelConfig
        Its fields, of which each is valid by itself.

    Raises
    ------
    ValueError
        If some parts cannot.
    """
    if model.network == "autoencoder-kl":
        raise ValueError(
            f"condition = {model.condition!r}: network = 'autoencoder-kl' takes no condition; "
            "leave it out, or take network = 'spatial'"
        )
    parts = model.condition_parts
    others = [part for part in parts if part != "prior"]
    if model.network == "ladder" and ("decoder" in parts) != ("prior" in parts):
        raise ValueError(
            f"condition_parts = {parts!r}: a ladder's decoder is also its prior, and both take the condition "
            "or neither does; take condition_parts = encoder decoder prior, or encoder"
        )
    if len(set(parts)) < len(parts):
        raise ValueError(f"condition_parts = {parts!r}: name each part once")
    if "prior" in parts and (model.prior not in ("auto", "normal") or model.posterior not in _ON_NORMAL):
        part = "prior" if model.posterior in _ON_NORMAL else "posterior"
        rest = " ".join(others) or "encoder decoder"
        raise ValueError(
            "a conditional prior is normal and needs posteriors with a density on all of R^d, and "
            f"{part} = {getattr(model, part)!r}; take condition_parts = {rest}, or prior 'normal' with "
            f"posterior = {either(_ON_NORMAL)}"
        )
    if "encoder" in parts and model.prior in PRIORS and PRIORS[model.prior].of_posteriors:
        raise ValueError(
            f"prior = {model.prior!r} encodes pseudo-inputs, which have no condition; take "
            "condition_parts = decoder, or another prior"
        )
