"""What one does with a trained model: encode, decode, sample, interpolate, and estimate log p(x).

These methods take arrays, compute no gradients, evaluate in evaluation mode and leave the training mode as it
was. The model itself is in ``vae.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.errors import UsageError
from elboroom.models.chunks import MOST_NUMBERS, computed, has_memory_to_fill, numbers_at_once
from elboroom.models.conditioning import Array, Condition, Examples, apart, together
from elboroom.models.inputs import Inputs, check_count
from elboroom.models.terms import NLL, Draws
from elboroom.probability import Likelihood, Posterior
from elboroom.probability.likelihoods import log_prob_by_number
from elboroom.probability.posteriors import unit_vector

# Numbers in one layer's output at a time while no gradients are wanted: on a CPU 8 MB stay in the cache.
_DECODED_NUMBERS = 2_000_000
# Importance weights kept at a time: 32 MB.
_WEIGHTS = 8_000_000
_EMBEDDED_ROWS = 1_000
Precision = Literal["fp32", "bf16"]


class Inference(Inputs):
    """Methods for the use of a model that defines :meth:`infer`, :meth:`generate` and ``forward``."""

    _low: bool
    _space: str | None

    def infer(self, x: Tensor, condition: Condition | None = None) -> Posterior:
        """q(z|x) for x (b, *shape) in model units, differentiably."""
        raise NotImplementedError

    def generate(self, z: Tensor, condition: Condition | None = None) -> Likelihood:
        """p(x|z) for codes z (..., d), differentiably."""
        raise NotImplementedError

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

    @contextmanager
    def lowered(self, precision: Precision = "bf16") -> Iterator[None]:
        """Let the networks multiply in bfloat16 within a block; densities and sums keep their precision.

        Raises
        ------
        UsageError
            If the precision is neither "bf16" nor "fp32", which changes nothing.
        """
        if precision not in ("fp32", "bf16"):
            raise UsageError(f"precision = {precision!r}: must be 'fp32' or 'bf16'")
        if precision == "fp32":
            yield
            return
        before, self._low = self._low, True
        try:
            # Autocast keeps the weights that it has cast until its outermost block ends.
            with torch.autocast(self._weight().device.type, enabled=False):
                yield
        finally:
            self._low = before

    def products(self) -> AbstractContextManager[Any]:
        """Context in which networks are evaluated: the one place where :meth:`lowered` takes effect."""
        return torch.autocast(self._weight().device.type, torch.bfloat16) if self._low else nullcontext()

    def onto_space(self, z: Tensor) -> Tensor:
        """Nearest valid codes to z (..., d): of length 1 if codes lie on a sphere, otherwise z itself."""
        return unit_vector(z) if self._space == "sphere" else z

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

        ``precision="bf16"`` gives about three correct digits, faster where the hardware multiplies in
        bfloat16.
        """
        with self.at_rest(precision):  # some posteriors compute their mean only when it is read
            pieces = self._pieces(x, condition, self._embedded_rows())
            return torch.cat([self._codes(piece, c) for piece, c in pieces])

    def _codes(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Posterior means (b, d) of one piece, in smaller ones if memory runs out."""

        def codes(rows: slice, _: slice) -> Tensor:
            return self.infer(x[rows], None if c is None else c[rows]).mean

        return computed(codes, len(x), 1, len(x), x.device)

    def _embedded_rows(self) -> int:
        each = self._numbers_of_example()
        return max(1, numbers_at_once(self._weight().device, _EMBEDDED_ROWS * each) // each)

    def _numbers_of_example(self) -> int:
        """How many numbers the largest output of a layer is taken to be for each example."""
        return math.prod(self.shape)

    def carried(self, z: Tensor | NDArray[Any], condition: Condition, to: Condition) -> Tensor:
        """Codes (n, d) moved from one condition to another at the same place in the prior, (n, d).

        For "the same, but a dog": decode the result given ``to``. If one prior serves all conditions the
        codes stay as they are; under a conditional prior each keeps its (z − μ)/σ.
        """
        return self.placed(self.standardized(z, condition), to)

    def standardized(self, z: Tensor | NDArray[Any], condition: Condition | None = None) -> Tensor:
        """Codes (n, d) in units of the prior: (z − μ)/σ where it is normal, from the top layer down.

        Under any other prior, which all codes share, they stay as they are, as with N(0, I).
        """
        with self.at_rest():
            code, prior = self._code_and_prior(z, condition)
            moved: Tensor = prior.standardize(code) if hasattr(prior, "standardize") else code
            return moved

    def placed(self, standard: Tensor | NDArray[Any], condition: Condition | None = None) -> Tensor:
        """Codes (n, d) from codes in units of the prior: the inverse of :meth:`standardized`."""
        with self.at_rest():
            code, prior = self._code_and_prior(standard, condition)
            moved: Tensor = prior.place(code) if hasattr(prior, "place") else code
            return moved

    def _code_and_prior(self, z: Tensor | NDArray[Any], condition: Condition | None) -> tuple[Tensor, Any]:
        code = self._as_code(z)
        return code, self.prior_given(self.condition_vectors(condition, len(code)))

    def reconstruct(self, x: Array, condition: Condition | None = None) -> Tensor:
        """Decode the code (posterior mean) of each example, (b, *shape); nothing is drawn."""
        x, condition = apart(x, condition)
        return self.decode(self.embed(x, condition), condition).mean

    def sample(self, n: int, *, condition: Condition | None = None, observe: bool = False) -> Tensor:
        """Decode n draws from the prior, (n, *shape): the mean, or with ``observe`` a draw from p(x|z)."""
        check_count("n", n, 0)
        with self.at_rest():
            c = self.condition_vectors(condition, n)
            likelihood = self.generate(self.prior_given(c).sample(n), c)
            return likelihood.sample() if observe else likelihood.mean

    def interpolate(
        self, a: Array, b: Array, steps: int = 25, *, condition: Condition | None = None
    ) -> Tensor:
        """Decode the straight line between the codes of examples a and b (*shape), (steps, *shape).

        On a sphere each point of the line is projected onto it. ``condition`` is that of both examples, or
        one for each, and is then interpolated linearly too.
        """
        check_count("steps", steps, 1)
        if isinstance(a, Examples) or isinstance(b, Examples):
            x, condition = apart(together([a, b]), condition)
        else:
            x = torch.stack([self.as_input(a[None])[0], self.as_input(b[None])[0]])
        endpoints = self.embed(x, condition)
        weights = torch.linspace(0, 1, steps, device=endpoints.device, dtype=endpoints.dtype)[:, None]
        c = self.condition_vectors(condition, 2)
        conditions = None if c is None else torch.lerp(c[:1], c[1:], weights)
        return self.decode(torch.lerp(endpoints[:1], endpoints[1:], weights), conditions).mean

    def elbo(self, x: Array, num_samples: int = 1, *, condition: Condition | None = None) -> Tensor:
        """−(distortion + rate) of each example with k samples, (b,), nats; higher is better.

        It bounds log p(x), or log p(x|c) of a conditional model, also with a quantiser. A deterministic
        posterior has no rate, and its −distortion alone bounds nothing.
        """
        check_count("num_samples", num_samples, 1)
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
            For a conditional model: one label or vector for all examples, or one for each.
        precision : {"fp32", "bf16"}
            Of the networks' products; densities and their sums always keep full precision.

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
        check_count("num_samples", num_samples, 1)
        with self.at_rest(precision):
            rows = max(1, min(self._scored_rows(), _WEIGHTS // num_samples))
            found = [
                NLL.from_log_weights(
                    torch.cat([draws.log_weights for draws in self.importance(piece, num_samples, c)])
                )
                for piece, c in self._pieces(x, condition, rows, scored=True)
            ]
        return NLL(*map(torch.cat, zip(*found, strict=True)))

    def importance(
        self,
        x: Tensor,
        num_samples: int,
        condition: Condition | None = None,
        *,
        posterior: Posterior | None = None,
        by_number: bool = False,
    ) -> Iterator[Draws]:
        """Importance samples of x (b, *shape) in chunks that fit in memory; x is encoded once.

        With ``posterior``, the q(z|x) of these examples, it is not encoded at all. With ``by_number`` the
        draws also have log p(x|z) of each number of an example.

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
        if not getattr(q, "stochastic", True):
            raise UsageError(
                f"num_samples = {num_samples}: importance sampling needs the density of codes, and a "
                f"{type(q).__name__} posterior has none; take 0 samples (no NLL) and read the ELBO, which is "
                "a bound for a quantiser, but not for a deterministic posterior"
            )
        prior = self.prior_given(c)
        chunk = max(1, min(num_samples, self._most_draws(x)))
        for done in range(0, num_samples, chunk):
            yield self._weighted_draws(x, q, min(chunk, num_samples - done), prior, c, by_number)

    def _scored_rows(self) -> int:
        """How many examples to draw codes of at a time."""
        return _drawn_numbers(self._weight().device) // math.prod(self.shape)

    def _most_draws(self, x: Tensor) -> int:
        """How many importance samples of each example fit in one chunk."""
        return _drawn_numbers(x.device) // max(1, x.numel())

    def _weighted_draws(
        self, x: Tensor, q: Any, num_samples: int, prior: Any, c: Tensor | None, by_number: bool
    ) -> Draws:
        """Draw k importance samples of x (b, *shape) from q(z|x, c)."""
        z, log_q = q.rsample_and_log_prob(num_samples)
        log_prior: Tensor = prior.log_prob(z)
        log_likelihood, each = self._log_likelihood(z, x, c, by_number)
        return Draws(log_likelihood, log_likelihood + log_prior - log_q, by_number=each)

    def _log_likelihood(
        self, z: Tensor, x: Tensor, c: Tensor | None, by_number: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Log p(x|z, c) of codes (k, b, d), (k, b), and of each number if that is wanted, (k, b, *shape).

        At once on a CPU, on a GPU as memory allows.
        """

        def scored(draws: slice, rows: slice) -> Tensor:
            whole, here = rows == slice(0, len(x)), x[rows]
            p = self.generate(z[draws] if whole else z[draws, rows], c if whole or c is None else c[rows])
            found = p.log_prob(here)
            if not by_number:
                return found
            return torch.cat([found[..., None], log_prob_by_number(p, here).flatten(2)], -1)

        k, b = z.shape[:2]
        most = numbers_at_once(x.device, k * b * self._numbers_of_example())
        found = computed(scored, k, b, most // self._numbers_of_example(), x.device)
        return (found[..., 0], found[..., 1:].reshape(k, *x.shape)) if by_number else (found, None)


def _drawn_numbers(device: torch.device) -> int:
    """How many numbers the examples are to be that one draw of codes decodes to.

    It does not depend on the memory that is free, so that the noise does not either.
    """
    return MOST_NUMBERS if has_memory_to_fill(device) else _DECODED_NUMBERS
