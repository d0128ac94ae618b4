"""The posteriors by name: where each puts its codes, what it can compute, and its options.

A new posterior is a head in ``elboroom.probability``, a line in ``probability/choice.py`` and a row here. Its
choice on the command line, its help, the priors, bounds and penalties that go with it, how models are
compared, and the tests that hold for all posteriors follow from these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from elboroom.config.bounds import Need
from elboroom.config.sections import join

Space = Literal["any points of R^d", "points on a sphere", "entries of a codebook"]


@dataclass(frozen=True)
class PosteriorRow:
    """What the configuration and the comparison of models know of a posterior.

    Attributes
    ----------
    kind : str
        What it is: a word for the help, shared by all of a kind.
    has : tuple of Need
        What bounds and penalties may ask of it: noise in its codes, log q(z|x) at any code ("density"), a
        product over dimensions ("factors"), a covariance in closed form, codes of any length ("unbounded").
    options : tuple of str
        The fields of the model's configuration that its head takes.
    space : Space
        Where its codes lie.
    """

    kind: str
    has: tuple[Need, ...]
    options: tuple[str, ...]
    space: Space = "any points of R^d"

    @property
    def has_density(self) -> bool:
        """Whether its codes have a density, at least where they are drawn; without one there is no NLL."""
        return "noise" in self.has

    @property
    def has_rate(self) -> bool:
        """Whether KL(q(z|x) ‖ p(z)) is defined; without it the ELBO is not."""
        return self.has_density or self.space == "entries of a codebook"


_GAUSSIAN: tuple[Need, ...] = ("noise", "density", "covariance", "unbounded")
_SCALED = ("latent_dim", "posterior_scale")

POSTERIORS: dict[str, PosteriorRow] = {
    "diagonal": PosteriorRow("Gaussian", (*_GAUSSIAN, "factors"), _SCALED),
    "full": PosteriorRow("Gaussian", _GAUSSIAN, _SCALED),
    "householder": PosteriorRow("Gaussian", _GAUSSIAN, (*_SCALED, "posterior_steps")),
    "planar": PosteriorRow("flow", ("noise", "unbounded"), (*_SCALED, "posterior_steps")),
    "iaf": PosteriorRow(
        "flow",
        ("noise", "unbounded"),
        (*_SCALED, "posterior_steps", "posterior_hidden", "posterior_context"),
    ),
    "power_spherical": PosteriorRow(
        "on a sphere", ("noise", "density"), ("latent_dim",), "points on a sphere"
    ),
    "deterministic": PosteriorRow("a point", ("unbounded",), ("latent_dim",)),
    "vq": PosteriorRow(
        "quantised",
        ("unbounded",),
        ("code_grid", "code_channels", "code_normalization", "codebook_size", "codebook_depth"),
        "entries of a codebook",
    ),
    "fsq": PosteriorRow(
        "quantised",
        ("unbounded",),
        ("code_grid", "code_normalization", "fsq_levels"),
        "entries of a codebook",
    ),
}


def posteriors_with(need: Need) -> tuple[str, ...]:
    """Names of the posteriors that have what a bound or penalty needs.

    Examples
    --------
    >>> posteriors_with("factors")
    ('diagonal',)
    """
    return tuple(name for name, row in POSTERIORS.items() if need in row.has)


def help_of_posteriors() -> str:
    """Help of the option that chooses the posterior.

    Examples
    --------
    >>> help_of_posteriors()[:68]
    'Posterior q(z|x): Gaussian (diagonal, full, householder), flow (plan'
    """
    of_kind: dict[str, list[str]] = {}
    for name, row in POSTERIORS.items():
        of_kind.setdefault(row.kind, []).append(name)
    kinds = (f"{kind} ({', '.join(names)})" for kind, names in of_kind.items())
    return f"Posterior q(z|x): {join(kinds, 'or')}."
