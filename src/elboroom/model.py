"""The VAE: encoder, decoder and prior, and what one can do with a trained one. It holds no loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elboroom.config import ModelConfig
from elboroom.errors import UsageError
from elboroom.networks import networks_of
from elboroom.probability import (
    BernoulliHead,
    DiagonalGaussianHead,
    Likelihood,
    Posterior,
    check_pair,
    find_closed_form,
)
from elboroom.probability.choice import likelihood_of, posterior_of, prior_for
from elboroom.probability.posteriors import unit_vector

Array = Tensor | NDArray[Any]

# Numbers in one layer's output at a time while no gradients are wanted: 8 MB stay in the cache.
_DECODED_NUMBERS = 2_000_000
_EMBEDDED_ROWS = 2_000
_SEVERAL_LAYERS = ("ladder", "chain")


@dataclass(frozen=True)
class Terms:
    """What one forward pass yields for b examples and k samples of each: all that an objective needs.

    Attributes
    ----------
    x : Tensor
        The examples, (b, *shape).
    posterior, likelihood, prior
        q(z|x) of b examples, p(x|z) of (k, b) codes, p(z).
    z : Tensor
        Codes (k, b, d), differentiable in the posterior's parameters.
    generate : callable
        Codes (..., b, d) → p(x|z), for bounds that need a second pass through the decoder.
    known : mapping of str to Tensor
        What came up on the way: ``log_q``, ``log_prior``, ``rate``; else they are computed when asked for.
    rates : Tensor, optional
        Of each stochastic layer, (L, b), top first, if there are several; they add up to ``rate``.
    """

    x: Tensor
    posterior: Posterior
    likelihood: Likelihood
    prior: Any
    z: Tensor
    generate: Callable[[Tensor], Likelihood]
    known: Mapping[str, Tensor] = field(default_factory=dict)
    rates: Tensor | None = None

    def __post_init__(self) -> None:
        self.__dict__.update(self.known)

    @cached_property
    def log_likelihood(self) -> Tensor:
        """Log p(x|z), (k, b), nats."""
        return self.likelihood.log_prob(self.x)

    @cached_property
    def log_q(self) -> Tensor:
        """Log q(z|x), (k, b), nats."""
        posterior: Any = self.posterior
        return posterior.log_prob(self.z)

    @cached_property
    def log_prior(self) -> Tensor:
        """Log p(z), (k, b), nats."""
        return self.prior.log_prob(self.z)

    @cached_property
    def rate(self) -> Tensor:
        """KL(q ‖ p), (b,), nats per example: in closed form where there is one, else by Monte Carlo."""
        closed_form = find_closed_form(self.posterior, self.prior)
        if closed_form is not None:
            return closed_form(self.posterior, self.prior)
        return (self.log_q - self.log_prior).mean(0)

    @cached_property
    def distortion(self) -> Tensor:
        """−E_q log p(x|z), the mean over the k samples: (b,), nats per example."""
        log_likelihood = self.log_likelihood
        return -(log_likelihood[0] if len(log_likelihood) == 1 else log_likelihood.mean(0))

    @cached_property
    def log_weights(self) -> Tensor:
        """Importance weights log p(x|z) + log p(z) − log q(z|x), (k, b), nats."""
        return self.log_likelihood + self.log_prior - self.log_q


class NLL(NamedTuple):
    """Importance-sampled −log p(x) of each example with its Monte Carlo standard error."""

    value: Tensor
    stderr: Tensor

    @classmethod
    def from_log_weights(cls, log_weights: Tensor) -> NLL:
        """−log of the mean weight with its standard error by the delta method, from (k, b), in nats."""
        k = len(log_weights)
        log_mean = torch.logsumexp(log_weights, 0) - math.log(k)
        if k == 1 or not log_mean.numel():
            return cls(-log_mean, torch.full_like(log_mean, torch.nan))
        return cls(-log_mean, torch.exp(log_weights - log_mean).std(0, correction=1) / math.sqrt(k))


class VAE(nn.Module):
    """An encoder and a decoder network with a prior, a posterior and a likelihood.

    Parameters
    ----------
    encoder : nn.Module
        Maps (b, *shape) to (b, *posterior.in_shape).
    decoder : nn.Module
        Maps (n, d) to (n, *likelihood.in_shape).
    prior : nn.Module
        p(z); its ``latent_dim`` is d.
    posterior, likelihood : nn.Module, optional
        Heads that read the networks' outputs; a diagonal Gaussian and a Bernoulli if not given.
    shape : tuple of int
        Of one example: (h, w, c) or (d,).
    scale : float
        uint8 inputs are divided by it: 255 for 8-bit pixels.

    Examples
    --------
    >>> vae = VAE.build(shape=(28, 28, 1), latent_dim=2, hidden=[100])
    >>> vae.sample(3).shape
    torch.Size([3, 28, 28, 1])
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        prior: Any,
        *,
        shape: Sequence[int],
        posterior: nn.Module | None = None,
        likelihood: nn.Module | None = None,
        scale: float = 255.0,
    ):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.prior: Any = prior
        self.latent_dim: int = prior.latent_dim
        self.shape = tuple(shape)
        self.scale = scale
        self.posterior: Any = DiagonalGaussianHead(self.latent_dim) if posterior is None else posterior
        self.likelihood: Any = BernoulliHead(self.shape) if likelihood is None else likelihood
        check_pair(self.posterior, prior)
        self._space: str | None = getattr(getattr(self.posterior, "makes", None), "space", None)
        if hasattr(prior, "bind"):  # made of posteriors, so it is where they are
            prior.bind(self.infer)
            prior.space = self._space
        self.config: ModelConfig | None = None
        """The configuration it was built from, if it was; a run can then be reloaded without code."""

    @classmethod
    def build(cls, config: ModelConfig | None = None, **fields: Any) -> VAE:
        """Make a VAE from a configuration, or from its fields by name.

        Parameters
        ----------
        config : ModelConfig, optional
            Its ``shape`` must be set.
        **fields
            Fields of :class:`ModelConfig` that replace those of ``config``.

        Raises
        ------
        UsageError
            If a field is unknown or its value does not fit, or no shape is given.
        """
        config = ModelConfig(**({**dict(config), **fields} if config else fields))
        shape = config.shape
        if shape is None:
            raise UsageError("shape is not set: give the shape of one example, such as shape=data.shape")
        config = ModelConfig(**{**dict(config), "scale": config.scale or 255.0})
        likelihood = likelihood_of(config, shape)
        vae: VAE
        if config.network in _SEVERAL_LAYERS:
            # Their VAE is a subclass of this one and stands above it: imported when it is asked for.
            hierarchies = import_module("elboroom.hierarchies.choice")
            vae = hierarchies.hierarchy_of(config, shape, likelihood, scale=config.scale)
        else:
            posterior: Any = posterior_of(config)
            prior = prior_for(config, posterior, shape, likelihood)
            encoder, decoder = networks_of(
                config, shape, posterior.in_shape, posterior.latent_dim, likelihood.in_shape
            )
            parts: dict[str, Any] = {"posterior": posterior, "likelihood": likelihood}
            vae = cls(encoder, decoder, prior, shape=shape, **parts, scale=config.scale or 255.0)
        vae.config = config
        return vae

    # Differentiable halves, for objectives.

    def infer(self, x: Tensor) -> Posterior:
        """q(z|x) for x (b, *shape) in model units, differentiably."""
        # Networks may work in lower precision; densities never do.
        posterior: Posterior = self.posterior(self.encoder(x).to(x.dtype))
        return posterior

    def generate(self, z: Tensor) -> Likelihood:
        """p(x|z) for codes z (..., d), differentiably."""
        features = self.decoder(z.reshape(-1, z.shape[-1])).to(z.dtype)
        likelihood: Likelihood = self.likelihood(features.reshape(*z.shape[:-1], *self.likelihood.in_shape))
        return likelihood

    def onto_space(self, z: Tensor) -> Tensor:
        """Give the codes nearest to z (..., d) that there can be: of length 1 on a sphere, elsewhere z."""
        return unit_vector(z) if self._space == "sphere" else z

    def forward(self, x: Tensor, num_samples: int = 1) -> Terms:
        """Encode x (b, *shape), draw k codes of each, decode them."""
        q: Any = self.infer(x)
        # Where the rate has a closed form, few ask for the density of a draw.
        prior = _fixed(self.prior)
        if hasattr(q, "rsample") and find_closed_form(q, prior) is not None:
            z, known = q.rsample(num_samples), {}
        else:
            z, log_q = q.rsample_and_log_prob(num_samples)
            known = {"log_q": log_q}
        return Terms(x, q, self.generate(z), prior, z, self.generate, known)

    # For use: arrays in, no gradients, evaluation mode, and the training mode left as it was.

    def encode(self, x: Array) -> Posterior:
        """q(z|x) of images or rows (b, *shape): floats in model units, or uint8 divided by ``scale``."""
        with self.at_rest():
            return self.infer(self.as_input(x))

    def decode(self, z: Array) -> Likelihood:
        """p(x|z) of codes (..., d); its ``mean`` is the picture. On a sphere z's direction is the code."""
        with self.at_rest():
            return self.generate(self.onto_space(self._as_code(z)))

    def embed(self, x: Array) -> Tensor:
        """Code of each example: the posterior mean, (b, d), the same at every call."""
        with self.at_rest():  # some posteriors compute it only now
            return torch.cat([self.infer(piece).mean for piece in self._pieces(x, _EMBEDDED_ROWS)])

    def reconstruct(self, x: Array) -> Tensor:
        """Decoded code of each example, (b, *shape); nothing is drawn."""
        return self.decode(self.embed(x)).mean

    def sample(self, n: int, *, observe: bool = False) -> Tensor:
        """Decode n draws from the prior, (n, *shape): the mean, or with ``observe`` a draw from p(x|z)."""
        if n < 0:
            raise UsageError(f"n = {n}: 0 or more")
        with self.at_rest():
            likelihood = self.generate(self.prior.sample(n))
            return likelihood.sample() if observe else likelihood.mean

    def interpolate(self, a: Array, b: Array, steps: int = 25) -> Tensor:
        """Decode the straight line between the codes of examples a and b (*shape), (steps, *shape).

        On a sphere the line is drawn out to it from the middle.
        """
        _at_least_one("steps", steps)
        ends = self.embed(torch.stack([self.as_input(a[None])[0], self.as_input(b[None])[0]]))
        weights = torch.linspace(0, 1, steps, device=ends.device, dtype=ends.dtype)[:, None]
        return self.decode(torch.lerp(ends[:1], ends[1:], weights)).mean

    def elbo(self, x: Array, num_samples: int = 1) -> Tensor:
        """−(distortion + rate) of each example with k samples, (b,), nats; higher is better.

        Of a quantiser too it bounds log p(x); a deterministic posterior has no rate, and what is left of it,
        −distortion, bounds nothing.
        """
        _at_least_one("num_samples", num_samples)
        with self.at_rest():
            terms = self(self.as_input(x), num_samples)
            return -(terms.distortion + terms.rate)

    def nll(self, x: Array, num_samples: int = 1000) -> NLL:
        """−log p(x) by importance sampling from q(z|x) (arXiv:1509.00519 eq. 8).

        Parameters
        ----------
        x : array
            (b, *shape).
        num_samples : int
            k, drawn exactly, for each example. The estimate is biased upwards, less so as k grows.

        Returns
        -------
        NLL
            ``value`` and ``stderr`` (b,), nats. The standard error is that of the log of a mean of k
            weights, by the delta method; NaN for k = 1.

        Raises
        ------
        UsageError
            If ``num_samples`` < 1, or the posterior gives one code of each example and no density.
        """
        _at_least_one("num_samples", num_samples)
        with self.at_rest():
            rows = max(1, _DECODED_NUMBERS // math.prod(self.shape))
            found = [
                NLL.from_log_weights(
                    torch.cat([weights for _, weights in self.importance(piece, num_samples)])
                )
                for piece in self._pieces(x, rows)
            ]
        values, errors = zip(*found, strict=True)
        return NLL(torch.cat(values), torch.cat(errors))

    def _pieces(self, x: Array, rows: int) -> Iterator[Tensor]:
        """Inputs as the model takes them, some at a time."""
        tensor = _as_tensor(x)
        self._check_shape(tensor)
        return (self.as_input(tensor[i : i + rows]) for i in range(0, max(len(tensor), 1), rows))

    def importance(self, x: Tensor, num_samples: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Importance samples of x (b, *shape) in chunks that fit in memory; x is encoded once.

        Yields
        ------
        log_likelihood, log_weights : Tensor
            log p(x|z) and log p(x|z) + log p(z) − log q(z|x), both (k', b), nats; the k' add up to
            ``num_samples``.

        Raises
        ------
        UsageError
            If the posterior gives one code of each example and no density.
        """
        q, prior = self.infer(x), _fixed(self.prior)
        if not getattr(q, "stochastic", True):
            raise UsageError(
                f"num_samples = {num_samples}: importance sampling draws codes by their density, and "
                f"{type(q).__name__} has none; take 0 samples (no NLL) and read the ELBO, which is a "
                "bound for a quantiser and none for a deterministic posterior"
            )
        chunk = max(1, min(num_samples, _DECODED_NUMBERS // max(1, x.numel())))
        for done in range(0, num_samples, chunk):
            z, log_q = q.rsample_and_log_prob(min(chunk, num_samples - done))
            log_prior: Tensor = prior.log_prob(z)
            log_likelihood = self.generate(z).log_prob(x)
            yield log_likelihood, log_likelihood + log_prior - log_q

    def as_input(self, x: Array) -> Tensor:
        """Bring an array (b, *shape) to the model's device and units.

        Raises
        ------
        UsageError
            If its shape is not (b, *shape).
        """
        tensor = _as_tensor(x)
        self._check_shape(tensor)
        weight = self._weight()
        if tensor.dtype == torch.uint8:
            return tensor.to(weight.device).to(weight.dtype) / self.scale
        if not tensor.is_floating_point() and tensor.dtype != torch.bool:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UsageError(
                f"got {kind} numbers; give pixels as uint8, or floats in which {self.scale:g} is 1.0"
            )
        return tensor.to(weight.device, weight.dtype)

    def _check_shape(self, x: Tensor) -> None:
        if x.shape[1:] != self.shape or x.ndim == 0:
            wanted = ", ".join(map(str, self.shape))
            raise UsageError(f"got an array of shape {tuple(x.shape)}; the model takes (n, {wanted})")

    def _as_code(self, z: Array) -> Tensor:
        code = _as_tensor(z)
        if code.ndim == 0 or code.shape[-1] != self.latent_dim:
            raise UsageError(
                f"got codes of shape {tuple(code.shape)}; the model takes (..., {self.latent_dim})"
            )
        weight = self._weight()
        return code.to(weight.device, weight.dtype)

    def _weight(self) -> Tensor:
        """Any weight, for its device and dtype."""
        return next(self.parameters(), torch.empty(()))

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Evaluate without gradients, then put every module back in the mode it was in."""
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module, mode in modes:
                module.training = mode


def _as_tensor(array: Array) -> Tensor:
    if isinstance(array, np.ndarray) and not (array.flags.writeable and array.flags.c_contiguous):
        array = array.copy()  # torch takes no reversed views, and warns of memory maps
    return torch.as_tensor(array)


def _fixed(prior: Any) -> Any:
    """The prior, or of one that is made anew at each use, such as VampPrior, what it is at this moment."""
    return prior.mixture() if hasattr(prior, "mixture") else prior


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise UsageError(f"{name} = {value}: at least 1 is needed")
