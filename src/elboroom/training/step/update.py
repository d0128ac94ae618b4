"""From gradients to new weights: clipping, the optimiser, its schedule, skipped steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from elboroom.config import OptimizerConfig
from elboroom.distributed.processes import Workers
from elboroom.errors import UsageError
from elboroom.training.step.chunked import ChunkedAdam
from elboroom.training.step.flat import FlatParameters
from elboroom.training.step.lr_schedules import LearningRates
from elboroom.training.step.optimizers import (
    adam_state,
    drop_denormals,
    is_plain_adam,
    make_optimizer,
    step_adam,
    steps_taken,
    works_elementwise,
)
from elboroom.training.step.sharding import Shards

# A pass over all gradients costs as much as a small layer; without clipping, every tenth step is enough.
GRADIENT_NORM_EVERY = 10
# Steps between two times at which moments too small to matter are dropped.
DENORMALS_EVERY = 50


class Update:
    """A group of parameters with their optimiser.

    Parameters
    ----------
    parameters : sequence of nn.Parameter
        Parameters on one device; they become views of flat buffers.
    config : OptimizerConfig
        Optimiser, learning rate and its schedule, clipping.
    epochs : int
        Epochs of the whole training, for the schedule.
    workers : Workers
        The processes that train together.
    shard : bool
        Divide the optimiser's state equally among the processes.
    static : bool
        Read nothing from the device in a step, and take the learning rate from a buffer there, which
        :meth:`prepare` writes.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        config: OptimizerConfig,
        epochs: int,
        workers: Workers,
        *,
        shard: bool = False,
        static: bool = False,
    ):
        self.static = static
        self.parameters = list(parameters)
        self.workers = workers
        self._config = config
        self.clip = config.clip
        self.flat = FlatParameters(self.parameters, multiple=workers.size if shard else 1)
        self._watched = self.flat.gradients
        self._chunked: ChunkedAdam | None = None
        self._whole = works_elementwise(config)
        self.separate = False
        self._shards = Shards(self.flat, workers) if shard and not workers.alone else None
        if shard and not self._whole:
            raise UsageError(
                f"shard_optimizer needs an optimiser that treats each weight by itself, such as Adam; "
                f"{config.optimizer} does not"
            )
        trained = self.parameters
        if self._whole:
            trained = self.flat.values if self._shards is None else self._shards.values
        device = self.parameters[0].device
        self.optimizer = make_optimizer(trained, config, device)
        self._taken = 0
        self.rates = LearningRates(self.optimizer, config, epochs)
        self._static_rate = torch.full((), self.learning_rate, device=device) if static else None
        self._written_rate = self.learning_rate
        # It is set for the recorded step alone, which torch would warn of.
        self.optimizer._warned_capturable_if_run_uncaptured = True

    def lower_gradients(self, shadows: Sequence[Tensor]) -> bool:
        """Keep gradients in the precision of the products, if the optimiser can use them so.

        Parameters
        ----------
        shadows : sequence of Tensor
            Copies of the flat buffers that the matrix products use; :meth:`apply` then keeps them up to
            date.
        """
        alone = self.workers.alone and not self.static
        if not (self._whole and alone and len(shadows) == 1 and is_plain_adam(self.optimizer)):
            return False
        if self._chunked is not None and self._chunked.shadow is shadows[0]:
            return True
        self.flat.lower(shadows[0].dtype)
        self._watched = self.flat.gradients
        self._chunked = ChunkedAdam(self.optimizer, self.flat.gradients[0], shadows[0])
        return True

    @property
    def is_whole(self) -> bool:
        """Whether the optimiser moves the buffers as if each were one long parameter."""
        return self._whole

    @property
    def keeps_copies(self) -> bool:
        """Whether :meth:`apply` keeps the low-precision copies up to date."""
        return self._chunked is not None

    def raise_gradients(self) -> None:
        """Undo :meth:`lower_gradients`."""
        if self._chunked is not None:
            self._chunked = None
            self.flat.restore_precision()
            self._watched = self.flat.gradients

    def treat_separately(self, more: Sequence[nn.Parameter] = ()) -> None:
        """Make the optimiser treat each parameter separately from now on, and add ``more`` to it.

        A parameter without a gradient then keeps its value and its state, as in a plain loop: there is no
        weight decay, the moments do not fade, and no step is counted.

        Raises
        ------
        UsageError
            If the optimiser's state is divided among processes.
        """
        if self._shards is not None:
            raise UsageError(
                "shard_optimizer divides one long buffer among the processes, which cannot follow a change "
                "of requires_grad during training; leave it out, or freeze before training"
            )
        self.raise_gradients()
        state = self._state_of_each() if self._whole else dict(self.optimizer.state)
        self._whole, self.separate = False, True
        if more:
            self.parameters += more
            self.flat = FlatParameters(self.parameters)
            self._watched = self.flat.gradients
            state |= make_optimizer(more, self._config, self.flat.device).state
        self.optimizer.param_groups[0]["params"] = list(self.parameters)
        if isinstance(self.optimizer, torch.optim.SGD):
            # Fused, torch's fails where only some parameters have a momentum.
            self.optimizer.param_groups[0]["fused"] = False
        self.optimizer.state.clear()
        self.optimizer.state.update(state)

    def _state_of_each(self) -> dict[Any, Any]:
        """State of the optimiser for each parameter, cut from that of the buffers."""
        found: dict[Any, Any] = {}
        for parameter in self.parameters:
            buffer, start = self.flat.offset(parameter)
            whole = self.flat.values[buffer]
            own = slice(start, start + parameter.numel())
            found[parameter] = {
                name: value[own].view(parameter.shape).clone()
                if isinstance(value, Tensor) and value.shape == whole.shape
                else value.clone()
                if isinstance(value, Tensor)
                else value
                for name, value in self.optimizer.state.get(whole, {}).items()
            }
        return {parameter: state for parameter, state in found.items() if state}

    @property
    def is_recordable(self) -> bool:
        """Whether the optimiser reads on the device all that changes between steps, and which to skip."""
        fused = bool(self.optimizer.param_groups[0].get("fused"))
        return self.static and fused and getattr(self.optimizer, "_step_supports_amp_scaling", False)

    def prepare(self) -> None:
        """Write down the learning rate where a static step reads it."""
        rate = self.learning_rate
        if self._static_rate is not None and rate != self._written_rate:
            self._static_rate.fill_(rate)
            self._written_rate = rate

    def begin(self) -> None:
        """Clear the gradients of the last step."""
        self.flat.begin()

    def collect(self) -> None:
        """Bring the gradients of this process into the flat buffers."""
        self.flat.collect()
        if not self.workers.alone:
            # One that has no gradient here may have one in another process.
            self.flat.without_gradient = {p for p in self.parameters if not p.requires_grad}
        elif self._whole and self.flat.without_gradient:
            self.treat_separately()

    def sum_over_processes(self, notes: Sequence[Tensor] = ()) -> Tensor:
        """Sum the collected gradients over all processes, and some scalars along with them.

        Returns
        -------
        Tensor
            The sums of the notes, (len(notes),), in a buffer that the next sum overwrites.
        """
        numbers = torch.stack([note.float() for note in notes]) if notes else torch.empty(0)
        return self.flat.sum_over(self.workers.sum_, numbers)

    @property
    def is_sharded(self) -> bool:
        """Whether each process moves a share of the weights, so that :meth:`gather` must follow."""
        return self._shards is not None

    def gather(self) -> None:
        """Give all processes the weights that each of them has moved."""
        if self._shards is not None:
            self._shards.gather()

    def watch(self, covered: set[Tensor]) -> None:
        """Leave out of :meth:`totals` what other gradients cover."""
        watched = [p for p in self.parameters if p not in covered]
        some = len(watched) < len(self.parameters)
        self._watched = self.flat.gradients_of(watched) if some else self.flat.gradients

    def totals(self) -> Sequence[Tensor]:
        """Return sums of the gradients: not finite if a gradient is not, and cheaper than the norm.

        Several are those of biases, which are short, so that sums of their magnitudes take one call.
        """
        if len(self._watched) == 1:
            return [self._watched[0].sum()]
        return torch._foreach_norm(self._watched, 1)

    def norm_of(self, step: int) -> Tensor | None:
        """Return the norm of all gradients, clipped as in :meth:`norm`; without ``clip`` not at every step.

        A static step has it always, as the number of the step must not matter there.
        """
        if not self.static and self.clip is None and step % GRADIENT_NORM_EVERY:
            return None
        return self.norm()

    def norm(self) -> Tensor:
        """Return the norm of all gradients, then clip them if ``clip`` is set."""
        norms = [torch.linalg.vector_norm(g, dtype=torch.float32) for g in self.flat.gradients]
        norm = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
        if self.clip is not None and self.static:
            # A nan would remain in the gaps between gradients, which no step overwrites.
            scale = torch.clamp(self.clip / (norm + 1e-6), max=1.0).nan_to_num(1.0)
            torch._foreach_mul_(self.flat.gradients, scale)
        elif self.clip is not None and norm.item() > self.clip:
            torch._foreach_mul_(self.flat.gradients, self.clip / (norm.item() + 1e-6))
        return norm

    def apply(self, bad: Tensor | bool) -> None:
        """Step the optimiser, unless the step is bad."""
        if self.is_recordable:
            keeps_state = self.optimizer.param_groups[0].get("momentum") != 0
            if keeps_state and not self.optimizer.state and bad:  # until it has begun, the host waits here
                return
            self.optimizer.found_inf = torch.as_tensor(bad).float()  # type: ignore[attr-defined]
            with self._static_settings():
                self._step()
        elif not bad:
            self._step()

    @contextmanager
    def _static_settings(self) -> Iterator[None]:
        """Have the optimiser read the learning rate on the device, unseen by its schedule and checkpoints."""
        group = self.optimizer.param_groups[0]
        static: dict[str, Any] = {"lr": self._static_rate, "capturable": True}
        own: dict[str, Any] = {name: group[name] for name in static if name in group}
        group.update({name: static[name] for name in own})
        try:
            yield
        finally:
            group.update(own)
            del self.optimizer.found_inf  # type: ignore[attr-defined]

    def _step(self) -> None:
        if self._chunked is not None:
            self._chunked.step()
        elif self._whole:
            if not step_adam(self.optimizer):
                self.optimizer.step()
        else:
            self.flat.hand_out()
            self.optimizer.step()
            self.flat.begin()
        self._taken += 1
        if not self._taken % DENORMALS_EVERY and not self.static and self.flat.device.type == "cpu":
            drop_denormals(self.optimizer)

    def adam_state(self) -> dict[str, Tensor]:
        """State of an Adam or AdamW over one flat buffer, as it begins if there is none yet.

        Returns
        -------
        dict of str to Tensor
            ``step``, (), and ``exp_avg`` and ``exp_avg_sq``, (P,): those that the optimiser works on.
        """
        return adam_state(self.optimizer)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the first parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def lower_learning_rate(self, factor: float) -> None:
        """Multiply the learning rate, now and in the rest of the schedule."""
        self.rates.scale(factor)

    def end_epoch(self, loss: float, step: int) -> None:
        """Step the learning-rate schedule; ``loss`` is for one that watches the loss."""
        self.rates.step(loss, step)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of optimiser and schedule; if it is sharded, all processes must call this."""
        state = self.optimizer.state_dict()
        return {
            "optimizer": state if self._shards is None else self._shards.whole(state),
            **self.rates.state_dict(),
            **({"separate": True} if self.separate else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned, with any number of processes."""
        optimizer = state["optimizer"]
        self.optimizer.load_state_dict(optimizer if self._shards is None else self._shards.own(optimizer))
        self._taken = steps_taken(self.optimizer)
        self.rates.load_state_dict(state)
