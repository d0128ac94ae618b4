"""The training objective: −bound with a scheduled beta, plus penalties with scheduled weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
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
    """Mean over the batch of −bound(terms, beta(step)), plus Σ weightᵢ(step) · penaltyᵢ(terms).

    Parameters
    ----------
    beta : float or Schedule
        Weight of the rate.
    bound : Bound
        (terms, beta) → (b,), nats. A :class:`ScheduledBound` also receives the values of its own schedules.
    penalties : mapping of str to (Penalty, Schedule)
        Each penalty is a function terms → scalar. The parameters of one that is a module are trained with the
        model, or, if it has an ``own_loss(terms)``, on that loss with its ``lr`` and ``betas``
        (:class:`Opponent`).
    num_samples : int
        Codes drawn for each example, k.
    wakes : float
        Step from which opponents learn; before it training leaves them out.

    Attributes
    ----------
    asleep : bool
        Whether opponents are left out: their penalties and losses are then 0, and cost nothing.

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
        wakes: float = 0.0,
    ):
        super().__init__()
        penalties = penalties or {}
        own: dict[str, Schedule] = {"beta": beta if callable(beta) else schedules.constant(beta)}
        own |= getattr(bound, "schedules", {})
        for taken in own.keys() & penalties.keys():
            raise UsageError(
                f"a penalty named {taken!r}: the bound has a coefficient of that name; give it another name"
            )
        if num_samples < 1:
            raise UsageError(f"num_samples = {num_samples}: must be at least 1")
        self.bound = bound
        self.penalties = {name: penalty for name, (penalty, _) in penalties.items()}
        self.trainable_parts = nn.ModuleList(p for p in self.penalties.values() if isinstance(p, nn.Module))
        self.schedules = own | {name: weight for name, (_, weight) in penalties.items()}
        self._of_bound = len(own)
        self.num_samples = num_samples
        self.wakes = wakes
        self.asleep = False

    def follow_step(self, step: int) -> bool:
        """Let opponents sleep or wake as suits a step; return whether this has changed."""
        before, self.asleep = self.asleep, step < self.wakes and bool(self.opponents)
        return before != self.asleep

    def coefficients(self, step: int) -> list[float]:
        """Values of all schedules at a step, in order: beta, the bound's own, the penalties' weights."""
        return [schedule(step) for schedule in self.schedules.values()]

    def forward(self, terms: Terms, coefficients: Tensor | int) -> Tensor:
        """Compute the loss, a scalar in nats per example.

        Parameters
        ----------
        terms : Terms
            From one forward pass, ``vae(x, objective.num_samples)``.
        coefficients : Tensor or int
            One value for each schedule, as :meth:`coefficients` gives them, or the step, counted from 0.
        """
        if isinstance(coefficients, int):
            coefficients = torch.tensor(self.coefficients(coefficients), device=terms.z.device)
        return self.parts(terms, coefficients)[0]

    def parts(self, terms: Terms, coefficients: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss, and the value of each penalty before it is weighted."""
        loss = -self.bound(terms, *coefficients[: self._of_bound]).mean()
        left_out = self.opponents if self.asleep else []
        values = {
            name: terms.z.new_zeros(()) if penalty in left_out else penalty(terms)
            for name, penalty in self.penalties.items()
        }
        for weight, value in zip(coefficients[self._of_bound :], values.values(), strict=True):
            loss = loss + weight * value
        return loss, values

    @property
    def opponents(self) -> list[Opponent]:
        """The parts that train against the model, on losses of their own."""
        return [cast(Opponent, part) for part in self.trainable_parts if hasattr(part, "own_loss")]

    @property
    def differentiated(self) -> set[nn.Parameter]:
        """Weights of the model at which a penalty takes gradients of its own."""
        return {weight for part in self.trainable_parts for weight in getattr(part, "differentiated", ())}

    def own_losses(self, terms: Terms) -> dict[str, Tensor]:
        """Compute the scalar that each opponent minimises, by penalty name.

        These losses give the model no gradient, and :meth:`forward` gives the opponents none, so one backward
        pass can take the sum of all.
        """
        opponents = self.opponents
        return {
            name: terms.z.new_zeros(()) if self.asleep else part.own_loss(terms)
            for name, part in self.penalties.items()
            if part in opponents
        }

    @classmethod
    def from_config(
        cls,
        config: ObjectiveConfig,
        steps_per_epoch: int,
        *,
        vae: VAE | None = None,
        examples: int | None = None,
    ) -> Objective:
        """Compose the objective of a configuration, with lengths converted from epochs to steps.

        Parameters
        ----------
        config : ObjectiveConfig
            Names the bound, the schedule of beta and the penalties.
        steps_per_epoch : int
            Steps in an epoch of the training.
        vae, examples : optional
            The model and the number of training examples; penalties need both.

        Raises
        ------
        UsageError
            If there are penalties and ``vae`` or ``examples`` is missing, or if one does not suit the model.
        """
        return cls(
            choice.beta_of(config, steps_per_epoch),
            bound=choice.BOUNDS[config.bound](config, steps_per_epoch),
            penalties=choice.penalties_of(config, steps_per_epoch, vae, examples),
            num_samples=config.num_samples,
            wakes=(config.critic_wakes_epochs or 0.0) * steps_per_epoch,
        )
