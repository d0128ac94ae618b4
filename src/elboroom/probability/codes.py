"""Priors over the indices of a quantiser: p(z) is the probability of the indices of z."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elboroom.errors import UsageError
from elboroom.probability.quantized import Quantizer


class UniformCodes(nn.Module):
    """The uniform distribution over a quantiser's codes: the rate is P · log K for every example.

    Parameters
    ----------
    quantizer : Quantizer
        Head of P indices into K codes. It remains a part of the model and not of the prior.

    Examples
    --------
    >>> from elboroom.probability.quantizers import FiniteScalarQuantizer
    >>> prior = UniformCodes(FiniteScalarQuantizer((4, 2), levels=[5, 5]))
    >>> round(-prior.log_prob(prior.sample(1)).item(), 3)  # 4 · log 25
    12.876
    """

    space = "codes"

    def __init__(self, quantizer: Quantizer):
        super().__init__()
        self.latent_dim = quantizer.latent_dim
        self._quantizer = (quantizer,)  # in a tuple, so that it is not registered as a submodule too
        self.register_buffer("_zero", torch.zeros(()), persistent=False)

    @property
    def quantizer(self) -> Quantizer:
        """The quantiser over whose indices this is a prior."""
        return self._quantizer[0]

    def log_prob(self, z: Tensor) -> Tensor:
        """−P · log K for any z (..., d), in nats, (...)."""
        nats = self.quantizer.num_indices * math.log(self.quantizer.codebook_size)
        return z.new_full(z.shape[:-1], -nats)

    def log_prob_of(self, indices: Tensor) -> Tensor:
        """−P · log K for any indices (n, P), in nats, (n,)."""
        nats = self.quantizer.num_indices * math.log(self.quantizer.codebook_size)
        return cast(Tensor, self._zero).new_full((len(indices),), -nats)

    def sample(self, n: int) -> Tensor:
        """Codes of n rows of uniformly drawn indices, (n, d)."""
        size = (n, self.quantizer.num_indices)
        device = cast(Tensor, self._zero).device
        return self.quantizer.codes_of(torch.randint(self.quantizer.codebook_size, size, device=device))


class AutoregressiveCodes(nn.Module):
    """p(indices) = Π p(index i | indices before it), by a causal transformer (arXiv:1706.03762).

    The rate is −log p(indices) of the posterior's own indices. Indices have no gradient, so the rate trains
    only this prior, whether together with the model or afterwards (:func:`fit_code_prior`, the second stage
    of arXiv:1711.00937 §3.3). It starts uniform.

    Parameters
    ----------
    quantizer : Quantizer
        Head of P indices into K codes. It remains a part of the model and not of the prior.
    width, layers, heads : int
        Features per position, transformer layers, and attention heads (which must divide the width).

    Raises
    ------
    UsageError
        If the heads do not divide the width.
    """

    space = "codes"

    def __init__(self, quantizer: Quantizer, *, width: int = 128, layers: int = 2, heads: int = 4):
        super().__init__()
        if width % heads:
            raise UsageError(
                f"width = {width} with heads = {heads}: the width must be a multiple of the number of heads"
            )
        self.latent_dim = quantizer.latent_dim
        self._quantizer = (quantizer,)  # in a tuple, so that it is not registered as a submodule too
        self.tokens = nn.Embedding(quantizer.codebook_size, width)
        self.start = nn.Parameter(torch.zeros(width))
        self.places = nn.Parameter(0.02 * torch.randn(quantizer.num_indices, width))
        # Without dropout; each position sees only those before it.
        block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(
            block, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.logits = nn.Linear(width, quantizer.codebook_size)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)

    @property
    def quantizer(self) -> Quantizer:
        """The quantiser over whose indices this is a prior."""
        return self._quantizer[0]

    def forward(self, indices: Tensor) -> Tensor:
        """Logits (n, p + 1, K) of p known indices (n, p), each given those before it, and of the next index.

        If all P are known there is no next one: (n, P, K).
        """
        length = min(indices.shape[1] + 1, len(self.places))
        before = torch.cat([self.start.expand(len(indices), 1, -1), self.tokens(indices)], 1)[:, :length]
        mask = nn.Transformer.generate_square_subsequent_mask(length, before.device, before.dtype)
        return self.logits(self.blocks(before + self.places[:length], mask=mask, is_causal=True))

    def log_prob_of(self, indices: Tensor) -> Tensor:
        """Log-probability of indices (n, P) in nats, (n,)."""
        nats = F.cross_entropy(self(indices).transpose(1, 2), indices, reduction="none")
        return -nats.sum(1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Log-probability of the indices of codes z (..., d), in nats, (...).

        Raises
        ------
        UsageError
            If codes do not determine their indices, as with a residual quantiser; see :meth:`log_prob_of`.
        """
        indices = self.quantizer.indices_of(z.detach().reshape(-1, self.latent_dim))
        return self.log_prob_of(indices).reshape(z.shape[:-1])

    def sample_indices(self, n: int) -> Tensor:
        """Draw n rows of indices, one position after another, (n, P)."""
        if not n:
            return torch.empty(0, len(self.places), dtype=torch.long, device=self.places.device)
        indices = torch.empty(n, 0, dtype=torch.long, device=self.places.device)
        for _ in range(len(self.places)):
            probabilities = self(indices)[:, -1].softmax(-1)
            indices = torch.cat([indices, torch.multinomial(probabilities, 1)], 1)
        return indices

    def sample(self, n: int) -> Tensor:
        """Codes of n rows of indices drawn from the prior, (n, d)."""
        return self.quantizer.codes_of(self.sample_indices(n))


def fit_code_prior(
    prior: AutoregressiveCodes,
    indices: Tensor,
    *,
    epochs: int = 10,
    batch_size: int = 100,
    lr: float = 1e-3,
    on_epoch: Callable[[int, float], bool | None] | None = None,
) -> list[float]:
    """Fit a prior to the indices of a trained model's codes with Adam.

    Parameters
    ----------
    prior : AutoregressiveCodes
        Trained in place.
    indices : Tensor
        (n, P): ``vae.encode(x).indices`` of the training examples.
    epochs, batch_size : int
        Shuffled passes over the data, and examples in a step; the order comes from torch's generator.
    lr : float
        Learning rate.
    on_epoch : callable, optional
        Called with (epoch from 1, mean nats) after every epoch; training ends if it returns True.

    Returns
    -------
    list of float
        Mean −log p(indices) during each epoch, nats per example; that of the uniform prior is P · log K.

    Raises
    ------
    UsageError
        If there are no indices or their number does not fit the prior.
    """
    if indices.ndim != 2 or not len(indices) or indices.shape[1] != len(prior.places):
        raise UsageError(
            f"got indices of shape {tuple(indices.shape)}; the prior takes (n, {len(prior.places)}), n ≥ 1"
        )
    indices = indices.to(prior.places.device)
    optimizer = torch.optim.Adam(prior.parameters(), lr)
    history = []
    mode = prior.training
    prior.train()
    for epoch in range(1, epochs + 1):
        total = torch.zeros((), device=indices.device)
        order = torch.randperm(len(indices), device=indices.device)
        for first in range(0, len(order), batch_size):
            rows = order[first : first + batch_size]
            loss: Any = -prior.log_prob_of(indices[rows]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(rows)
        history.append(total.item() / len(indices))  # the host waits for the device here, once an epoch
        if on_epoch is not None and on_epoch(epoch, history[-1]):
            break
    prior.train(mode)
    return history
