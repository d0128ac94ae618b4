"""Priors p(z) over codes.

A prior is a module (it may hold parameters) with ``latent_dim``, ``log_prob(z)`` over the last
dimension in nats, and ``sample(n)``. Some also have ``quantile(u)``, which maps uniform u in [0, 1]^d to
codes of the prior.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elboroom.errors import UsageError
from elboroom.probability.posteriors import DiagonalGaussian, Posterior, at_least, rows

# Numbers in memory at a time when codes are compared with all components of a mixture, without a graph.
_COMPARED_NUMBERS = 16_000_000
# Least standard deviation of a mixture's components: narrower ones would collapse onto single codes.
_LEAST_SCALE = 1e-3
# Pseudo-inputs start at least this share of the data's range inside it, where the sigmoid has a gradient.
_MARGIN = 0.02


class StandardNormal(nn.Module):
    """N(0, I) in d dimensions.

    Examples
    --------
    >>> StandardNormal(2).log_prob(torch.zeros(2)).item()  # -log 2π
    -1.8378...
    """

    def __init__(self, latent_dim: int):
        super().__init__()
        self.latent_dim = latent_dim
        # For the model's device and dtype; not saved.
        self.register_buffer("_zero", torch.zeros(()), persistent=False)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (..., d) in nats, (...)."""
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)

    def sample(self, n: int) -> Tensor:
        """Draw n codes, (n, d)."""
        zero = self._zero
        assert isinstance(zero, Tensor)
        return torch.randn(n, self.latent_dim, dtype=zero.dtype, device=zero.device)

    def quantile(self, u: Tensor) -> Tensor:
        """Inverse distribution function of each dimension, u (..., d) in (0, 1) → z (..., d)."""
        return torch.special.ndtri(u)

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"latent_dim={self.latent_dim}"


@dataclass(frozen=True)
class Mixture:
    """Σ_i weight_i q_i(z), whose components are the posteriors of a batch.

    Parameters
    ----------
    components : Posterior
        Posterior of n examples, with ``log_prob``.
    log_weights : Tensor
        (n,); their exponentials sum to 1.
    """

    components: Any
    log_weights: Tensor

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (..., d) in nats, (...); in chunks that fit in memory if no gradient is needed."""
        flat = z.reshape(-1, 1, z.shape[-1])
        size = max(1, _COMPARED_NUMBERS // (len(self.log_weights) * z.shape[-1]))
        chunks = [flat] if torch.is_grad_enabled() else torch.split(flat, size)
        return torch.cat([self._log_prob(chunk) for chunk in chunks]).reshape(z.shape[:-1])

    def _log_prob(self, z: Tensor) -> Tensor:
        return torch.logsumexp(self.log_weights + self.components.log_prob(z), -1)

    def sample(self, n: int) -> Tensor:
        """Draw n codes, (n, d)."""
        with torch.no_grad():
            if n == 0:
                return self.components.mean[:0]
            chosen = torch.multinomial(self.log_weights.exp(), n, replacement=True)
            z: Tensor = rows(self.components, chosen).rsample_and_log_prob(1)[0][0]
            return z


class MixturePrior(nn.Module):
    """Mixture of n diagonal Gaussians with learned means, scales and weights.

    It starts with equal weights, and mean and variance close to 0 and 1.

    Parameters
    ----------
    latent_dim : int
        d.
    components : int
        n.
    """

    def __init__(self, latent_dim: int, *, components: int = 10):
        super().__init__()
        at_least("latent_dim", latent_dim, 1)
        at_least("components", components, 1)
        self.latent_dim = latent_dim
        scale = 0.6 if components > 1 else 1.0
        self.mean = nn.Parameter(math.sqrt(1 - scale**2) * torch.randn(components, latent_dim))
        raw = math.log(math.expm1(scale - _LEAST_SCALE))  # inverse of softplus
        self.raw_scale = nn.Parameter(torch.full((components, latent_dim), raw))
        self.logits = nn.Parameter(torch.zeros(components))

    def mixture(self) -> Mixture:
        """The mixture at the present weights."""
        components = DiagonalGaussian(self.mean, F.softplus(self.raw_scale) + _LEAST_SCALE)
        return Mixture(components, self.logits.log_softmax(0))

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (..., d) in nats, (...)."""
        return self.mixture().log_prob(z)

    def sample(self, n: int) -> Tensor:
        """Draw n codes, (n, d)."""
        return self.mixture().sample(n)

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"latent_dim={self.latent_dim}, components={len(self.logits)}"


class VampPrior(nn.Module):
    """Mean of the posteriors of n learned pseudo-inputs, Σ_i q(z|u_i)/n (arXiv:1705.07120 eq. 9).

    It needs the model's encoder: call :meth:`bind` with ``vae.infer`` before use. The encoder does not
    become a submodule, so its weights are saved, moved and trained only once, as the model's.

    Parameters
    ----------
    latent_dim : int
        d.
    shape : tuple of int
        Shape of one example.
    components : int
        n.
    support : (float, float) or None
        Interval of the data, as a likelihood's ``support``; pseudo-inputs stay inside.

    Attributes
    ----------
    examples_wanted : int
        How many examples training should give to :meth:`start_from`: n, or 0 after that or after weights were
        loaded.
    """

    def __init__(
        self,
        latent_dim: int,
        *,
        shape: Sequence[int],
        components: int = 500,
        support: tuple[float, float] | None = (0.0, 1.0),
    ):
        super().__init__()
        at_least("latent_dim", latent_dim, 1)
        at_least("components", components, 1)
        self.latent_dim = latent_dim
        self.support = support
        self.raw_inputs = nn.Parameter(torch.randn(components, *shape))
        self.examples_wanted = components
        self.register_load_state_dict_post_hook(_want_no_examples)  # type: ignore[no-untyped-call]
        self._infer: tuple[Callable[[Tensor], Posterior], ...] = ()

    def bind(self, infer: Callable[[Tensor], Posterior]) -> None:
        """Set the function that gives q(z|x) of x (n, *shape)."""
        self._infer = (infer,)  # in a tuple, as the encoder must not become a submodule

    @property
    def pseudo_inputs(self) -> Tensor:
        """Pseudo-inputs u (n, *shape), in model units."""
        if self.support is None:
            return self.raw_inputs
        low, high = self.support
        return low + (high - low) * torch.sigmoid(self.raw_inputs)

    def start_from(self, x: Tensor) -> None:
        """Initialise the pseudo-inputs with the first n of examples x (m, *shape), in model units.

        Raises
        ------
        UsageError
            If there are fewer than n, or they have another shape.
        """
        n, *shape = self.raw_inputs.shape
        if len(x) < n or list(x.shape[1:]) != shape:
            wanted = ", ".join(map(str, shape))
            raise UsageError(
                f"got examples of shape {tuple(x.shape)} for {n} pseudo-inputs; give at least {n} of shape "
                f"({wanted}), or build the prior with fewer components"
            )
        with torch.no_grad():
            start = x[:n].to(self.raw_inputs)
            if self.support is not None:
                low, high = self.support
                start = torch.logit(((start - low) / (high - low)).clamp(_MARGIN, 1 - _MARGIN))
            self.raw_inputs.copy_(start)
        self.examples_wanted = 0

    def mixture(self) -> Mixture:
        """The mixture at the present weights, by one pass of the encoder over the pseudo-inputs.

        Reuse it for several calls between which the weights do not change.

        Raises
        ------
        UsageError
            If no encoder is bound.
        """
        if not self._infer:
            raise UsageError("this VampPrior has no encoder; call prior.bind(vae.infer) first")
        n = len(self.raw_inputs)
        components = self._infer[0](self.pseudo_inputs)
        return Mixture(components, components.mean.new_full((n,), -math.log(n)))

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (..., d) in nats, (...); encodes the pseudo-inputs again."""
        return self.mixture().log_prob(z)

    def sample(self, n: int) -> Tensor:
        """Draw n codes, (n, d)."""
        with torch.no_grad():
            return self.mixture().sample(n)

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"latent_dim={self.latent_dim}, components={len(self.raw_inputs)}, support={self.support}"


def _want_no_examples(prior: VampPrior, _keys: object) -> None:
    prior.examples_wanted = 0
