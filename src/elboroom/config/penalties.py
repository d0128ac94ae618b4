"""The penalties by name: what each needs of the posterior, and what to take where it does not fit.

A new penalty is a function or module in ``elboroom.objectives``, a line in ``objectives/choice.py`` and a row
here. Its name on the command line, the refusals and the tests that hold for all penalties follow from these.
"""

from __future__ import annotations

from dataclasses import dataclass

from elboroom.config.bounds import Need


@dataclass(frozen=True)
class PenaltyRow:
    """What the configuration knows of a penalty.

    Attributes
    ----------
    need : Need or None
        What it needs of the posterior. Penalties that need images or codebooks check the model itself.
    reason : str
        Why: a verb phrase for the message that refuses a posterior without it.
    instead : str
        What to do for another posterior.
    latent_dims : int
        The fewest latent dimensions for which it means something.
    critic : bool
        Whether it is a network that trains against the model.
    whole_batch : bool
        Whether its scale is told by the whole batch only, which `accumulate` therefore cannot divide.
    costs_likelihood : bool
        Whether it is meant to win against the likelihood, so that the best epoch is not chosen by a bound.
    """

    need: Need | None = None
    reason: str = ""
    instead: str = "leave the penalty out"
    latent_dims: int = 1
    critic: bool = False
    whole_batch: bool = False
    costs_likelihood: bool = False


PENALTIES: dict[str, PenaltyRow] = {
    "total_correlation": PenaltyRow(
        need="factors",
        reason="takes the density of each dimension by itself",
        instead="take the penalty total_correlation_critic",
        latent_dims=2,
    ),
    "total_correlation_critic": PenaltyRow(latent_dims=2, critic=True),
    "decorrelation_i": PenaltyRow(),
    "decorrelation_ii": PenaltyRow(need="covariance", reason="takes the covariance of q(z|x)"),
    "mmd_rbf": PenaltyRow(),
    "mmd_imq": PenaltyRow(),
    "prior_critic": PenaltyRow(critic=True),
    "code_norm": PenaltyRow(need="unbounded", reason="shortens codes"),
    "weight_decay": PenaltyRow(),
    "jacobian_norm": PenaltyRow(),
    "structural_dissimilarity": PenaltyRow(),
    "gradient_difference": PenaltyRow(),
    "focal_frequency": PenaltyRow(),
    "texture": PenaltyRow(costs_likelihood=True),
    "lpips": PenaltyRow(costs_likelihood=True),
    "patch_critic": PenaltyRow(critic=True, whole_batch=True, costs_likelihood=True),
    "equivariance": PenaltyRow(),
    "commitment": PenaltyRow(),
}


def help_of_penalties() -> str:
    """Help of the option that gives penalties their weights."""
    return f"Penalties and their weights, as in 'total_correlation=5'. Penalties: {', '.join(PENALTIES)}."
