"""Conversion of beta to programs that average the loss over dimensions instead of summing it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from elboroom.config import Config
from elboroom.config.bounds import BOUNDS
from elboroom.config.posteriors import POSTERIORS

# The error that other programs use; −log p(x|z) differs from it by a constant and a factor.
_ERRORS = {
    "bernoulli": "binary cross-entropy",
    "categorical": "cross-entropy",
    "gaussian": "squared error",
    "laplace": "absolute error",
}
_ON_GRIDS = ("spatial", "autoencoder-kl")
_NLL = "negative log-likelihood"


def beta_in_words(config: Config, shape: Sequence[int]) -> str:
    """Explain beta, and give its equivalent in programs that average the error over dimensions.

    Parameters
    ----------
    config : Config
        With a likelihood other than "auto".
    shape : sequence of int
        Shape of one example.

    Examples
    --------
    >>> from elboroom.config import Config
    >>> print(beta_in_words(Config().updated(likelihood="gaussian", beta=2.0), (28, 28, 1)))
    beta 2 weighs the rate in a loss summed over dimensions, where 1 gives the ELBO. With the squared...
    """
    objective, batch = config.objective, config.training.step_size
    beta = objective.beta
    if not POSTERIORS[config.model.posterior].has_rate:
        return "This posterior has no rate, so beta has no effect."
    if beta == 0:
        return "With beta 0 the loss has no rate, and is not a bound on log p(x)."
    then = "" if objective.beta_schedule == "constant" else " at the end of its schedule"
    row = BOUNDS[objective.bound]
    if row.beta_weighs != "the rate":
        weighs = f"beta {beta:g}{then} weighs {row.beta_weighs} in a loss summed over dimensions."
    else:
        whole = "the ELBO" if row.num_samples == 1 else "the bound itself"
        weighs = (
            f"beta {beta:g}{then} weighs the rate in a loss summed over dimensions, where 1 gives {whole}."
        )
    error, factor = error_in_other_programs(config)
    averaged = beta * factor / prod(shape)
    elsewhere = (
        f" With the {error} averaged over batch and dimensions, the same weight of the KL is {averaged:.3g}, "
        f"or {averaged / batch:.3g} if the KL is summed over the batch."
    )
    if config.model.network in _ON_GRIDS and error == "absolute error":
        elsewhere += (
            " Where the absolute error of values from −1 to 1 is summed, as autoencoders of latent diffusion "
            f"do, it is kl_weight {2 * factor * beta:.3g}."
        )
    return weighs + elsewhere


def error_in_other_programs(config: Config) -> tuple[str, float]:
    """Name the error that other programs use for a likelihood, and its factor.

    The error is −log p(x|z) times the factor, plus a constant. If the scale is learned, no error has a fixed
    ratio to −log p(x|z), which is then named itself. For standardised columns the error is in units of their
    standard deviations; in the data's own units each column would need a weight of its own.
    """
    model = config.model
    if model.likelihood not in _ERRORS or (
        model.likelihood in ("gaussian", "laplace") and model.learn_scale != "none"
    ):
        return _NLL, 1.0
    scale = model.likelihood_scale
    factor = {"gaussian": 2 * scale**2, "laplace": scale}.get(model.likelihood, 1.0)
    units = " of standardised numbers" if model.standardize else ""
    return _ERRORS[model.likelihood] + units, factor
