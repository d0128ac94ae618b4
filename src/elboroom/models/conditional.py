"""The condition of a model: checked and resolved, fixed with ``given``, and passed to the prior."""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn

from elboroom.errors import UsageError
from elboroom.models.conditioning import Condition, Conditioning


class Conditional(nn.Module):
    """A module that may take a condition with each example, and whose prior may depend on it.

    Attributes
    ----------
    conditioning : Conditioning or None
        How the condition enters; None for a model without one.
    prior : nn.Module
        p(z); one with a method ``given`` is p(z|c).
    """

    conditioning: Conditioning | None
    prior: Any

    def __init__(self) -> None:
        super().__init__()
        self._given: Tensor | None = None

    @property
    def condition(self) -> Conditioning | None:
        """The condition that each example needs; None if the model takes none, or it is fixed."""
        return self.conditioning if self._given is None else None

    def given(self, condition: Condition) -> Self:
        """Fix the condition of a conditional model, which makes it a VAE like any other.

        Parameters
        ----------
        condition : int, str or array
            One label, by number or name, or one vector (C,).

        Returns
        -------
        VAE
            With the same networks, p(z|c) as its prior, and methods that take no condition, for any function
            that draws or measures a model. The prior is computed once, at the present weights.

        Raises
        ------
        UsageError
            If the model takes no condition, or not this one.

        Examples
        --------
        >>> from elboroom.models.vae import VAE
        >>> vae = VAE.build(shape=(4,), hidden=[8], condition="labels", condition_dim=3)
        >>> vae.given(2).sample(5).shape
        torch.Size([5, 4])
        """
        with torch.no_grad():
            c = self._resolved(condition, 1)
            view = self._with(self.prior.given(c)) if hasattr(self.prior, "given") else copy.copy(self)
            view.__dict__["_given"] = c
        return view

    def with_prior(self, prior: Any) -> Self:
        """Use another prior, such as one fitted after training, without a change to this model.

        Parameters
        ----------
        prior : object
            With ``latent_dim``, ``log_prob(z)`` in nats and ``sample(n)``. A module is copied to this model's
            device and type of numbers.

        Returns
        -------
        VAE
            With the same networks, whose samples, rate, ELBO and NLL are those of the new prior.

        Raises
        ------
        UsageError
            If its codes have another size, or the model is conditional.
        """
        if self.condition is not None:
            raise UsageError("a conditional model has a prior p(z|c) of each condition; fix it with given()")
        if prior.latent_dim != self.prior.latent_dim:
            raise UsageError(
                f"the prior is over codes of {prior.latent_dim} numbers, and the model's have "
                f"{self.prior.latent_dim}"
            )
        if isinstance(prior, nn.Module):
            prior = copy.deepcopy(prior).to(next(self.parameters()))
        return self._with(prior)

    def _with(self, prior: Any) -> Self:
        view = copy.copy(self)
        # The copy shares this model's table of submodules, and needs a prior of its own.
        view.__dict__["_modules"] = {name: part for name, part in self._modules.items() if name != "prior"}
        view.__dict__["prior"] = prior
        return view

    def _resolved(self, condition: Condition | None, n: int) -> Tensor | None:
        """Condition vectors of n examples, (n, C); None for a model without conditions."""
        if self.conditioning is None:
            if condition is not None:
                raise UsageError(
                    "this model takes no condition: leave it out, or train a model with --condition labels"
                )
            return None
        if self._given is not None:
            if condition is not None:
                raise UsageError(
                    "the condition of this model is fixed: leave condition= out, or give it to the model "
                    "that given() was called on"
                )
            return self._given.to(self._weight()).expand(n, -1)
        if condition is None:
            raise UsageError(
                f"this model is conditional: give condition=, {self.conditioning.describe()}, for all "
                "examples or for each"
            )
        return self.conditioning.vectors(condition, n, self._weight())

    def condition_vectors(self, condition: Condition | None, n: int) -> Tensor | None:
        """Condition vectors of n examples, (n, C); None if the model takes none, or it is fixed.

        Raises
        ------
        UsageError
            If a condition is missing, not wanted, or not one that the model knows.
        """
        return None if condition is None and self.condition is None else self._resolved(condition, n)

    def prior_given(self, c: Tensor | None) -> Any:
        """The prior at the present weights, for the conditions c (m, C) if it is conditional."""
        if c is not None and hasattr(self.prior, "given"):
            return self.prior.given(c)
        return self.prior.mixture() if hasattr(self.prior, "mixture") else self.prior

    def _weight(self) -> Tensor:
        """Any weight, for its device and dtype."""
        return next(self.parameters(), torch.empty(()))


def check_conditioned(conditioning: Conditioning | None, prior: Any) -> None:
    """Refuse a prior that does not fit the parts that take a condition.

    Raises
    ------
    UsageError
        If only one of the prior and ``conditioning`` is for a conditional prior, or if the prior encodes
        pseudo-inputs with an encoder that takes a condition.
    """
    parts = () if conditioning is None else conditioning.parts
    name = type(prior).__name__
    if ("prior" in parts) != hasattr(prior, "given"):
        raise UsageError(
            f"conditioning.parts = {parts!r} and the prior is a {name}; it must be a ConditionalNormal "
            "if the parts include 'prior', and only then"
        )
    if "encoder" in parts and hasattr(prior, "bind"):
        raise UsageError(
            f"conditioning.parts = {parts!r} and the prior is a {name}, which encodes pseudo-inputs without "
            "a condition; leave 'encoder' out of the parts, or take another prior"
        )
