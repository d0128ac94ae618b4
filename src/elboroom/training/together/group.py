"""The batched step of several engines of one composition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Adam, AdamW

from elboroom.probability import Meter
from elboroom.training.step.totals import Sums
from elboroom.training.step.tracing import Draw
from elboroom.training.together.member import Member, Pending
from elboroom.training.together.tracing import Batch, Outcome, Traced, draws_of

_KERNELS: dict[type, Callable[..., Any]] = {Adam: torch._fused_adam_, AdamW: torch._fused_adamw_}
_MOMENTS = ("exp_avg", "exp_avg_sq")

Steps = list[list[Pending]]
"""For each step, that of each member."""


class Group:
    """Takes steps of several engines together.

    Parameters
    ----------
    members : sequence of Member
        Of one composition on one device, with one data set.
    sizes : sequence of int
        Batch sizes whose steps are batched; with others each member takes its steps alone.

    Raises
    ------
    RuntimeError
        By torch, if the composition cannot be batched.
    """

    def __init__(self, members: Sequence[Member], sizes: Sequence[int]):
        self.members = list(members)
        self._batches = True
        self._draws: dict[int, list[Draw]] = {}
        coefficients = torch.stack([member.coefficients for member in members])
        self._traced = {size: Traced(members, self._some(size), coefficients) for size in sizes}

    def compile(self, size: int) -> str | None:
        """Compile the step for batches of a size, which takes some seconds; if that fails, say why."""
        return self._traced[size].compile(lambda: self.check(size))

    def draws(self, size: int) -> list[Draw]:
        """Noise that the step of one member needs for a batch of ``size`` examples."""
        if size not in self._draws:
            self._draws[size] = draws_of(self.members[0], self._some(size))
        return self._draws[size]

    def advance(self, waiting: Sequence[Member]) -> None:
        """Take the steps that all waiting members have queued; what only some have queued stays."""
        count = min(len(member.queue) for member in waiting)
        due = [[member.queue[i] for member in waiting] for i in range(count)]
        for member in waiting:
            del member.queue[:count]
        # The trace knows of nothing that has begun to act on a model since.
        self._batches = self._batches and all(member.is_as_joined for member in self.members)
        together = self._batches and len(waiting) == len(self.members)
        for sizes, steps in groupby(due, lambda step: [len(pending.rows) for pending in step]):
            if together and len(set(sizes)) == 1 and sizes[0] in self._traced:
                _Stacked(self.members, self._traced[sizes[0]]).take(list(steps))
                continue
            for step in steps:
                for member, pending in zip(waiting, step, strict=True):
                    member.step_alone(pending)

    def check(self, size: int) -> float:
        """Compare the batched gradients of a batch with those that each member finds alone.

        Returns
        -------
        float
            The largest difference, relative to the norm of that member's gradients.
        """
        traced = self._traced[size]
        step = [Pending(0, self._rows(size), [draw.take() for draw in traced.draws]) for _ in self.members]
        found = _Stacked(self.members, traced).outcome(step).gradients
        differences = []
        for batched, member, pending in zip(found, self.members, step, strict=True):
            alone = member.gradient_of(pending)
            off = torch.linalg.vector_norm(batched - alone)
            differences.append(off / torch.linalg.vector_norm(alone).clamp(min=1e-12))
        return float(torch.stack(differences).max())  # nan if one is

    def _rows(self, size: int) -> Tensor:
        return torch.arange(size, device=self.members[0].device)

    def _some(self, size: int) -> Batch:
        return _batch_of(self.members, [self._rows(size)] * len(self.members))


class _Taken(NamedTuple):
    """Outcome of a step, norms of its gradients (S,), and whether each is finite."""

    outcome: Outcome
    norms: Tensor
    good: list[bool]


class _Stacked:
    """All members' weights and moments side by side, for consecutive steps with batches of one size."""

    def __init__(self, members: Sequence[Member], traced: Traced):
        self._members, self._traced = members, traced
        self._adam = [member.update.adam_state() for member in members]
        self._values = torch.stack([_values_of(member) for member in members])
        self._fixed = traced.fixed()
        self._moments = [torch.stack([state[name] for state in self._adam]) for name in _MOMENTS]
        self._counts = [state["step"].clone() for state in self._adam]

    @torch.no_grad()
    def take(self, steps: Steps) -> None:
        """Take the steps, give the members their new state, and let them count what happened."""
        taken = [self._take(step) for step in steps]
        for i, (member, state) in enumerate(zip(self._members, self._adam, strict=True)):
            _values_of(member).copy_(self._values[i])
            state["step"].copy_(self._counts[i])
            for name, moments in zip(_MOMENTS, self._moments, strict=True):
                state[name].copy_(moments[i])
            member.refresh()
            self._count(member, i, [step[i] for step in steps], taken)

    def outcome(self, step: Sequence[Pending]) -> Outcome:
        """Losses and gradients of a step, with the weights as they are."""
        members = self._members
        schedules = [m.objective.coefficients(p.number) for m, p in zip(members, step, strict=True)]
        noise = [torch.stack(one) for one in zip(*(pending.noise for pending in step), strict=True)]
        return self._traced(
            self._values,
            self._fixed,
            _batch_of(members, [pending.rows for pending in step]),
            torch.tensor(schedules, device=self._values.device),
            noise,
        )

    def _take(self, step: Sequence[Pending]) -> _Taken:
        outcome = self.outcome(step)
        gradients = outcome.gradients
        good = (outcome.loss + gradients.sum(1)).isfinite().tolist()
        norms = torch.linalg.vector_norm(gradients, dim=1)
        clip = self._members[0].update.clip
        if clip is not None:
            gradients = gradients * torch.clamp(clip / (norms[:, None] + 1e-6), max=1.0)
        self._update(gradients, good)
        return _Taken(outcome, norms, good)

    def _update(self, gradients: Tensor, good: Sequence[bool]) -> None:
        """Step the optimisers of members whose step is good; those with one learning rate in one call."""
        by_rate: dict[float, list[int]] = {}
        for i, member in enumerate(self._members):
            if good[i]:
                by_rate.setdefault(member.learning_rate, []).append(i)
        optimizer = self._members[0].update.optimizer
        settings = optimizer.param_groups[0]
        for rate, chosen in by_rate.items():
            stacks = (self._values, gradients, *self._moments)
            _KERNELS[type(optimizer)](
                *([stack[i] for i in chosen] for stack in stacks),
                [],
                [self._counts[i].add_(1) for i in chosen],
                lr=rate,
                beta1=settings["betas"][0],
                beta2=settings["betas"][1],
                weight_decay=settings["weight_decay"],
                eps=settings["eps"],
                amsgrad=False,
                maximize=False,
            )

    def _count(self, member: Member, i: int, own: Sequence[Pending], taken: Sequence[_Taken]) -> None:
        reads = self._traced.reads
        for pending, (outcome, norms, good) in zip(own, taken, strict=True):
            sums = Sums(outcome.loss[i], outcome.distortion[i], outcome.rate[i])
            meters = {name: Meter(total[i], reads[name]) for name, total in outcome.totals.items()}
            member.take_note(pending.number, len(pending.rows), sums, norms[i], meters, good=good[i])


def _values_of(member: Member) -> Tensor:
    """All trained weights of a member, (P,)."""
    return member.update.flat.values[0].detach()


def _batch_of(members: Sequence[Member], rows: Sequence[Tensor]) -> Batch:
    """Examples and conditions of a batch for each member; the data are those of the first."""
    batches, chosen = members[0].batches, torch.cat(list(rows))
    x, condition = batches.x.index_select(0, chosen), batches.conditions(chosen)
    size = (len(rows), len(rows[0]))
    return Batch(
        x.view(*size, *x.shape[1:]),
        None if condition is None else condition.view(*size, condition.shape[-1]),
    )
