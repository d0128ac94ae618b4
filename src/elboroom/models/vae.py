"""The VAE: encoder, decoder and prior, and what one can do with a trained one. It holds no loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elboroom.config import ModelConfig
from elboroom.errors import UsageError, shortened
from elboroom.models.conditional import Conditional, check_told
from elboroom.models.conditioning import (
    Array as Array,  # what most of the package needs of examples, it finds here
)
from elboroom.models.conditioning import Condition, Conditioning, Examples, apart, together
from elboroom.models.terms import NLL, Draws, Terms
from elboroom.probability import (
    BernoulliHead,
    DiagonalGaussianHead,
    Likelihood,
    Posterior,
    check_pair,
    find_closed_form,
)
from elboroom.probability.posteriors import unit_vector
from elboroom.probability.support import check_scale, check_values

# Numbers in one layer's output at a time while no gradients are wanted: 8 MB stay in the cache.
_DECODED_NUMBERS = 2_000_000
# Importance weights kept at a time: 32 MB.
_WEIGHTS = 8_000_000
_EMBEDDED_ROWS = 2_000
_MOST = 10**9  # examples or draws in one call
# Network kind → makes the VAE of a configuration; models/build.py, which knows all parts, fills it.
COMPOSERS: dict[str, Callable[[ModelConfig], VAE]] = {}
Precision = Literal["fp32", "bf16"]


class VAE(Conditional):
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
    conditioning : Conditioning, optional
        Makes it a model of p(x|c): its methods then take ``condition``, and :meth:`given` fixes it.

    Attributes
    ----------
    layers : tuple of slice
        Which part of a code belongs to which stochastic layer, top first; mostly there is one.
    value_range : (float, float)
        The values of black and white in model units; training and loading set it to what the data have.
    data_range : (float, float) or None
        Smallest and largest value of the training data in model units, where that is known; set likewise.

    Raises
    ------
    UsageError
        If the parts do not fit each other.

    Examples
    --------
    >>> vae = VAE.build(shape=(28, 28, 1), latent_dim=2, hidden=[100])
    >>> vae.sample(3).shape
    torch.Size([3, 28, 28, 1])
    >>> vae = VAE.build(shape=(28, 28, 1), hidden=[100], condition="labels", condition_dim=10)
    >>> vae.sample(3, condition=[7, 7, 1]).shape
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
        conditioning: Conditioning | None = None,
    ):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.prior: Any = prior
        self.latent_dim: int = prior.latent_dim
        self.layers: tuple[slice, ...] = (slice(0, self.latent_dim),)
        self.shape = tuple(shape)
        self.scale = scale
        self.value_range: tuple[float, float] = (0.0, 1.0)
        self.data_range: tuple[float, float] | None = None
        self.posterior: Any = DiagonalGaussianHead(self.latent_dim) if posterior is None else posterior
        self.likelihood: Any = BernoulliHead(self.shape) if likelihood is None else likelihood
        check_pair(self.posterior, prior)
        self.conditioning = conditioning
        self._low = False
        check_told(conditioning, prior)
        self._space: str | None = getattr(getattr(self.posterior, "makes", None), "space", None)
        if hasattr(prior, "bind"):  # made of posteriors, so it is where they are
            prior.bind(self._inferred)
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
        if config.shape is None:
            raise UsageError("shape is not set: give the shape of one example, such as shape=data.shape")
        config = config.without_auto(scale=config.scale or 255.0)
        vae = COMPOSERS[config.network](config)
        vae.config = config
        return vae

    # In which precision networks work.

    @contextmanager
    def lowered(self, precision: Precision = "bf16") -> Iterator[None]:
        """Let the networks multiply in bfloat16 for a while; densities, draws and sums stay as they are.

        Raises
        ------
        UsageError
            If the precision is another than "fp32", which changes nothing, or "bf16".
        """
        if precision not in ("fp32", "bf16"):
            raise UsageError(f"precision = {precision!r}: 'fp32' or 'bf16'")
        if precision == "fp32":
            yield
            return
        before, self._low = self._low, True
        try:
            # Weights that autocast has cast are kept until the outermost of it ends.
            with torch.autocast(self._weight().device.type, enabled=False):
                yield
        finally:
            self._low = before

    def products(self) -> AbstractContextManager[Any]:
        """Around what networks do, so that :meth:`lowered` holds for it."""
        return torch.autocast(self._weight().device.type, torch.bfloat16) if self._low else nullcontext()

    # Differentiable halves, for objectives.

    def infer(self, x: Tensor, condition: Condition | None = None) -> Posterior:
        """q(z|x) for x (b, *shape) in model units, differentiably."""
        c = self._resolved(condition, len(x))
        x = self.comparable(x)
        if self.conditioning is not None and c is not None:
            x = self.conditioning.onto_input(x, c)
        return self._inferred(x)

    def comparable(self, x: Tensor) -> Tensor:
        """Examples (..., *shape) in units that weigh alike: standardised if the model standardises them."""
        if hasattr(self.likelihood, "standardize"):
            found: Tensor = self.likelihood.standardize(x)
            return found
        return x

    def _inferred(self, x: Tensor) -> Posterior:
        # Networks may work in lower precision; densities never do.
        with self.products():
            features = self.encoder(x)
        posterior: Posterior = self.posterior(features.to(x.dtype))
        return posterior

    def generate(self, z: Tensor, condition: Condition | None = None) -> Likelihood:
        """p(x|z) for codes z (..., d), differentiably; conditions are those of the last dimension but one."""
        c = self._resolved(condition, z.shape[-2] if z.ndim > 1 else 1)
        code = z
        if self.conditioning is not None and c is not None:
            code = self.conditioning.onto_code(z, c if z.ndim > 1 else c[0])
        with self.products():
            features = self.decoder(code.reshape(-1, code.shape[-1]))
        features = features.to(z.dtype).reshape(*z.shape[:-1], *self.likelihood.in_shape)
        likelihood: Likelihood = self.likelihood(features)
        return likelihood

    def onto_space(self, z: Tensor) -> Tensor:
        """Give the codes nearest to z (..., d) that there can be: of length 1 on a sphere, elsewhere z."""
        return unit_vector(z) if self._space == "sphere" else z

    def forward(self, x: Tensor, num_samples: int = 1, condition: Condition | None = None) -> Terms:
        """Encode x (b, *shape), draw k codes of each, decode them."""
        c = self.condition_vectors(condition, len(x))
        q: Any = self.infer(x, c)
        # Where the rate has a closed form, few ask for the density of a draw.
        prior = self.prior_given(c)
        if hasattr(q, "rsample") and find_closed_form(q, prior) is not None:
            z, known = q.rsample(num_samples), {}
        else:
            z, log_q = q.rsample_and_log_prob(num_samples)
            known = {"log_q": log_q}
        generate = self.generate if c is None else partial(self.generate, condition=c)
        return Terms(x, q, generate(z), prior, z, generate, known)

    # For use: arrays in, no gradients, evaluation mode, and the training mode left as it was.

    def encode(self, x: Array, condition: Condition | None = None) -> Posterior:
        """q(z|x) of images or rows (b, *shape): floats in model units, or uint8 divided by ``scale``.

        As everywhere, ``condition`` is what a conditional model must be given: one label or vector for all
        examples, or one for each.
        """
        x, condition = apart(x, condition)
        with self.at_rest():
            return self.infer(self.as_input(x), condition)

    def decode(self, z: Tensor | NDArray[Any], condition: Condition | None = None) -> Likelihood:
        """p(x|z) of codes (..., d); its ``mean`` is the picture. On a sphere z's direction is the code."""
        with self.at_rest():
            return self.generate(self.onto_space(self._as_code(z)), condition)

    def embed(self, x: Array, condition: Condition | None = None, *, precision: Precision = "fp32") -> Tensor:
        """Code of each example: the posterior mean, (b, d), the same at every call.

        With ``precision="bf16"`` to about three digits, faster where the hardware multiplies in bfloat16.
        """
        with self.at_rest(precision):  # some posteriors compute it only now
            pieces = self._pieces(x, condition, _EMBEDDED_ROWS)
            return torch.cat([self.infer(piece, c).mean for piece, c in pieces])

    def carried(self, z: Tensor | NDArray[Any], condition: Condition, to: Condition) -> Tensor:
        """Codes (n, d) of examples with a condition as those of examples like them with another, (n, d).

        For "the same, but a dog": decode the result given ``to``. A code stays at its place in the prior:
        under one prior for all it stays what it is, and a conditional prior says where that place is now.
        """
        return self.placed(self.standardized(z, condition), to)

    def standardized(self, z: Tensor | NDArray[Any], condition: Condition | None = None) -> Tensor:
        """Codes (n, d) in units of the prior: (z − μ)/σ where it is normal, from the top layer down.

        Where all codes have one prior of another kind, they stay as they are, as with N(0, I).
        """
        with self.at_rest():
            code = self._as_code(z)
            prior = self.prior_given(self.condition_vectors(condition, len(code)))
            moved: Tensor = prior.standardize(code) if hasattr(prior, "standardize") else code
            return moved

    def placed(self, standard: Tensor | NDArray[Any], condition: Condition | None = None) -> Tensor:
        """Codes (n, d) of those in units of the prior; undoes :meth:`standardized`."""
        with self.at_rest():
            code = self._as_code(standard)
            prior = self.prior_given(self.condition_vectors(condition, len(code)))
            moved: Tensor = prior.place(code) if hasattr(prior, "place") else code
            return moved

    def reconstruct(self, x: Array, condition: Condition | None = None) -> Tensor:
        """Decoded code of each example, (b, *shape); nothing is drawn."""
        x, condition = apart(x, condition)
        return self.decode(self.embed(x, condition), condition).mean

    def sample(self, n: int, *, condition: Condition | None = None, observe: bool = False) -> Tensor:
        """Decode n draws from the prior, (n, *shape): the mean, or with ``observe`` a draw from p(x|z)."""
        _check_count("n", n, 0)
        with self.at_rest():
            c = self.condition_vectors(condition, n)
            likelihood = self.generate(self.prior_given(c).sample(n), c)
            return likelihood.sample() if observe else likelihood.mean

    def interpolate(
        self, a: Array, b: Array, steps: int = 25, *, condition: Condition | None = None
    ) -> Tensor:
        """Decode the straight line between the codes of examples a and b (*shape), (steps, *shape).

        On a sphere the line is drawn out to it from the middle. ``condition`` is that of both, or one for
        each; on the way it goes straight from one to the other.
        """
        _check_count("steps", steps, 1)
        if isinstance(a, Examples) or isinstance(b, Examples):
            x, condition = apart(together([a, b]), condition)
        else:
            x = torch.stack([self.as_input(a[None])[0], self.as_input(b[None])[0]])
        ends = self.embed(x, condition)
        weights = torch.linspace(0, 1, steps, device=ends.device, dtype=ends.dtype)[:, None]
        c = self.condition_vectors(condition, 2)
        on_the_way = None if c is None else torch.lerp(c[:1], c[1:], weights)
        return self.decode(torch.lerp(ends[:1], ends[1:], weights), on_the_way).mean

    def elbo(self, x: Array, num_samples: int = 1, *, condition: Condition | None = None) -> Tensor:
        """−(distortion + rate) of each example with k samples, (b,), nats; higher is better.

        Of a quantiser too it bounds log p(x); a deterministic posterior has no rate, and what is left of it,
        −distortion, bounds nothing. Of a conditional model it bounds log p(x|c).
        """
        _check_count("num_samples", num_samples, 1)
        x, condition = apart(x, condition)
        with self.at_rest():
            terms = self(self.as_input(x, scored=True), num_samples, condition)
            return -(terms.distortion + terms.rate)

    def nll(
        self,
        x: Array,
        num_samples: int = 1000,
        *,
        condition: Condition | None = None,
        precision: Precision = "fp32",
    ) -> NLL:
        """−log p(x) by importance sampling from q(z|x) (arXiv:1509.00519 eq. 8); −log p(x|c) if conditional.

        Parameters
        ----------
        x : array
            (b, *shape).
        num_samples : int
            k, drawn exactly, for each example. The estimate is biased upwards, less so as k grows.
        condition : int, str or array
            Of a conditional model: one label or vector for all examples, or one for each.
        precision : {"fp32", "bf16"}
            Of the networks' products; densities and their sums are never lowered.

        Returns
        -------
        NLL
            ``value``, ``stderr`` and ``bias`` in nats, ``ess`` and ``pareto_k``, (b,) each; where
            ``reliable`` is False, the error is larger than ``stderr`` says, by an unknown factor.

        Raises
        ------
        UsageError
            If ``num_samples`` < 1, or the posterior gives one code of each example and no density.
        """
        _check_count("num_samples", num_samples, 1)
        with self.at_rest(precision):
            rows = max(1, min(_DECODED_NUMBERS // math.prod(self.shape), _WEIGHTS // num_samples))
            found = [
                NLL.from_log_weights(
                    torch.cat([draws.log_weights for draws in self.importance(piece, num_samples, c)])
                )
                for piece, c in self._pieces(x, condition, rows, scored=True)
            ]
        return NLL(*map(torch.cat, zip(*found, strict=True)))

    def _pieces(
        self, x: Array, condition: Condition | None, rows: int, *, scored: bool = False
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Inputs and conditions as the model takes them, some at a time."""
        x, condition = apart(x, condition)
        tensor = _as_tensor(x)
        self._check_shape(tensor)
        c = self.condition_vectors(condition, len(tensor))
        return (
            (self.as_input(tensor[i : i + rows], scored=scored), None if c is None else c[i : i + rows])
            for i in range(0, max(len(tensor), 1), rows)
        )

    def importance(
        self,
        x: Tensor,
        num_samples: int,
        condition: Condition | None = None,
        *,
        posterior: Posterior | None = None,
    ) -> Iterator[Draws]:
        """Importance samples of x (b, *shape) in chunks that fit in memory; x is encoded once.

        With ``posterior``, q(z|x) of the same examples, it is not encoded at all.

        Yields
        ------
        Draws
            Of k' samples each, (k', b); the k' add up to ``num_samples``.

        Raises
        ------
        UsageError
            If the posterior gives one code of each example and no density.
        """
        c = self.condition_vectors(condition, len(x))
        q = self.infer(x, c) if posterior is None else posterior
        prior = self.prior_given(c)
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
            log_likelihood = self.generate(z, c).log_prob(x)
            yield Draws(log_likelihood, log_likelihood + log_prior - log_q)

    @overload
    def as_input(self, x: Tensor | NDArray[Any], *, scored: bool = ...) -> Tensor: ...
    @overload
    def as_input(self, x: Examples, *, scored: bool = ...) -> Examples: ...
    def as_input(self, x: Array, *, scored: bool = False) -> Tensor | Examples:
        """Bring an array (b, *shape) to the model's device and units; examples keep their conditions.

        Raises
        ------
        UsageError
            If its shape is not (b, *shape), or :meth:`check_values` refuses its values.
        """
        if isinstance(x, Examples):
            return Examples(self.as_input(x.x, scored=scored), x.condition)
        tensor = _as_tensor(x)
        self._check_shape(tensor)
        weight = self._weight()
        if tensor.dtype == torch.uint8:
            check_scale(self.scale, self.data_range)
            units = tensor.to(weight.device).to(weight.dtype) / self.scale
        elif tensor.is_floating_point() or tensor.dtype == torch.bool:
            units = tensor.to(weight.device, weight.dtype)
        else:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UsageError(
                f"got {kind} numbers; give pixels as uint8, or floats in which {self.scale:g} is 1.0"
            )
        self.check_values(units, scored=scored)
        return units

    def check_values(self, x: Tensor, *, scored: bool = False) -> None:
        """Check examples (b, *shape) in model units: every method that takes arrays does.

        Warns if they lie far outside the range of the training data.

        Raises
        ------
        UsageError
            If values are not finite or lie outside the likelihood's support, if they are ``scored`` and
            between its levels, or if pixels are in other units than the training data.
        """
        head = self.likelihood
        check_values(
            x,
            head.support,
            getattr(head, "spacing", None),
            self.data_range,
            pixels=len(self.shape) == 3,
            scored=scored,
        )

    def _check_shape(self, x: Tensor) -> None:
        if x.shape[1:] != self.shape or x.ndim == 0:
            wanted = ", ".join(map(str, self.shape))
            raise UsageError(f"got an array of shape {tuple(x.shape)}; the model takes (n, {wanted})")

    def _as_code(self, z: Tensor | NDArray[Any]) -> Tensor:
        code = _as_tensor(z)
        if code.ndim == 0 or code.shape[-1] != self.latent_dim:
            raise UsageError(
                f"got codes of shape {tuple(code.shape)}; the model takes (..., {self.latent_dim})"
            )
        weight = self._weight()
        return code.to(weight.device, weight.dtype)

    @contextmanager
    def at_rest(self, precision: Precision = "fp32") -> Iterator[None]:
        """Evaluate without gradients, then put every module back in the mode it was in."""
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            with torch.no_grad(), self.lowered(precision):
                yield
        finally:
            for module, mode in modes:
                module.training = mode


def _as_tensor(array: Tensor | NDArray[Any]) -> Tensor:
    if isinstance(array, np.ndarray) and not (array.flags.writeable and array.flags.c_contiguous):
        array = array.copy()  # torch takes no reversed views, and warns of memory maps
    try:
        tensor = torch.as_tensor(array)
    except (TypeError, ValueError, RuntimeError):
        kind = str(array.dtype) if isinstance(array, np.ndarray) else type(array).__name__
        raise UsageError(f"got {shortened(kind)}; the model takes an array or a tensor of numbers") from None
    if tensor.is_complex():
        raise UsageError("got complex numbers; the model takes real ones")
    return tensor


def _check_count(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise UsageError(f"{name} = {shortened(value)}: a whole number is needed")
    if value < least:
        raise UsageError(f"{name} = {shortened(value)}: at least {least} is needed")
    if value > _MOST:
        raise UsageError(f"{name} = {shortened(value)}: at most {_MOST:,} is allowed")
