"""What a quantiser makes of features, and what a prior over its codes needs of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from elboroom.probability.codebooks import perplexity
from elboroom.probability.meters import Meter

# With more codes a run's history has no perplexity: their histogram would make checkpoints large.
_MOST_COUNTED = 1 << 20


@dataclass(frozen=True)
class Quantized:
    """The codes of b examples, each P indices into a codebook of K.

    Parameters
    ----------
    mean : Tensor
        Quantised codes (b, d); their gradient passes straight through to the features.
    indices : Tensor
        (b, P), int64.
    loss : Tensor
        Commitment loss, (b,), already weighted, which pulls features to their codes; part of the objective.
    counts : Tensor
        How often each code of each codebook was used, (codebooks, K).
    """

    stochastic: ClassVar[bool] = False
    space: ClassVar[str] = "codes"

    mean: Tensor
    indices: Tensor
    loss: Tensor
    counts: Tensor

    @property
    def perplexity(self) -> Tensor:
        """Exponential of the entropy of the codes used in this batch, 1 to K, (): the mean over codebooks."""
        return perplexity(self.counts).mean()

    @property
    def meters(self) -> dict[str, Meter]:
        """Perplexity of an epoch's codes, independent of the division into batches."""
        if self.counts.numel() > _MOST_COUNTED:
            return {}
        return {"perplexity": Meter(self.counts, lambda counts, _examples: perplexity(counts).mean())}

    def rsample_and_log_prob(self, num_samples: int) -> tuple[Tensor, Tensor]:
        """Repeat the code k times, (k, b, d), with log 1 = 0, (k, b)."""
        z = self.mean.expand(num_samples, *self.mean.shape)
        return z, self.mean.new_zeros(num_samples, len(self.mean))

    def detached(self) -> Quantized:
        """The same codes, detached from the graph."""
        return Quantized(self.mean.detach(), self.indices, self.loss.detach(), self.counts)


class Quantizer(Protocol):
    """What a prior over codes needs of a quantiser."""

    latent_dim: int
    num_indices: int
    codebook_size: int

    def codes_of(self, indices: Tensor) -> Tensor:
        """Codes (n, d) of indices (n, P)."""
        ...

    def indices_of(self, z: Tensor) -> Tensor:
        """Indices (n, P) of codes (n, d); UsageError if codes do not determine them."""
        ...
