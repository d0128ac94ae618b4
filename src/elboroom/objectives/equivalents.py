"""What beta is called elsewhere: other programs average over dimensions what is summed here."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from elboroom.config import Config
from elboroom.config.bounds import BOUNDS
from elboroom.config.posteriors import POSTERIORS

# What a program adds up in place of −log p(x|z), from which it differs by a constant and a factor.
_ERRORS = {
    "bernoulli": "binary cross-entropy",
    "categorical": "cross-entropy",
    "gaussian": "squared error",
    "laplace": "absolute error",
}
_OWN = "negative log-likelihood"


def beta_in_words(config: Config, shape: Sequence[int]) -> str:
    """Say what beta means, and what its value would be in programs that average the error over dimensions.

    Parameters
    ----------
    config : Config
        With the likelihood chosen.
    shape : sequence of int
        Of one example.

    Examples
    --------
    >>> from elboroom.config import Config
    >>> print(beta_in_words(Config().updated(likelihood="gaussian", beta=2.0), (28, 28, 1)))
    beta 2 weighs the rate in a loss summed over dimensions, where 1 gives the ELBO. With the squared...
    """
    objective, batch = config.objective, config.training.batch_size
    beta = objective.beta
    if not POSTERIORS[config.model.posterior].has_rate:
        return "This posterior has no rate, so that beta has no effect."
    if beta == 0:
        return "beta 0: the rate is not part of the loss, which is no bound on log p(x)."
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
    return weighs + elsewhere


def error_in_other_programs(config: Config) -> tuple[str, float]:
    """What other programs take for −log p(x|z) of a likelihood, and by what it is multiplied to be that.

    The first is −log p(x|z) times the second, plus a constant. Where the scale is learned, no error stands in
    a fixed ratio to it, and it is −log p(x|z) itself. Of standardised columns the error is in units of their
    standard deviations: in the data's own units each would need a weight of its own.
    """
    model = config.model
    if model.likelihood not in _ERRORS or (
        model.likelihood in ("gaussian", "laplace") and model.learn_scale != "none"
    ):
        return _OWN, 1.0
    scale = model.likelihood_scale
    factor = {"gaussian": 2 * scale**2, "laplace": scale}.get(model.likelihood, 1.0)
    units = " of standardised numbers" if model.standardize else ""
    return _ERRORS[model.likelihood] + units, factor
