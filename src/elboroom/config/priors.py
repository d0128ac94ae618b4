"""Which prior goes with which posterior; for what does not, why, and what would."""

from __future__ import annotations

from elboroom.config.sections import either

GAUSSIAN = ("diagonal", "full", "householder")
_SPACES = {
    **dict.fromkeys(("power_spherical", "sphere"), "points on a sphere"),
    **dict.fromkeys(("vq", "fsq", "uniform", "autoregressive"), "entries of a codebook"),
}
_ANYWHERE = "any points of R^d"

# Posterior → priors that fit, the one that "auto" means first.
PRIORS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(GAUSSIAN, ("normal", "mixture", "vamp", "flow")),
    **dict.fromkeys(("planar", "iaf"), ("normal", "mixture", "flow")),
    "power_spherical": ("sphere", "vamp"),
    "deterministic": ("normal",),
    **dict.fromkeys(("vq", "fsq"), ("uniform", "autoregressive")),
}


def prior_of(posterior: str, prior: str) -> str:
    """Name of the prior that is meant, "auto" being the simplest where the posterior puts its codes.

    Examples
    --------
    >>> prior_of("vq", "auto")
    'uniform'
    """
    return PRIORS[posterior][0] if prior == "auto" else prior


def check_prior(posterior: str, prior: str) -> None:
    """Refuse a prior that has no use beside a posterior.

    Raises
    ------
    ValueError
        With both names, why, and which priors and posteriors would do.
    """
    fitting = PRIORS[posterior]
    if prior_of(posterior, prior) in fitting:
        return
    where, there = (_SPACES.get(name, _ANYWHERE) for name in (posterior, prior))
    if prior == "vamp":
        why = f"is a mean of densities q(z|u), and posterior = {posterior!r} has none at any given code"
    elif where != there:
        why = f"is over {there}, and posterior = {posterior!r} gives {where}: no rate can be taken"
    else:
        why = f"learns from the rate, and posterior = {posterior!r} has none"
    others = [name for name, priors in PRIORS.items() if prior in priors]
    raise ValueError(
        f"prior = {prior!r} {why}; take prior = {either(fitting)}, or posterior = {either(others)}"
    )
