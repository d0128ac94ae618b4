"""A VAE whose code is that of several stochastic layers, side by side, the top one first.

All of a hierarchy but its encoder is one module, the VAE's decoder: it maps a whole code to the picture and
knows each layer's prior and posterior, as these share what they compute on the way down. ``vae.posterior``
and ``vae.prior`` are views of it. ``decode``, ``sample``, ``embed`` and the rest are those of any VAE.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar, Protocol, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elboroom.conditions import Condition
from elboroom.errors import UsageError
from elboroom.model import VAE
from elboroom.networks.ladder import Draw, Ladder
from elboroom.probability import BernoulliHead, Likelihood
from elboroom.terms import Terms

# Numbers of the widest hidden grid held at once while importance sampling: 64 MB in float32.
_HIDDEN_NUMBERS = 16_000_000


class Hierarchy(Protocol):
    """What the decoder of a :class:`HierarchicalVAE` can do: a chain or a ladder."""

    layers: tuple[slice, ...]
    latent_dim: int
    peak: int

    def log_prior(self, z: Tensor) -> Tensor:
        """Log p(z_l | z above) of each layer for codes (n, d): (L, n), nats."""
        ...

    def complete(self, n: int, above: Tensor | None = None, *, temperature: float = 0.0) -> Tensor:
        """Codes (n, d) whose upper layers (n, d') are given, the lower ones from their priors."""
        ...

    def infer(self, features: Tensor, num_samples: int, *, temperature: float = 1.0) -> Draw:
        """Draw k codes of each of b examples from q(z|x)."""
        ...


class HierarchicalPosterior:
    """q(z|x) = Π q(z_l | other layers, x) of b examples, by what the encoder made of them."""

    stochastic: ClassVar[bool] = True

    def __init__(self, hierarchy: Hierarchy, features: Tensor):
        self._hierarchy = hierarchy
        self._features = features

    @property
    def closed_form_rates(self) -> bool:
        """Whether each layer's rate is exact given the layers above, and not estimated from its draw."""
        return isinstance(self._hierarchy, Ladder)

    @cached_property
    def mean(self) -> Tensor:
        """Each layer's posterior mean given the means of the layers it depends on, (b, d)."""
        return self._hierarchy.infer(self._features, 1, temperature=0.0).z[0]

    def draw(self, num_samples: int) -> Draw:
        """K codes with their densities, rates and decoded features, in one pass."""
        return self._hierarchy.infer(self._features, num_samples)

    def rsample_and_log_prob(self, num_samples: int) -> tuple[Tensor, Tensor]:
        """Draw z (k, b, d), differentiably, and its log-density (k, b) in nats."""
        drawn = self.draw(num_samples)
        return drawn.z, drawn.log_q


class HierarchicalPrior(nn.Module):
    """p(z) = Π p(z_l | z above), whose weights are the decoder's.

    Parameters
    ----------
    hierarchy : Hierarchy
        The decoder; it stays a part of the model, not of the prior.
    """

    def __init__(self, hierarchy: Hierarchy):
        super().__init__()
        self.latent_dim = hierarchy.latent_dim
        self._hierarchy = (hierarchy,)  # in a tuple, lest its weights be saved twice

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (..., d) in nats, (...)."""
        log_p = self._hierarchy[0].log_prior(z.reshape(-1, self.latent_dim))
        return log_p.sum(0).reshape(z.shape[:-1])

    def sample(self, n: int) -> Tensor:
        """Draw n codes from the top down, (n, d)."""
        return self._hierarchy[0].complete(n, temperature=1.0)


class _PosteriorView(nn.Module):
    """The posterior head: the encoder's features as they are."""

    makes = HierarchicalPosterior

    def __init__(self, hierarchy: Hierarchy):
        super().__init__()
        self.latent_dim = hierarchy.latent_dim
        self._hierarchy = (hierarchy,)

    def forward(self, features: Tensor) -> HierarchicalPosterior:
        return HierarchicalPosterior(self._hierarchy[0], features)


class HierarchicalVAE(VAE):
    """A VAE with several stochastic layers.

    Parameters
    ----------
    encoder : nn.Module
        x (b, *shape) to what the hierarchy's ``infer`` reads, (b, numbers).
    hierarchy : nn.Module
        A :class:`Hierarchy`, (n, d) → (n, *likelihood.in_shape); becomes the decoder.
    shape, likelihood, scale
        As in :class:`VAE`.

    Attributes
    ----------
    layers : tuple of slice
        Which part of a code belongs to which layer, top first.

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
    ):
        stack = cast(Hierarchy, hierarchy)
        super().__init__(
            encoder,
            hierarchy,
            HierarchicalPrior(stack),
            shape=shape,
            posterior=_PosteriorView(stack),
            likelihood=BernoulliHead(tuple(shape)) if likelihood is None else likelihood,
            scale=scale,
        )
        self.layers = stack.layers

    def forward(self, x: Tensor, num_samples: int = 1, condition: Condition | None = None) -> Terms:
        """Encode x (b, *shape), draw k codes of each on the way down, which ends at the picture."""
        q: Any = self.infer(x, condition)
        with self.products():
            drawn: Draw = q.draw(num_samples)
        p: Likelihood = self.likelihood(drawn.features.to(x.dtype))
        return Terms(
            x=x,
            posterior=q,
            likelihood=p,
            prior=self.prior,
            z=drawn.z,
            generate=self.generate,
            known={"log_q": drawn.log_q, "log_prior": drawn.log_p, "rate": drawn.rates.sum(0)},
            rates=drawn.rates,
        )

    def importance(
        self, x: Tensor, num_samples: int, condition: Condition | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Importance samples of x in chunks, as :meth:`VAE.importance`, in one pass down for each chunk."""
        q: Any = self.infer(x, condition)
        peak = max(x[:1].numel(), cast(Hierarchy, self.decoder).peak)
        chunk = max(1, min(num_samples, _HIDDEN_NUMBERS // max(1, len(x) * peak)))
        for done in range(0, num_samples, chunk):
            with self.products():
                drawn: Draw = q.draw(min(chunk, num_samples - done))
            log_likelihood = self.likelihood(drawn.features.to(x.dtype)).log_prob(x)
            yield log_likelihood, log_likelihood + drawn.log_p - drawn.log_q

    def complete(self, above: Tensor | NDArray[Any], *, temperature: float = 0.0) -> Tensor:
        """Whole codes of which the upper layers are given, for a traversal of one layer.

        Parameters
        ----------
        above : array
            (n, d'), the first layers of codes, d' being the end of a layer (``vae.layers[l].stop``) or 0.
        temperature : float
            Of the layers below: 0 takes their means given the layers above, 1 draws them from the prior.

        Returns
        -------
        Tensor
            (n, d), for :meth:`decode`.

        Raises
        ------
        UsageError
            If d' is not the end of a layer.

        Examples
        --------
        >>> from elboroom.hierarchies.chain import make_chain
        >>> vae = make_chain((6,), latent_dims=(2, 3), hidden=((8,), (8,)))
        >>> top = vae.embed(torch.zeros(1, 6))[:, vae.layers[0]].repeat(5, 1)
        >>> top[:, 0] = torch.linspace(-2, 2, 5)
        >>> vae.decode(vae.complete(top)).mean.shape
        torch.Size([5, 6])
        """
        given = torch.as_tensor(above)
        ends = [0, *(layer.stop for layer in self.layers)]
        if given.ndim != 2 or given.shape[1] not in ends:
            raise UsageError(
                f"got upper layers of shape {tuple(given.shape)}; the model takes (n, d'), d' being "
                f"{', '.join(map(str, ends))}: where its layers end"
            )
        weight = self._weight()
        with self.at_rest():
            return cast(Hierarchy, self.decoder).complete(
                len(given), given.to(weight.device, weight.dtype), temperature=temperature
            )
