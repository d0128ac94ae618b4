"""Discrete posteriors: heads that replace each of an example's vectors by an entry of a codebook.

They are deterministic: q(z|x) puts all its mass on one row of ``indices``, so log q = 0 and the rate is
−log p(indices) under a prior over codes (``probability.codes``). Gradients pass straight through the
quantisation (arXiv:1711.00937 §3.2). A head has no weights for an optimiser; codebooks track the features by
running averages, in training mode only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from elboroom.errors import UsageError
from elboroom.probability.code_vectors import CodeVectors, Normalization
from elboroom.probability.codebooks import Codebook, counts_of
from elboroom.probability.layout import Layout
from elboroom.probability.quantized import Quantized

# FSQ's outermost levels are this share inside the range of its tanh, so that they can be reached.
_FSQ_MARGIN = 1e-3
# With more levels the margin would exceed half a level, and rounding would give one level too many.
_MOST_FSQ_LEVELS = 256


class VectorQuantizer(nn.Module):
    """Features (b, ..., c) → :class:`Quantized`: each vector's nearest code, or a sum of several.

    With ``depth`` > 1 each further codebook quantises the residual of those before it (residual vector
    quantisation, arXiv:2107.03312 §III-C). The loss is ``commitment`` · Σ ‖v − code‖² over the vectors and
    codebooks of an example, without a gradient to the code (arXiv:1711.00937 eq. 3). It is a *sum*, as the
    distortion is, and equals KL(N(v, s²) ‖ N(code, s²)) for s² = 1/(2 · commitment), in nats.

    Parameters
    ----------
    in_shape : tuple of int
        Shape of one example's features: a grid of vectors, whose length c comes last.
    codebook_size : int
        K, codes in each codebook.
    depth : int
        Number of codebooks whose codes are added. The indices of one vector are adjacent.
    commitment : float
        Weight of the loss.
    channels_first : bool
        Features and codes are (c, ...) instead: channel by channel, as convolutional networks have them.
    normalization : {"none", "batch"}
        As in :class:`~elboroom.probability.code_vectors.CodeVectors`; ``on_grid`` takes "batch".
    decay, revive_below, kmeans_steps
        As in :class:`Codebook`.

    Raises
    ------
    UsageError
        If the shape has no grid of vectors or a number is out of range.

    Examples
    --------
    >>> q = VectorQuantizer((7, 7, 16), codebook_size=32)(torch.randn(5, 7, 7, 16))
    >>> q.mean.shape, q.indices.shape
    (torch.Size([5, 784]), torch.Size([5, 49]))
    """

    makes = Quantized

    def __init__(
        self,
        in_shape: Sequence[int],
        codebook_size: int = 512,
        *,
        depth: int = 1,
        commitment: float = 0.25,
        channels_first: bool = False,
        normalization: Normalization = "none",
        decay: float = 0.99,
        revive_below: float = 0.01,
        kmeans_steps: int = 10,
    ):
        super().__init__()
        self.layout = Layout(in_shape, channels_first)
        self.in_shape = self.layout.shape
        self.vectors = CodeVectors(self.layout, normalization)
        _check("codebook_size", codebook_size, 2)
        _check("depth", depth, 1)
        _check("kmeans_steps", kmeans_steps, 0)
        for name, value, most in (
            ("commitment", commitment, math.inf),
            ("decay", decay, 1.0),
            ("revive_below", revive_below, 1.0),
        ):
            if not 0 <= value < most:
                raise UsageError(f"{name} = {value}: must be at least 0 and below {most:g}")
        self.latent_dim = math.prod(in_shape)
        self.codebook_size = codebook_size
        self.num_indices = math.prod(in_shape[:-1]) * depth
        self.commitment = commitment
        self.codebooks = nn.ModuleList(
            Codebook(
                codebook_size, in_shape[-1], decay=decay, revive_below=revive_below, kmeans_steps=kmeans_steps
            )
            for _ in range(depth)
        )

    @classmethod
    def on_grid(cls, grid: Sequence[int], channels: int = 8, **options: Any) -> VectorQuantizer:
        """Make one for a grid of vectors of ``channels`` numbers, whose loss is weighted by the objective."""
        return cls((*grid, channels), commitment=1.0, **{"normalization": "batch", **options})

    def forward(self, features: Tensor) -> Quantized:
        """Quantise features (b, *in_shape)."""
        b = len(features)
        vectors = self.vectors(features).to(self._dtype)
        rest, loss = vectors, vectors.new_zeros(b)
        codes, indices, counts = [], [], []
        for book in self._books():
            book.start(rest.detach())
            chosen = book.nearest(rest.detach())
            code = book.codes[chosen]  # before the codebook moves
            loss = loss + self.commitment * (rest - code).square().reshape(b, self.latent_dim).sum(1)
            book.follow(rest.detach(), chosen)
            counts.append(counts_of(chosen, self.codebook_size))
            codes.append(code)
            indices.append(chosen)
            rest = rest - code
        # Equal to the codes, as the difference is exactly 0, with the gradient of the vectors.
        through = torch.stack(codes).sum(0) + (vectors - vectors.detach())
        return Quantized(
            self.layout.rows(through),
            torch.stack(indices, -1).reshape(b, self.num_indices),
            loss,
            torch.stack(counts),
        )

    def codes_of(self, indices: Tensor) -> Tensor:
        """Codes (n, d) of indices (n, P)."""
        depth = len(self.codebooks)
        by_book = indices.reshape(len(indices), self.num_indices // depth, depth)
        codes = [book.codes[by_book[..., i]] for i, book in enumerate(self._books())]
        return self.layout.rows(torch.stack(codes).sum(0))

    def indices_of(self, z: Tensor) -> Tensor:
        """Indices (n, P) of codes (n, d), if there is one codebook.

        Raises
        ------
        UsageError
            If ``depth`` > 1: a sum does not determine which codes were added. Encoding the sum again may
            choose others, so keep the posterior's own ``indices``.
        """
        book, *deeper = self._books()
        if deeper:
            raise UsageError(
                f"depth = {1 + len(deeper)}: a residual quantiser's code is a sum, which does not determine "
                "its indices; keep those of the posterior (vae.encode(x).indices), whose log-probability is "
                "prior.log_prob_of(indices)"
            )
        vectors = self.layout.vectors(z).to(self._dtype)
        return book.nearest(vectors).reshape(len(z), self.num_indices)

    @property
    def _dtype(self) -> torch.dtype:
        """Dtype of the codes; distances in half precision would choose wrong codes."""
        return self._books()[0].codes.dtype

    def _books(self) -> list[Codebook]:
        return [book for book in self.codebooks if isinstance(book, Codebook)]


class FiniteScalarQuantizer(nn.Module):
    """Features (b, ..., c) → :class:`Quantized`: each number rounded to one of a few levels in [−1, 1].

    Finite scalar quantisation (arXiv:2309.15505 eq. 1 and appendix A.1): round(⌊L/2⌋-wide tanh), with L
    levels for each of the c numbers of a vector, an implicit codebook of K = Π L. Nothing is learned, the
    codebook cannot collapse, and the loss is 0.

    Parameters
    ----------
    in_shape : tuple of int
        Shape of one example's features; the last must be the number of ``levels``.
    levels : sequence of int
        L for each number of a vector, from 3 to 256; the paper advises 5 or more.
    channels_first, normalization
        As in :class:`VectorQuantizer`.

    Raises
    ------
    UsageError
        If the levels do not fit the shape or are out of range.

    Examples
    --------
    >>> quantizer = FiniteScalarQuantizer((1, 2), levels=[3, 5])
    >>> quantizer(torch.tensor([[[9.0, 0.1]]])).mean
    tensor([[1., 0.]])
    """

    makes = Quantized

    levels: Tensor
    bases: Tensor

    def __init__(
        self,
        in_shape: Sequence[int],
        levels: Sequence[int] = (8, 5, 5, 5),
        *,
        channels_first: bool = False,
        normalization: Normalization = "none",
    ):
        super().__init__()
        self.layout = Layout(in_shape, channels_first)
        self.in_shape = self.layout.shape
        self.vectors = CodeVectors(self.layout, normalization)
        if len(levels) != in_shape[-1]:
            raise UsageError(
                f"levels = {list(levels)}: give one for each of the {in_shape[-1]} numbers of a vector: "
                f"{in_shape[-1]} levels, or features (..., {len(levels)})"
            )
        wrong = [level for level in levels if not 3 <= level <= _MOST_FSQ_LEVELS]
        if wrong:
            raise UsageError(f"levels = {list(levels)}: each must be from 3 to {_MOST_FSQ_LEVELS}")
        self.latent_dim = math.prod(in_shape)
        self.num_indices = math.prod(in_shape[:-1])
        self.codebook_size = math.prod(levels)
        bases = [math.prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("bases", torch.tensor(bases), persistent=False)

    @classmethod
    def on_grid(
        cls, grid: Sequence[int], levels: Sequence[int] = (8, 5, 5, 5), **options: Any
    ) -> FiniteScalarQuantizer:
        """Make one for a grid of vectors with as many numbers as there are levels."""
        return cls((*grid, len(levels)), levels, **{"normalization": "batch", **options})

    def forward(self, features: Tensor) -> Quantized:
        """Quantise features (b, *in_shape)."""
        b = len(features)
        vectors = self.vectors(features).reshape(b, self.num_indices, len(self.levels))
        half = (self.levels - 1) * (1 + _FSQ_MARGIN) / 2
        # An even number of levels has none at 0: shift by half a level, so that 0 still maps to 0.
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        bounded = torch.tanh(vectors + torch.atanh(offset / half)) * half - offset
        rounded = bounded.round() + (bounded - bounded.detach())
        indices = self._index(rounded.detach())
        return Quantized(
            self.layout.rows(rounded / (self.levels // 2)),
            indices,
            features.new_zeros(b),
            counts_of(indices, self.codebook_size)[None],
        )

    def _index(self, rounded: Tensor) -> Tensor:
        steps = rounded.round().long() + self.levels // 2
        return (steps * self.bases).sum(-1)

    def codes_of(self, indices: Tensor) -> Tensor:
        """Codes (n, d) of indices (n, P)."""
        steps = indices[..., None] // self.bases % self.levels
        half = self.levels // 2
        return self.layout.rows((steps - half) / half)

    def indices_of(self, z: Tensor) -> Tensor:
        """Indices (n, P) of codes (n, d)."""
        vectors = self.layout.vectors(z).reshape(len(z), self.num_indices, len(self.levels))
        return self._index(vectors * (self.levels // 2))

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"levels={self.levels.tolist()}, codebook_size={self.codebook_size}"


def _check(name: str, value: int, least: int) -> None:
    if value < least:
        raise UsageError(f"{name} = {value}: at least {least} is needed")
