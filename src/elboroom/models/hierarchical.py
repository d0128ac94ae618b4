"""A VAE with several stochastic layers, whose codes are concatenated, top layer first.

All of a hierarchy except its encoder is one module, the VAE's decoder. It maps a whole code to the example
and holds each layer's prior and posterior, because these share their top-down computation.
``vae.posterior`` and ``vae.prior`` are views of it. ``decode``, ``sample``, ``embed`` and the other methods
are those of any VAE.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any, ClassVar, Protocol, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elboroom.config.sections import either
from elboroom.errors import UsageError
from elboroom.models.chunks import has_memory_to_fill, numbers_at_once, out_of_memory
from elboroom.models.conditioning import Condition, Conditioning
from elboroom.models.terms import Draws, Terms
from elboroom.models.vae import VAE
from elboroom.networks.ladder import Draw, Ladder
from elboroom.probability import Likelihood
from elboroom.probability.likelihoods import log_prob_by_number

# Numbers in the widest hidden layer at a time during importance sampling: 64 MB in float32.
_HIDDEN_NUMBERS = 16_000_000


class Hierarchy(Protocol):
    """What the decoder of a :class:`HierarchicalVAE` offers: a chain or a ladder."""

    layers: tuple[slice, ...]
    latent_dim: int
    peak: int
    conditioned_parts: tuple[str, ...]

    def standardize(self, z: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Codes in units of each layer's prior given those above, and the priors' log-scales, (n, d) both."""
        ...

    def place(self, standard: Tensor, c: Tensor | None = None, *, above: Tensor | None = None) -> Tensor:
        """Codes (n, d) from codes in units of the priors; ``above`` (n, d') fixes the upper layers."""
        ...

    def infer(
        self, features: Tensor, num_samples: int, c: Tensor | None = None, *, temperature: float = 1.0
    ) -> Draw:
        """Draw k codes of each of b examples from q(z|x, c); a temperature of 0 gives the means."""
        ...


def layer_log_prior(hierarchy: Hierarchy, z: Tensor, c: Tensor | None = None) -> Tensor:
    """Log p(z_l | z above, c) of each layer, (L, n), nats, for codes (n, d) and conditions (m, C) in turn."""
    standard, log_scale = hierarchy.standardize(z, c)
    each = -(0.5 * (standard.square() + math.log(2 * math.pi)) + log_scale)
    return torch.stack([each[:, layer].sum(1) for layer in hierarchy.layers])


class HierarchicalPosterior:
    """q(z|x) = Π q(z_l | other layers, x) of b examples, from the encoder's features of them."""

    stochastic: ClassVar[bool] = True

    def __init__(self, hierarchy: Hierarchy, features: Tensor, c: Tensor | None = None):
        self._hierarchy = hierarchy
        self._features = features
        self._c = c

    def given(self, c: Tensor) -> HierarchicalPosterior:
        """Condition the same examples on c (b, C): q(z|x, c)."""
        return HierarchicalPosterior(self._hierarchy, self._features, c)

    @property
    def closed_form_rates(self) -> bool:
        """Whether each layer's rate is exact given the layers above, instead of estimated from its draw."""
        return isinstance(self._hierarchy, Ladder)

    @cached_property
    def mean(self) -> Tensor:
        """Each layer's posterior mean given the means of the layers it depends on, (b, d)."""
        return self._hierarchy.infer(self._features, 1, self._c, temperature=0.0).z[0]

    def draw(self, num_samples: int) -> Draw:
        """Draw k codes, with their densities, rates and decoded features, in one pass."""
        return self._hierarchy.infer(self._features, num_samples, self._c)

    def rsample_and_log_prob(self, num_samples: int) -> tuple[Tensor, Tensor]:
        """Draw z (k, b, d), differentiably, and its log-density (k, b) in nats."""
        drawn = self.draw(num_samples)
        return drawn.z, drawn.log_q


class _View(nn.Module):
    """A view of the decoder as another part of the model; it has no weights of its own."""

    def __init__(self, hierarchy: Hierarchy):
        super().__init__()
        self.latent_dim = hierarchy.latent_dim
        self._hierarchy = (hierarchy,)  # in a tuple, so that it is not registered as a submodule too


class HierarchicalPrior(_View):
    """p(z) = Π p(z_l | z above), with the decoder's weights.

    Parameters
    ----------
    hierarchy : Hierarchy
        The decoder; it remains a part of the model and not of the prior.
    c : Tensor, optional
        Conditions (m, C), which the codes take in turn: p(z|c).
    """

    def __init__(self, hierarchy: Hierarchy, c: Tensor | None = None):
        super().__init__(hierarchy)
        self._c = c

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (..., d), or (..., m, d) with m conditions, in nats, (...)."""
        log_p = layer_log_prior(self._hierarchy[0], z.reshape(-1, self.latent_dim), self._c)
        return log_p.sum(0).reshape(z.shape[:-1])

    def standardize(self, z: Tensor) -> Tensor:
        """Codes (n, d), each layer in units of its prior given those above."""
        return self._hierarchy[0].standardize(z, self._c)[0]

    def place(self, standard: Tensor) -> Tensor:
        """Codes (n, d) from codes in units of the priors."""
        return self._hierarchy[0].place(standard, self._c)

    def sample(self, n: int) -> Tensor:
        """Draw n codes from the top down, (n, d)."""
        return self.place(_numbers(self._hierarchy[0], n).normal_())


class ConditionalHierarchicalPrior(_View):
    """p(z|c) for any c: :meth:`given` makes a :class:`HierarchicalPrior` of it."""

    def given(self, c: Tensor) -> HierarchicalPrior:
        """The prior of each of the conditions c (m, C)."""
        return HierarchicalPrior(self._hierarchy[0], c)


class _PosteriorView(_View):
    """The posterior head: the encoder's features as they are."""

    makes = HierarchicalPosterior

    def forward(self, features: Tensor) -> HierarchicalPosterior:
        return HierarchicalPosterior(self._hierarchy[0], features)


class HierarchicalVAE(VAE):
    """A VAE with several stochastic layers.

    Parameters
    ----------
    encoder : nn.Module
        Maps x (b, *shape) to the features that the hierarchy's ``infer`` reads, (b, numbers).
    hierarchy : nn.Module
        A :class:`Hierarchy`; maps (n, d) to (n, *likelihood.in_shape) and becomes the decoder.
    shape, likelihood, scale, conditioning
        As in :class:`VAE`.

    Raises
    ------
    UsageError
        If the hierarchy was not made for the parts that ``conditioning`` conditions.

    Examples
    --------
    >>> from elboroom.networks.ladder import Ladder
    >>> from elboroom.networks.ladder_parts import LadderEncoder
    >>> shape = (28, 28, 1)
    >>> vae = HierarchicalVAE(LadderEncoder(shape, width=8), Ladder(shape, width=8), shape=shape)
    >>> len(vae.layers), vae(torch.zeros(5, 28, 28, 1)).rates.shape
    (6, torch.Size([6, 5]))
    """

    def __init__(
        self,
        encoder: nn.Module,
        hierarchy: nn.Module,
        *,
        shape: Sequence[int],
        likelihood: nn.Module | None = None,
        scale: float = 255.0,
        conditioning: Conditioning | None = None,
    ):
        stack = cast(Hierarchy, hierarchy)
        _check_parts(stack, () if conditioning is None else conditioning.parts)
        conditional = "prior" in stack.conditioned_parts
        prior = ConditionalHierarchicalPrior(stack) if conditional else HierarchicalPrior(stack)
        parts: dict[str, Any] = {"posterior": _PosteriorView(stack), "likelihood": likelihood}
        super().__init__(
            encoder, hierarchy, prior, shape=shape, scale=scale, conditioning=conditioning, **parts
        )
        self.layers = stack.layers

    def infer(self, x: Tensor, condition: Condition | None = None) -> Any:
        """q(z|x) for x (b, *shape) in model units, differentiably."""
        q: Any = super().infer(x, condition)
        c = self._resolved(condition, len(x))
        return q if c is None else q.given(c)

    def forward(self, x: Tensor, num_samples: int = 1, condition: Condition | None = None) -> Terms:
        """Encode x (b, *shape), then draw and decode k codes of each example in one top-down pass."""
        c = self.condition_vectors(condition, len(x))
        q = self.infer(x, c)
        with self.products():
            drawn = q.draw(num_samples)
        rates = drawn.rates.mean(1)
        p: Likelihood = self.likelihood(drawn.features.to(x.dtype))
        return Terms(
            x=x,
            posterior=q,
            likelihood=p,
            prior=self.prior_given(c),
            z=drawn.z,
            generate=self.generate if c is None else partial(self.generate, condition=c),
            known={"log_q": drawn.log_q, "log_prior": drawn.log_p, "rate": rates.sum(0)},
            rates=rates,
        )

    def _most_draws(self, x: Tensor) -> int:
        numbers = numbers_at_once(x.device, _HIDDEN_NUMBERS)
        return numbers // max(1, len(x) * self._numbers_of_example())

    def _numbers_of_example(self) -> int:
        return max(math.prod(self.shape), cast(Hierarchy, self.decoder).peak)

    def _scored_rows(self) -> int:
        device = self._weight().device
        return self._embedded_rows() if has_memory_to_fill(device) else super()._scored_rows()

    def _weighted_draws(
        self, x: Tensor, q: Any, num_samples: int, prior: Any, c: Tensor | None, by_number: bool
    ) -> Draws:
        with out_of_memory(x.device, last=num_samples <= 1) as ran_out:
            return self._drawn_at_once(x, q, num_samples, by_number)
        assert ran_out
        fewer = num_samples // 2
        parts = [self._weighted_draws(x, q, k, prior, c, by_number) for k in (fewer, num_samples - fewer)]
        joined = [torch.cat([getattr(part, name) for part in parts]) for name in Draws._fields[:2]]
        rates = torch.cat([part.rates for part in parts if part.rates is not None], 1)
        each = (
            torch.cat([part.by_number for part in parts if part.by_number is not None]) if by_number else None
        )
        return Draws(*joined, rates, each)

    def _drawn_at_once(self, x: Tensor, q: Any, num_samples: int, by_number: bool) -> Draws:
        with self.products():
            drawn = q.draw(num_samples)
        p = self.likelihood(drawn.features.to(x.dtype))
        log_likelihood = p.log_prob(x)
        each = log_prob_by_number(p, x) if by_number else None
        return Draws(log_likelihood, log_likelihood + drawn.log_p - drawn.log_q, drawn.rates, each)

    def complete(
        self,
        above: Tensor | NDArray[Any],
        *,
        condition: Condition | None = None,
        temperature: float = 0.0,
    ) -> Tensor:
        """Complete codes whose upper layers are given, for a traversal of one layer.

        Parameters
        ----------
        above : array
            (n, d'), the first layers of the codes; d' is 0 or the end of a layer, ``vae.layers[l].stop``.
        condition : int, str or array
            For a conditional model: one label or vector for all codes, or one for each.
        temperature : float
            For the layers below: 0 takes their means given the layers above, 1 draws them from the prior.

        Returns
        -------
        Tensor
            (n, d), for :meth:`elboroom.VAE.decode`.

        Raises
        ------
        UsageError
            If d' is not the end of a layer.

        Examples
        --------
        >>> from elboroom.models.chain import make_chain
        >>> vae = make_chain((6,), latent_dims=(2, 3), hidden=((8,), (8,)))
        >>> top = vae.embed(torch.zeros(1, 6))[:, vae.layers[0]].repeat(5, 1)
        >>> top[:, 0] = torch.linspace(-2, 2, 5)
        >>> vae.decode(vae.complete(top)).mean.shape
        torch.Size([5, 6])
        """
        given = torch.as_tensor(above)
        stops = [0, *(layer.stop for layer in self.layers)]
        if given.ndim != 2 or given.shape[1] not in stops:
            raise UsageError(
                f"got upper layers of shape {tuple(given.shape)}; the model takes (n, d') with d' = "
                f"{either(stops)}, where its layers end"
            )
        hierarchy, n = cast(Hierarchy, self.decoder), len(given)
        with self.at_rest():
            standard = _numbers(self, n)
            if temperature:
                standard.normal_(std=temperature)
            return hierarchy.place(standard, self._resolved(condition, n), above=given.to(standard))


def _numbers(part: Any, n: int) -> Tensor:
    """Zeros for n codes (n, d), with the dtype and device of a module's weights."""
    return next(part.parameters()).new_zeros((n, part.latent_dim))


def _check_parts(hierarchy: Hierarchy, parts: Sequence[str]) -> None:
    made_for, wanted = (
        [part for part in ("decoder", "prior") if part in one] for one in (hierarchy.conditioned_parts, parts)
    )
    if made_for != wanted:
        raise UsageError(
            f"the {type(hierarchy).__name__} was made with a condition for "
            f"{' and '.join(made_for) or 'neither decoder nor prior'}, and conditioning is for "
            f"{' and '.join(wanted) or 'neither'}; make them agree"
        )
