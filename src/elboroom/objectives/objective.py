"""What is minimised: −bound with a scheduled beta, plus scheduled penalties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from elboroom.config import ObjectiveConfig
from elboroom.errors import UsageError
from elboroom.model import Terms
from elboroom.objectives import schedules
from elboroom.objectives.bounds import Bound, elbo
from elboroom.objectives.critics import Opponent
from elboroom.objectives.schedules import Schedule

Penalty = Callable[[Terms], Tensor]


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
        loss = -self.bound(terms, *coefficients[: self._of_bound]).mean()
        for weight, penalty in zip(coefficients[self._of_bound :], self.penalties.values(), strict=True):
            loss = loss + weight * penalty(terms)
        return loss

    @property
    def opponents(self) -> list[Opponent]:
        """Parts that train against the model, on losses of their own."""
        return [cast(Opponent, part) for part in self.trainable_parts if hasattr(part, "own_loss")]

    def own_loss(self, terms: Terms) -> Tensor | None:
        """Scalar that the opponents minimise, None without any; the model gets no gradient from it.

        Nor do they get any from :meth:`forward`, so that one backward pass may take the sum of both.
        """
        losses = [part.own_loss(terms) for part in self.opponents]
        return torch.stack(losses).sum() if losses else None

    @classmethod
    def from_config(cls, config: ObjectiveConfig, steps_per_epoch: int) -> Objective:
        """Turn a configuration's epochs into steps."""
        beta = config.beta
        delay, ramp, period = (
            # 0.07 · 100 is a little more than 7, and a cycle would start a step late.
            round(epochs * steps_per_epoch, 9)
            for epochs in (config.beta_delay, config.beta_ramp, config.beta_period)
        )
        schedule = {
            "constant": lambda: schedules.constant(beta),
            "linear": lambda: schedules.linear(beta, ramp),
            "delayed": lambda: schedules.delayed(beta, delay, ramp),
            "sigmoid": lambda: schedules.sigmoid(beta, delay, ramp),
            "cyclical": lambda: schedules.cyclical(beta, ramp, period),
        }[config.beta_schedule]()
        return cls(schedule)
