"""What is minimised: −bound with a scheduled beta, plus scheduled penalties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from elboroom.config import ObjectiveConfig
from elboroom.errors import UsageError
from elboroom.models.terms import Terms
from elboroom.models.vae import VAE
from elboroom.objectives import choice, schedules
from elboroom.objectives.bounds import Bound, elbo
from elboroom.objectives.choice import Penalty
from elboroom.objectives.critics import Opponent
from elboroom.objectives.schedules import Schedule


class Objective(nn.Module):
    """mean over the batch of −bound(terms, beta(step)), plus Σ weightᵢ(step) · penaltyᵢ(terms).

    Parameters
    ----------
    beta : float or Schedule
        Weight of the rate.
    bound : Bound
        (terms, beta) → (b,), nats. With ``schedules`` of its own (:class:`ScheduledBound`), it gets their
        values after beta.
    penalties : mapping of str to (Penalty, Schedule)
        Each a function terms → scalar; one that is a module may own trainable parts. They are trained with
        the model, unless it has an ``own_loss(terms)``: then on that loss and with its ``lr`` and ``betas``
        (:class:`Opponent`).
    num_samples : int
        Codes drawn for each example, k.

    Raises
    ------
    UsageError
        If a penalty has the name of another coefficient, or ``num_samples`` < 1.
    """

    def __init__(
        self,
        beta: float | Schedule = 1.0,
        *,
        bound: Bound = elbo,
        penalties: Mapping[str, tuple[Penalty, Schedule]] | None = None,
        num_samples: int = 1,
    ):
        super().__init__()
        penalties = penalties or {}
        own: dict[str, Schedule] = {"beta": beta if callable(beta) else schedules.constant(beta)}
        own |= getattr(bound, "schedules", {})
        for taken in own.keys() & penalties.keys():
            raise UsageError(
                f"a penalty named {taken!r}: that is a coefficient of the bound; give it another name"
            )
        if num_samples < 1:
            raise UsageError(f"num_samples = {num_samples}: at least 1 is needed")
        self.bound = bound
        self.penalties = {name: penalty for name, (penalty, _) in penalties.items()}
        self.trainable_parts = nn.ModuleList(p for p in self.penalties.values() if isinstance(p, nn.Module))
        self.schedules = own | {name: weight for name, (_, weight) in penalties.items()}
        self._of_bound = len(own)
        self.num_samples = num_samples

    def coefficients(self, step: int) -> list[float]:
        """Value of each schedule at a step, in their order: beta, the bound's, the penalties'."""
        return [schedule(step) for schedule in self.schedules.values()]

    def forward(self, terms: Terms, coefficients: Tensor) -> Tensor:
        """Scalar loss in nats per example; ``coefficients``, one for each schedule, live on the device."""
        return self.parts(terms, coefficients)[0]

    def parts(self, terms: Terms, coefficients: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """As :meth:`forward`, with the value of each penalty before it is weighted."""
        loss = -self.bound(terms, *coefficients[: self._of_bound]).mean()
        values = {name: penalty(terms) for name, penalty in self.penalties.items()}
        for weight, value in zip(coefficients[self._of_bound :], values.values(), strict=True):
            loss = loss + weight * value
        return loss, values

    @property
    def opponents(self) -> list[Opponent]:
        """Parts that train against the model, on losses of their own."""
        return [cast(Opponent, part) for part in self.trainable_parts if hasattr(part, "own_loss")]

    def own_losses(self, terms: Terms) -> dict[str, Tensor]:
        """Scalar that each opponent minimises, by its penalty's name; the model gets no gradient from it.

        Nor do they get any from :meth:`forward`, so that one backward pass may take the sum of all.
        """
        opponents = self.opponents
        return {name: part.own_loss(terms) for name, part in self.penalties.items() if part in opponents}

    @classmethod
    def from_config(
        cls,
        config: ObjectiveConfig,
        steps_per_epoch: int,
        *,
        vae: VAE | None = None,
        examples: int | None = None,
    ) -> Objective:
        """Compose what a configuration names, its epochs turned into steps.

        Parameters
        ----------
        config : ObjectiveConfig
            Of bound, beta and penalties.
        steps_per_epoch : int
            Of training.
        vae, examples : optional
            The model and the number of training examples, on which penalties depend.

        Raises
        ------
        UsageError
            If there are penalties and these are not given, or one does not suit the model.
        """
        return cls(
            choice.beta_of(config, steps_per_epoch),
            bound=choice.BOUNDS[config.bound](config, steps_per_epoch),
            penalties=choice.penalties_of(config, steps_per_epoch, vae, examples),
            num_samples=config.num_samples,
        )
