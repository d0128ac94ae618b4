"""A second, small VAE whose examples are the codes of a first one (arXiv:1903.05789)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from elboroom.probability.posteriors import at_least

_DRAWS = 64  # of q(u|z), by which the density is estimated
_AT_A_TIME = 2_000  # codes whose draws are in memory together
_FIRST_NOISE = 0.3
_LEAST_NOISE = 1e-3  # standard deviation of p(z|u), in standardised codes


class TwoStagePrior(nn.Module):
    """p(z) = ∫ N(u; 0, I) N(z; f(u), σ²) du, with an encoder q(u|z) that it is trained and scored with.

    f and the mean and standard deviation of q are networks of two hidden layers beside a linear map; σ is
    learned for each dimension, as the second stage of arXiv:1903.05789 learns its own (§3), so that it
    shrinks where codes lie on a manifold.

    Parameters
    ----------
    latent_dim : int
        d, numbers of a code and of u.
    width : int
        Of the hidden layers.

    Attributes
    ----------
    shift, spread : Tensor
        Of each dimension, (d,): the networks see (z − shift)/spread.
    is_bound : bool
        True: ``log_prob`` is a lower bound on the log-density.
    """

    is_bound = True

    shift: Tensor
    spread: Tensor
    noise: Tensor

    def __init__(self, latent_dim: int, *, width: int = 128):
        super().__init__()
        at_least("latent_dim", latent_dim, 1)
        at_least("width", width, 1)
        self.latent_dim = latent_dim
        self.encoder, self.decoder = _network(latent_dim, width, 2), _network(latent_dim, width, 1)
        self.encoder_line = nn.Linear(latent_dim, 2 * latent_dim)
        self.decoder_line = nn.Linear(latent_dim, latent_dim)
        self.log_noise = nn.Parameter(torch.full((latent_dim,), math.log(_FIRST_NOISE)))
        self._start_linear()
        self.register_buffer("shift", torch.zeros(latent_dim))
        self.register_buffer("spread", torch.ones(latent_dim))
        # The same noise for all codes and calls, so that the estimate is a function of z.
        fixed = torch.randn(_DRAWS, latent_dim, generator=torch.Generator().manual_seed(0))
        self.register_buffer("noise", fixed, persistent=False)

    def _start_linear(self) -> None:
        """Start as N(0, (1 + σ²) I), with u the code itself: a start at f = 0 would stay a plain normal."""
        d, gain = self.latent_dim, 1 / (1 + _FIRST_NOISE**2)
        with torch.no_grad():
            nn.init.eye_(self.decoder_line.weight)
            self.encoder_line.weight.copy_(torch.cat([gain * torch.eye(d), torch.zeros(d, d)]))
            self.encoder_line.bias[d:] = math.log(_FIRST_NOISE * gain**0.5)
            self.encoder_line.bias[:d] = 0
            nn.init.zeros_(self.decoder_line.bias)

    def _posterior(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation of q(u|z) for standardised z (..., d)."""
        mean, log_scale = (self.encoder(z) + self.encoder_line(z)).chunk(2, -1)
        return mean, log_scale.clamp(-10, 5)

    def _decoded(self, u: Tensor) -> Tensor:
        decoded: Tensor = self.decoder(u) + self.decoder_line(u)
        return decoded

    def _log_likelihood(self, z: Tensor, u: Tensor) -> Tensor:
        scale = self.log_noise.exp() + _LEAST_NOISE
        return _log_normal((z - self._decoded(u)) / scale) - scale.log().sum()

    def elbo(self, z: Tensor) -> Tensor:
        """ELBO of codes z (n, d) by one draw of q(u|z) each, whose rate is exact, in nats, (n,)."""
        standard = (z - self.shift) / self.spread
        mean, log_scale = self._posterior(standard)
        u = mean + log_scale.exp() * torch.randn_like(mean)
        rate = 0.5 * (mean.square() + (2 * log_scale).exp() - 1 - 2 * log_scale).sum(-1)
        return self._log_likelihood(standard, u) - rate - self.spread.log().sum()

    def log_prob(self, z: Tensor) -> Tensor:
        """Lower bound on the log-density of z (..., d) in nats, (...): log mean of 64 importance weights.

        The bound of arXiv:1509.00519 eq. 8. The draws use the same noise every time.
        """
        flat = (z.reshape(-1, self.latent_dim) - self.shift) / self.spread
        bounds = torch.cat([self._bound(piece) for piece in torch.split(flat, _AT_A_TIME)])
        return (bounds - self.spread.log().sum()).reshape(z.shape[:-1])

    def _bound(self, z: Tensor) -> Tensor:
        mean, log_scale = self._posterior(z)
        noise = self.noise[:, None]
        u = mean + log_scale.exp() * noise
        log_q = _log_normal(noise) - log_scale.sum(-1)
        weights = self._log_likelihood(z, u) + _log_normal(u) - log_q
        return torch.logsumexp(weights, 0) - math.log(len(noise))

    def sample(self, n: int) -> Tensor:
        """Draw n codes, (n, d)."""
        with torch.no_grad():
            u, noise = torch.randn(2, n, self.latent_dim, dtype=self.shift.dtype, device=self.shift.device)
            standard = self._decoded(u) + (self.log_noise.exp() + _LEAST_NOISE) * noise
            return self.shift + self.spread * standard

    def extra_repr(self) -> str:
        """Shown by ``print(vae)``."""
        return f"latent_dim={self.latent_dim}"


def _log_normal(noise: Tensor) -> Tensor:
    return -0.5 * (noise.square() + math.log(2 * math.pi)).sum(-1)


def _network(d: int, width: int, outputs: int) -> nn.Sequential:
    last = nn.Linear(width, outputs * d)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(d, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), last)
