"""Codebooks: code vectors that track the features by running averages, without an optimiser."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from elboroom.distributed.noise import whole_batch

# Laplace smoothing of the usage (arXiv:1711.00937 appendix A.1, as implemented by its authors).
_SMOOTHING = 1e-5


def perplexity(counts: Tensor) -> Tensor:
    """Exponential of the entropy of histograms (..., K), from 1 to K, (...)."""
    p = counts / counts.sum(-1, keepdim=True).clamp(min=1)
    return torch.exp(-torch.special.xlogy(p, p).sum(-1))


def counts_of(indices: Tensor, size: int) -> Tensor:
    """How often each of ``size`` indices occurs, (size,), float32: exact up to 16 million.

    These are whole numbers, so the order of addition does not matter.
    """
    counts = torch.zeros(size, dtype=torch.float32, device=indices.device)
    return counts.scatter_add_(0, indices.flatten(), counts.new_ones(indices.numel()))


class Codebook(nn.Module):
    """K code vectors: initialised by k-means, then updated by running averages.

    Processes that train together use the vectors of all of them, and so have the same codes. Everything that
    the next update depends on is in buffers or in torch's generator, shapes are static, and the host waits
    for the device only until the k-means initialisation is done.

    Parameters
    ----------
    size, dim : int
        K and the length of a vector.
    decay : float
        Decay of the running averages of usage and of sums (arXiv:1711.00937 appendix A.1).
    revive_below : float
        A code whose usage is below this share of the mean usage is replaced by a vector of the batch
        (arXiv:2005.00341 §3.1, whose threshold is absolute). 0: never.
    kmeans_steps : int
        Steps of Lloyd's algorithm on the first training batch, from randomly chosen vectors of it; 0 keeps
        the initial codes, drawn from N(0, 1).
    """

    codes: Tensor
    usage: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, size: int, dim: int, *, decay: float, revive_below: float, kmeans_steps: int):
        super().__init__()
        self.decay = decay
        self.revive_below = revive_below
        self.kmeans_steps = kmeans_steps
        codes = torch.randn(size, dim)
        self.register_buffer("codes", codes)
        self.register_buffer("usage", torch.ones(size))
        self.register_buffer("sums", codes.clone())
        self.register_buffer("started", torch.tensor(kmeans_steps == 0))
        # The host's copy of `started`, which avoids waiting for the device.
        self._known_started = False
        self.register_load_state_dict_post_hook(_ask_again)  # type: ignore[no-untyped-call]

    def nearest(self, vectors: Tensor) -> Tensor:
        """Index of the code nearest to each vector (n, dim) in Euclidean distance, (n,)."""
        with torch.autocast(vectors.device.type, enabled=False):  # half precision would choose wrong ones
            # ‖v − e‖² without ‖v‖², which is the same for all codes
            return torch.addmm(self.codes.square().sum(1), vectors, self.codes.T, alpha=-2).argmin(1)

    @torch.no_grad()
    def start(self, vectors: Tensor) -> None:
        """In training mode, initialise the codes by k-means on the first vectors (n, dim) given."""
        if self._known_started or not self.training:
            return
        if not self.started.item():  # the host waits for the device here, until the first batch is done
            vectors = whole_batch(vectors)
            n, size = len(vectors), len(self.codes)
            chosen = torch.randperm(n, device=vectors.device)[:size]
            if n < size:  # duplicate codes are replaced later, or stay unused
                chosen = torch.cat([chosen, torch.randint(n, (size - n,), device=vectors.device)])
            self.codes.copy_(vectors[chosen])
            for _ in range(self.kmeans_steps):
                counts, sums = self._totals(vectors, self.nearest(vectors))
                self.codes.copy_(torch.where(counts[:, None] > 0, sums / counts[:, None], self.codes))
            self.usage.copy_(counts)
            self.sums.copy_(sums)
            self.started.fill_(True)
        self._known_started = True

    @torch.no_grad()
    def follow(self, vectors: Tensor, indices: Tensor) -> None:
        """In training mode, move the codes towards the means of the vectors (n, dim) that chose them."""
        if not self.training:
            return
        vectors, indices = whole_batch(vectors), whole_batch(indices)
        counts, sums = self._totals(vectors, indices)
        self.usage.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        total, size = self.usage.sum(), len(self.usage)
        smoothed = (self.usage + _SMOOTHING) / (total + size * _SMOOTHING) * total
        self.codes.copy_(self.sums / smoothed[:, None])
        if self.revive_below > 0:
            self._revive(vectors, total / size)

    def _revive(self, vectors: Tensor, even_use: Tensor) -> None:
        # One candidate for every code, used or not, so that no shape depends on how many are dead.
        candidates = vectors[torch.randint(len(vectors), (len(self.codes),), device=vectors.device)]
        dead = self.usage < self.revive_below * even_use
        self.usage.copy_(torch.where(dead, even_use, self.usage))
        self.codes.copy_(torch.where(dead[:, None], candidates, self.codes))
        self.sums.copy_(torch.where(dead[:, None], candidates * even_use, self.sums))

    def _totals(self, vectors: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Number (K,) and sum (K, dim) of each code's vectors; a matrix product adds in a fixed order."""
        # Not one_hot, in which the host reads the indices to check them.
        every = torch.arange(len(self.codes), device=indices.device)
        members = (indices[:, None] == every).to(vectors.dtype)
        with torch.autocast(vectors.device.type, enabled=False):
            return members.sum(0), members.T @ vectors

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        size, dim = self.codes.shape
        return f"size={size}, dim={dim}, decay={self.decay}, revive_below={self.revive_below}"


def _ask_again(book: Codebook, _keys: object) -> None:
    book._known_started = False
