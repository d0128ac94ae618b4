"""The ways through a step: written out by hand, in chains of linear layers, or by autograd alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

from elboroom.models.vae import VAE
from elboroom.objectives import Objective
from elboroom.training.step.chains import Chains
from elboroom.training.step.direct import Direct
from elboroom.training.step.interventions import Watch, has_accumulation_hooks, needs_backward
from elboroom.training.step.sides import ByAutograd
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
        self._chains = self._found(update)
        self._update = update
        self.choose(update)

    def _found(self, update: Update) -> Chains:
        return Chains(self._vae, update.flat, self._dtype, lambda: self._objective.differentiated)

    def choose(self, update: Update) -> None:
        """Look at the model anew and choose."""
        if self._chains.flat is update.flat:
            self._chains.find()
        else:
            self._chains = self._found(update)
        chains = self._chains
        low = self._dtype != torch.float32 and update.flat.device.type == "cpu"
        if not (low and chains.hold_everything and update.lower_gradients(chains.shadows)):
            update.raise_gradients()
        self._update = update
        # Also those that chains hold: an objective may call a network again, without its chains.
        self._sought = [p for p in self._parameters if p.requires_grad]
        self._needs_backward: dict[int, bool] = {}  # of the loss or the encoder's output, and the decoder's
        update.watch(chains.covered_by_biases)
        by = ByAutograd(self._around_networks, self.differentiate)
        self.direct = Direct.of(self._vae, self._objective, chains, by)
        self.autocast = self._precision == "bf16" and not chains.hold_all_products
        modules = chains.replaced
        if self.direct is not None:
            modules = [*self._vae.modules(), *self._objective.modules()]
        self._watch = Watch(modules, chains.held, self._parameters)
        self.refresh()

    def differentiate(
        self, output: Tensor, gradient: Tensor | None = None, codes: Tensor | None = None
    ) -> Tensor | None:
        """Add the gradients to ``grad`` of the parameters, and those that chains hold to the flat buffer.

        ``output.backward()`` does the same, but copies gradients that are not laid out as their parameters
        once more than needed.

        Parameters
        ----------
        output : Tensor
            The loss, or the output of a network.
        gradient : Tensor, optional
            That of the loss by the output of a network.
        codes : Tensor, optional
            The input of a network whose gradient is returned.
        """
        if gradient is not None and not output.requires_grad:  # all of the encoder is frozen
            return None
        sought, kind = (self._sought, 0) if codes is None else ([*self._sought, codes], 1)
        if kind not in self._needs_backward:
            self._needs_backward[kind] = needs_backward(output, sought)
        with self._chains():  # for what computes activations again
            if self._needs_backward[kind] or has_accumulation_hooks(self._sought):
                torch.autograd.backward(output, gradient)
                by_codes = None if codes is None else codes.grad
                if codes is not None:
                    codes.grad = None
                return by_codes
            found = torch.autograd.grad(output, sought, gradient, allow_unused=True)
        for parameter, own in zip(self._sought, found, strict=False):
            if own is not None:
                parameter.grad = own if parameter.grad is None else parameter.grad + own
        return None if codes is None else found[-1]

    @contextmanager
    def _around_networks(self) -> Iterator[None]:
        """What surrounds a single network in a step."""
        with self._vae.lowered("bf16" if self.autocast else "fp32"), self._chains(), self._vae.products():
            yield

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
