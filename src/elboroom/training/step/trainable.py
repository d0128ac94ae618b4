"""The parameters of a model and its objective: which optimiser moves each, and which are frozen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from elboroom.config import Config, OptimizerConfig
from elboroom.distributed.processes import Workers
from elboroom.errors import UsageError, some
from elboroom.models.vae import VAE
from elboroom.networks.recompute import recompute_activations
from elboroom.objectives import Objective
from elboroom.training.step.update import Update


class Trainable:
    """All parameters, and the updates that move them.

    A parameter is frozen while its ``requires_grad`` is False. As in a plain loop, its value and the
    optimiser's state of it then stay unchanged, and continue from there when it is set to True.

    Parameters
    ----------
    vae, objective
        What is trained; the parts of the objective that train against the model have updates of their own.
    config : Config
        Its optimizer and training sections.
    workers : Workers
        The processes that train together.
    static : bool
        As in :class:`Update`.

    Attributes
    ----------
    parameters : list of nn.Parameter
        All of them, frozen or not.
    updates : list of Update
        The first moves the model and what trains along with it.

    Raises
    ------
    UsageError
        If all are frozen, or activations are to be recomputed that cannot be.
    """

    def __init__(
        self, vae: VAE, objective: Objective, config: Config, workers: Workers, *, static: bool = False
    ):
        self._vae, self._objective = vae, objective
        self._config = config
        self._workers = workers
        self._static = static
        self._recomputes = config.training.checkpoint_activations
        if self._recomputes:
            recompute_activations(vae)
        self._named = self._names()
        self.parameters = list(self._named.values())
        opponents = objective.opponents
        apart = {p for part in opponents for p in part.parameters()}
        self._together = [p for p in self.parameters if p not in apart]
        self._check_any()
        self.updates = [self._model_update([p for p in self._together if p.requires_grad])]
        for part in opponents:
            own = OptimizerConfig(optimizer="Adam", lr=part.lr, optimizer_options={"betas": list(part.betas)})
            epochs, parameters = config.training.epochs, list(part.parameters())
            self.updates.append(Update(parameters, own, epochs, workers, static=static))
        self.follow()

    def _names(self) -> dict[str, nn.Parameter]:
        named = dict(self._vae.named_parameters())
        known = set(named.values())
        return named | {
            f"objective.{name}": p for name, p in self._objective.named_parameters() if p not in known
        }

    def _model_update(self, parameters: Sequence[nn.Parameter]) -> Update:
        training = self._config.training
        return Update(
            parameters,
            self._config.optimizer,
            training.epochs,
            self._workers,
            shard=training.shard_optimizer,
            static=self._static,
        )

    @property
    def frozen(self) -> list[str]:
        """Names of the parameters that are frozen."""
        return [name for name, p in self._named.items() if not p.requires_grad]

    def release(self) -> None:
        """Leave the model as it would be without a training, each parameter in its own storage."""
        for update in self.updates:
            update.flat.release()
        if self._recomputes:
            recompute_activations(self._vae, False)

    def follow(self) -> None:
        """Adapt the optimisers to what is frozen now.

        Raises
        ------
        UsageError
            If all are frozen, or the parameters are no longer those that training began with.
        """
        self._check_same()
        self._check_any()
        for update in self.updates:
            update.flat.adopt()
            if update.is_whole and not all(p.requires_grad for p in update.parameters):
                update.treat_separately()
        known = set(self.updates[0].parameters)
        more = [p for p in self._together if p.requires_grad and p not in known]
        if more:
            self.updates[0].treat_separately(more)

    def spread(self) -> None:
        """Freeze in all processes what the first one has frozen."""
        flags = [p.requires_grad for p in self.parameters]
        tensor = torch.tensor(flags, dtype=torch.uint8, device=self._workers.device)
        self._workers.spread([tensor])
        for p, flag in zip(self.parameters, tensor.tolist(), strict=True):
            p.requires_grad_(bool(flag))

    def _check_any(self) -> None:
        if not any(p.requires_grad for p in self._together):
            raise UsageError(
                "all parameters are frozen (requires_grad is False), so that there is nothing to train; "
                "leave some of them trainable"
            )

    def _check_same(self) -> None:
        now = self._names()
        if list(now) == list(self._named) and all(now[name] is p for name, p in self._named.items()):
            return
        both = dict.fromkeys([*self._named, *now])
        changed = [name for name in both if now.get(name) is not self._named.get(name)]
        raise UsageError(
            f"the model's parameters were replaced during training ({some(changed)}), and "
            "the optimiser still refers to the earlier ones; replace layers or parametrize them before fit"
        )

    def state_dict(self) -> dict[str, Any]:
        """Optimisers, which parameters the first one moves, and which are frozen."""
        moved = set(self.updates[0].parameters)
        order = {p: name for name, p in self._named.items()}
        assert moved.issubset(order)
        return {
            "updates": [update.state_dict() for update in self.updates],
            "trained": [order[p] for p in self.updates[0].parameters],
            "frozen": self.frozen,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; runs of earlier versions do not know what was frozen."""
        if "frozen" in state:
            for name, p in self._named.items():
                p.requires_grad_(name not in state["frozen"])
        if "trained" in state:
            trained = [self._named[name] for name in state["trained"]]
            separate = "separate" in state["updates"][0]
            first = self.updates[0]
            if separate != first.separate or list(map(id, trained)) != list(map(id, first.parameters)):
                self.updates[0] = self._model_update(trained)
        for update, kept in zip(self.updates, state["updates"], strict=True):
            if "separate" in kept and not update.separate:
                update.treat_separately()
            update.load_state_dict(kept)
