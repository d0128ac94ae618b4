"""What a conditional model does with conditions: :class:`VAE` is one of these."""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn

from elboroom.errors import UsageError
from elboroom.models.conditioning import Condition, Conditioning


class Conditional(nn.Module):
    """A module that may have to be told a condition with each example, and its prior, which may too.

    Attributes
    ----------
    conditioning : Conditioning or None
        How it is told; None if it is not.
    prior : nn.Module
        p(z); with a method ``given`` p(z|c).
    """

    conditioning: Conditioning | None
    prior: Any

    def __init__(self) -> None:
        super().__init__()
        self._given: Tensor | None = None

    @property
    def condition(self) -> Conditioning | None:
        """What must be given with each example; None if nothing is, or it is fixed."""
        return self.conditioning if self._given is None else None

    def given(self, condition: Condition) -> Self:
        """Fix the condition of a conditional model: what is left is a VAE like any other.

        Parameters
        ----------
        condition : int, str or array
            One label, by number or name, or one vector (C,).

        Returns
        -------
        VAE
            With the same networks, p(z|c) in place of the prior, and methods that take no condition: for
            all that draws or measures a model. The prior is that at the present weights.

        Raises
        ------
        UsageError
            If the model takes no condition, or no such one.

        Examples
        --------
        >>> from elboroom.models.vae import VAE
        >>> vae = VAE.build(shape=(4,), hidden=[8], condition="labels", condition_dim=3)
        >>> vae.given(2).sample(5).shape
        torch.Size([5, 4])
        """
        with torch.no_grad():
            c = self._resolved(condition, 1)
            view = copy.copy(self)
            view.__dict__["_given"] = c
            if hasattr(self.prior, "given"):
                # The copy shares its table of parts with this model, and is to have a prior of its own.
                parts = {name: part for name, part in self._modules.items() if name != "prior"}
                view.__dict__["_modules"] = parts
                view.__dict__["prior"] = self.prior.given(c)
        return view

    def _resolved(self, condition: Condition | None, n: int) -> Tensor | None:
        """Conditions of n examples as the parts take them, (n, C); None of a model without."""
        if self.conditioning is None:
            if condition is not None:
                raise UsageError(
                    "this model takes no condition: leave it out, or train a model with --condition labels"
                )
            return None
        if self._given is not None:
            if condition is not None:
                raise UsageError("the condition of this model is fixed; give another to the whole model")
            return self._given.to(self._weight()).expand(n, -1)
        if condition is None:
            raise UsageError(
                "this model is conditional: with each example give condition=, "
                f"{self.conditioning.describe()}"
            )
        return self.conditioning.vectors(condition, n, self._weight())

    def condition_vectors(self, condition: Condition | None, n: int) -> Tensor | None:
        """Conditions of n examples as the parts take them, (n, C); None where nothing is to be given.

        Raises
        ------
        UsageError
            If a condition is missing, or none is wanted, or it is none of the model's.
        """
        return None if condition is None and self.condition is None else self._resolved(condition, n)

    def prior_given(self, c: Tensor | None) -> Any:
        """The prior as it is at this moment, of these conditions (m, C) if it is conditional."""
        if c is not None and hasattr(self.prior, "given"):
            return self.prior.given(c)
        return self.prior.mixture() if hasattr(self.prior, "mixture") else self.prior

    def _weight(self) -> Tensor:
        """Any weight, for its device and dtype."""
        return next(self.parameters(), torch.empty(()))


def check_told(conditioning: Conditioning | None, prior: Any) -> None:
    """Refuse a prior that does not fit what the parts are told.

    Raises
    ------
    UsageError
        If it can be given conditions and is told none, or the other way round; or if it encodes
        pseudo-inputs with an encoder that wants conditions.
    """
    parts = () if conditioning is None else conditioning.parts
    name = type(prior).__name__
    if ("prior" in parts) != hasattr(prior, "given"):
        raise UsageError(
            f"the parts that take a condition are {', '.join(parts) or 'none'}, and the prior is a {name}; "
            "a ConditionalNormal goes with parts that name the prior, and only it does"
        )
    if "encoder" in parts and hasattr(prior, "bind"):
        raise UsageError(
            f"a {name} encodes pseudo-inputs, which have no condition; leave the encoder out of the parts "
            "that take one, or take another prior"
        )
