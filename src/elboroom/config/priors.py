"""The priors by name: where their codes lie, what trains them, and their options; which fit a posterior.

A new prior is a module in ``elboroom.probability``, a line in ``probability/choice.py`` and a row here. Its
choice on the command line, its help, the posteriors that it fits and the tests that hold for all priors
follow from these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from elboroom.config.posteriors import POSTERIORS, Space
from elboroom.config.sections import either, join


@dataclass(frozen=True)
class PriorRow:
    """What the configuration knows of a prior.

    Attributes
    ----------
    space : Space
        Where its codes lie; a posterior must put its codes there.
    learned : {"", "from the rate", "from codes"}
        What its weights are trained on, if it has any: the rate, or a quantiser's codes.
    of_posteriors : bool
        Whether it is a mixture of posteriors q(z|u) of pseudo-inputs u, and takes their density at any code.
    options : tuple of str
        The fields of the model's configuration that it takes.
    """

    space: Space = "any points of R^d"
    learned: Literal["", "from the rate", "from codes"] = ""
    of_posteriors: bool = False
    options: tuple[str, ...] = ()


PRIORS: dict[str, PriorRow] = {
    "normal": PriorRow(),
    "mixture": PriorRow(learned="from the rate", options=("prior_components",)),
    "vamp": PriorRow(learned="from the rate", of_posteriors=True, options=("prior_components",)),
    "flow": PriorRow(learned="from the rate", options=("prior_steps", "prior_hidden", "prior_bins")),
    "sphere": PriorRow("points on a sphere"),
    "uniform": PriorRow("entries of a codebook"),
    "autoregressive": PriorRow("entries of a codebook", learned="from codes"),
}


def _misfit(posterior: str, prior: str) -> str | None:
    """Say why a prior does not fit a posterior; None if it fits."""
    q, p = POSTERIORS[posterior], PRIORS[prior]
    if p.of_posteriors:
        if "density" in q.has:
            return None
        return f"is a mean of densities q(z|u), and posterior = {posterior!r} has none at any given code"
    if p.space != q.space:
        return f"is over {p.space}, and posterior = {posterior!r} gives {q.space}: their rate is not defined"
    if p.learned == "from the rate" and not q.has_density:
        return f"learns from the rate, and posterior = {posterior!r} has none"
    return None


def priors_for(posterior: str) -> tuple[str, ...]:
    """Names of the priors that fit a posterior; the first is what "auto" means.

    Examples
    --------
    >>> priors_for("power_spherical")
    ('sphere', 'vamp')
    """
    fitting = [prior for prior in PRIORS if _misfit(posterior, prior) is None]
    return tuple(sorted(fitting, key=lambda prior: bool(PRIORS[prior].learned)))


def prior_of(posterior: str, prior: str) -> str:
    """Name of a prior in which "auto" is resolved to the simplest one that fits the posterior.

    Examples
    --------
    >>> prior_of("vq", "auto")
    'uniform'
    """
    return priors_for(posterior)[0] if prior == "auto" else prior


def check_prior(posterior: str, prior: str) -> None:
    """Refuse a prior that does not fit a posterior.

    Raises
    ------
    ValueError
        With both names, the reason, and which priors and posteriors fit.
    """
    why = _misfit(posterior, prior_of(posterior, prior))
    if why is not None:
        others = [name for name in POSTERIORS if prior in priors_for(name)]
        raise ValueError(
            f"prior = {prior!r} {why}; take prior = {either(priors_for(posterior))}, or posterior = "
            f"{either(others)}"
        )


def help_of_priors() -> str:
    """Help of the option that chooses the prior.

    Examples
    --------
    >>> help_of_priors()[-52:]
    ' mixture, vamp, flow and autoregressive are learned.'
    """
    learned = join((name for name, row in PRIORS.items() if row.learned), "and")
    return f"Prior p(z). auto is the simplest one that fits the posterior; {learned} are learned."
