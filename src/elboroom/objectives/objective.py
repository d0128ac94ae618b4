"""What is minimised: −bound with a scheduled beta, plus scheduled penalties."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from elboroom.config import ObjectiveConfig
from elboroom.errors import UsageError
from elboroom.model import Terms
from elboroom.objectives import schedules
from elboroom.objectives.bounds import Bound, elbo
from elboroom.objectives.schedules import Schedule

Penalty = Callable[[Terms], Tensor]


class Objective(nn.Module):
    """mean over the batch of −bound(terms, beta(step)), plus Σ weightᵢ(step) · penaltyᵢ(terms).

    Parameters
    ----------
    beta : float or Schedule
        Weight of the rate.
    bound : Bound
        (terms, beta) → (b,), nats.
    penalties : mapping of str to (Penalty, Schedule)
        Each a function terms → scalar; one that is a module may own trainable parts.
    num_samples : int
        Codes drawn for each example, k.
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
        if "beta" in (penalties or {}):
            raise UsageError("a penalty named 'beta': that is the weight of the rate; give it another name")
        self.bound = bound
        self.penalties = {name: penalty for name, (penalty, _) in (penalties or {}).items()}
        self.trainable_parts = nn.ModuleList(p for p in self.penalties.values() if isinstance(p, nn.Module))
        self.schedules: dict[str, Schedule] = {
            "beta": beta if callable(beta) else schedules.constant(beta),
            **{name: weight for name, (_, weight) in (penalties or {}).items()},
        }
        self.num_samples = num_samples

    def coefficients(self, step: int) -> list[float]:
        """Value of each schedule at a step, in the order of ``schedules``; beta comes first."""
        return [schedule(step) for schedule in self.schedules.values()]

    def forward(self, terms: Terms, coefficients: Tensor) -> Tensor:
        """Scalar loss in nats per example; ``coefficients`` (1 + penalties,) live on the device."""
        loss = -self.bound(terms, coefficients[0]).mean()
        for weight, penalty in zip(coefficients[1:], self.penalties.values(), strict=True):
            loss = loss + weight * penalty(terms)
        return loss

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
