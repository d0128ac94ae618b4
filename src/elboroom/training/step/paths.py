"""The ways through a step: written out by hand, in chains of linear layers, or by autograd alone."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from elboroom.models.vae import VAE
from elboroom.objectives import Objective
from elboroom.training.step.chains import Chains
from elboroom.training.step.direct import Direct
from elboroom.training.step.interventions import Watch, has_accumulation_hooks, needs_backward
from elboroom.training.step.update import Update

# Where the optimiser keeps the low-precision copies up to date, they are renewed after so many steps all the
# same, in case something else has changed the weights.
_REFRESH_EVERY = 50


class Paths:
    """Chooses the fastest way that gives what a plain loop over the same model gives.

    Parameters
    ----------
    vae, objective
        What is trained.
    precision : {"fp32", "bf16"}
        Of the products.
    parameters : sequence of Tensor
        All that might be trained.

    Attributes
    ----------
    direct : Direct or None
        The whole step, written out; None if the model or the objective is not of that kind.
    autocast : bool
        Whether layers outside of chains are to multiply in bfloat16.
    """

    def __init__(
        self, vae: VAE, objective: Objective, update: Update, precision: str, parameters: Sequence[Tensor]
    ):
        self._vae = vae
        self._objective = objective
        self._precision = precision
        self._parameters = parameters
        self._dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self._chains = Chains(vae, update.flat, self._dtype)
        self._update = update
        self.choose(update)

    def choose(self, update: Update) -> None:
        """Look at the model anew and choose."""
        if self._chains.flat is update.flat:
            self._chains.find()
        else:
            self._chains = Chains(self._vae, update.flat, self._dtype)
        chains = self._chains
        low = self._dtype != torch.float32 and update.flat.device.type == "cpu"
        if not (low and chains.hold_everything and update.lower_gradients(chains.shadows)):
            update.raise_gradients()
        self._update = update
        # Also those that chains hold: an objective may call a network again, without its chains.
        self._sought = [p for p in self._parameters if p.requires_grad]
        self._needs_backward: bool | None = None
        update.watch(chains.covered_by_biases)
        self.direct = Direct.of(self._vae, self._objective, chains)
        self.autocast = self._precision == "bf16" and not chains.hold_all_products
        modules = chains.replaced
        if self.direct is not None:
            modules = [*self._vae.modules(), *self._objective.modules()]
        self._watch = Watch(modules, chains.held, self._parameters)
        self.refresh()

    def differentiate(self, loss: Tensor) -> None:
        """Add the gradients of a loss to ``grad`` of the parameters, and what chains hold to the flat buffer.

        ``loss.backward()`` does the same, but copies gradients that are not laid out as their parameters once
        more than needed.
        """
        if self._needs_backward is None:
            self._needs_backward = needs_backward(loss, self._sought)
        with self._chains():  # for what computes activations again
            if self._needs_backward or has_accumulation_hooks(self._sought):
                torch.autograd.backward(loss)
                return
            found = torch.autograd.grad(loss, self._sought, allow_unused=True)
        for parameter, gradient in zip(self._sought, found, strict=True):
            if gradient is not None:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient

    def is_disturbed(self) -> bool:
        """Whether hooks, replaced methods or a change of ``requires_grad`` ask for a new choice."""
        return self._watch.is_disturbed()

    @property
    def covered(self) -> set[Tensor]:
        """Parameters whose gradient is finite if those of all others are."""
        return self._chains.covered_by_biases

    def chains(self) -> AbstractContextManager[None]:
        """Let the model's chains of linear layers run as such while the context lasts."""
        return self._chains()

    def refresh(self) -> None:
        """Renew the low-precision copies after something else has changed the weights."""
        self._chains.refresh()

    def prepare(self, steps: int) -> None:
        """Have the low-precision copies ready for the step after ``steps`` others."""
        if not self._update.keeps_copies or not steps % _REFRESH_EVERY:
            self.refresh()
