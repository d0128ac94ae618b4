"""From gradients to new weights: clipping, the optimiser, its schedule, bad steps left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from elboroom.config import OptimizerConfig
from elboroom.errors import UsageError
from elboroom.training.flat import FlatParameters
from elboroom.training.optimizers import make_lr_schedule, make_optimizer, works_elementwise
from elboroom.training.sharding import Shards
from elboroom.training.workers import Workers


class Update:
    """Parameters that one optimiser moves.

    Parameters
    ----------
    parameters : sequence of nn.Parameter
        All on one device; from here on views of flat buffers.
    config : OptimizerConfig
        Optimiser, learning rate and its schedule, clipping.
    epochs : int
        Of the whole training, for the schedule.
    workers : Workers
        The processes that train together.
    shard : bool
        Let each of them keep the optimiser's state of an equal share of the weights only.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        config: OptimizerConfig,
        epochs: int,
        workers: Workers,
        *,
        shard: bool = False,
    ):
        self.parameters = list(parameters)
        self.workers = workers
        self.clip = config.clip
        self.flat = FlatParameters(self.parameters, multiple=workers.size if shard else 1)
        self._elementwise = works_elementwise(config)
        self._shards = Shards(self.flat, workers) if shard and not workers.alone else None
        if shard and not self._elementwise:
            raise UsageError(
                f"shard_optimizer needs an optimiser that treats each weight by itself, such as Adam; "
                f"{config.optimizer} does not"
            )
        trained = self.parameters
        if self._elementwise:
            trained = self.flat.values if self._shards is None else self._shards.values
        device = self.parameters[0].device
        self.optimizer = make_optimizer(trained, config, device)
        self.schedule = make_lr_schedule(self.optimizer, config, epochs)
        # On a GPU the fused optimisers can be told on the device to leave a step out.
        self._skips_on_device = device.type == "cuda" and getattr(
            self.optimizer, "_step_supports_amp_scaling", False
        )

    def begin(self) -> None:
        """Forget the gradients of the last step."""
        self.flat.begin()

    def collect(self, notes: Sequence[Tensor] = ()) -> Tensor:
        """Bring all gradients together, from all processes.

        Parameters
        ----------
        notes : sequence of Tensor
            Scalars to be summed over all processes with them.

        Returns
        -------
        Tensor
            Their sums, (len(notes),).
        """
        self.flat.collect()
        told = torch.stack([note.float() for note in notes]) if notes else torch.empty(0)
        if self.workers.alone:
            return told
        return self.flat.sum_over(self.workers.sum_, told)

    def total(self) -> Tensor:
        """Sum of all gradients: not finite if one is not, and cheaper to have than their norm."""
        return torch.stack([gradients.sum() for gradients in self.flat.gradients]).sum()

    def norm(self) -> Tensor:
        """Norm of all gradients before clipping; they are clipped if that is wished."""
        norm = torch.nn.utils.get_total_norm(self.flat.gradients)
        if self.clip is not None:
            # A nan would stay in the gaps between gradients, which no step writes to.
            scale = torch.clamp(self.clip / (norm + 1e-6), max=1.0).nan_to_num(1.0)
            torch._foreach_mul_(self.flat.gradients, scale)
        return norm

    def apply(self, bad: Tensor) -> None:
        """Step the optimiser, unless the step is bad."""
        if self._skips_on_device:
            self.optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
        elif bad:
            return
        if self._elementwise:
            self.optimizer.step()
            if self._shards is not None:
                self._shards.gather()
        else:
            self.flat.hand_out()
            self.optimizer.step()
            self.flat.begin()

    @property
    def learning_rate(self) -> float:
        """Of the first parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def lower_learning_rate(self, factor: float) -> None:
        """Multiply the learning rate, and all that a schedule will make of it."""
        for group in self.optimizer.param_groups:
            for name in ("lr", "initial_lr"):
                if name in group:
                    group[name] = group[name] * factor
        if self.schedule is not None and hasattr(self.schedule, "base_lrs"):
            self.schedule.base_lrs = [lr * factor for lr in self.schedule.base_lrs]

    def end_epoch(self, loss: float, step: int) -> None:
        """Step the learning-rate schedule; one that follows a measure gets ``loss``."""
        if self.schedule is None:
            return
        follows_a_measure = isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau)
        try:
            self.schedule.step(*([loss] if follows_a_measure else []))
        except Exception as error:
            # Some options are wrong only at a later step: a cycle of 0 epochs, or fewer than there are.
            name = type(self.schedule).__name__
            raise UsageError(f"{name} fails at step {step}: {error}; change --lr-schedule-options") from None

    def state_dict(self) -> dict[str, Any]:
        """Optimiser and schedule; of a sharded optimiser the whole, which all processes must ask for."""
        state = self.optimizer.state_dict()
        return {
            "optimizer": state if self._shards is None else self._shards.whole(state),
            "lr_schedule": self.schedule.state_dict() if self.schedule is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`state_dict` gave, in any number of processes."""
        optimizer = state["optimizer"]
        self.optimizer.load_state_dict(optimizer if self._shards is None else self._shards.own(optimizer))
        if self.schedule is not None and state["lr_schedule"] is not None:
            self.schedule.load_state_dict(state["lr_schedule"])
