"""The step of a plain VAE without autograd: two MLPs, a diagonal Gaussian, a standard normal prior, the ELBO.

On small networks the bookkeeping of autograd takes as long as the arithmetic. This is the same arithmetic,
with the derivatives of the few operations between the networks written out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elboroom.distributed.noise import normal
from elboroom.models.vae import VAE
from elboroom.objectives import Objective, elbo
from elboroom.probability import Bernoulli, BernoulliHead, DiagonalGaussianHead, GaussianHead, StandardNormal
from elboroom.training.step.chains import Chains, Layer, run, run_back
from elboroom.training.step.interventions import is_modified
from elboroom.training.step.totals import Sums

_LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class Direct:
    """Compute loss and gradients of a batch in one call.

    Parameters
    ----------
    vae : VAE
        A model that :meth:`of` has accepted.
    chains : Chains
        Chains of linear layers, with those of both networks.
    encoder, decoder : list of Layer
        The layers of the two networks.
    """

    vae: VAE
    chains: Chains
    encoder: list[Layer]
    decoder: list[Layer]

    @classmethod
    def of(cls, vae: VAE, objective: Objective, chains: Chains) -> Direct | None:
        """Make one, or return None if model or objective differ from what is written out here."""
        encoder, decoder = chains.layers.get(vae.encoder), chains.layers.get(vae.decoder)
        plain = (
            type(vae) is VAE
            and vae.conditioning is None
            and type(vae.posterior) is DiagonalGaussianHead
            and type(vae.prior) is StandardNormal
            and _is_plain_likelihood(vae.likelihood)
        )
        simple = (
            type(objective) is Objective
            and objective.bound is elbo
            and not objective.penalties
            and objective.num_samples == 1
        )
        if encoder is None or decoder is None or not (plain and simple):
            return None
        if any(map(is_modified, (*vae.modules(), *objective.modules()))):
            return None
        return cls(vae, chains, encoder, decoder)

    @torch.no_grad()
    def __call__(self, x: Tensor, beta: Tensor, weight: float) -> Sums:
        """Write the gradients of ``weight`` · loss into the flat buffer; x (b, *shape) in model units."""
        rows = x.flatten(1)
        b, flat = len(rows), self.chains.flat
        features, kept_encoder = run(self.encoder, rows)
        mean, raw = features.to(rows.dtype).chunk(2, dim=-1)
        scale = self._scale(raw)
        noise = normal(1, *mean.shape, batch_dim=1, like=mean)[0]
        z = torch.addcmul(mean, scale, noise)
        features, kept_decoder = run(self.decoder, z)
        distortion, gradient = self._distortion(features.to(rows.dtype), rows)
        rate = 0.5 * (mean.square().sum() + scale.square().sum() - mean.numel()) - scale.log().sum()
        by_z = run_back(self.decoder, kept_decoder, gradient.mul_(weight / b), flat, to_input=True)
        assert by_z is not None
        by_z = by_z.to(rows.dtype)
        pull = beta * (weight / b)
        by_mean = by_z + pull * mean
        by_raw = (by_z * noise + pull * (scale - scale.reciprocal())) * self._slope(raw, scale)
        run_back(self.encoder, kept_encoder, torch.cat([by_mean, by_raw], -1), flat, to_input=False)
        return Sums((distortion + beta * rate) / b, distortion, rate)

    def _scale(self, raw: Tensor) -> Tensor:
        head = self.vae.posterior
        positive = F.softplus(raw) if head.scale == "softplus" else torch.exp(0.5 * raw)
        return positive + head.min_scale

    def _slope(self, raw: Tensor, scale: Tensor) -> Tensor:
        head = self.vae.posterior
        return torch.sigmoid(raw) if head.scale == "softplus" else 0.5 * (scale - head.min_scale)

    def _distortion(self, features: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return −log p(x|z), summed, and its gradient by the features (b, D) as a new tensor."""
        head = self.vae.likelihood
        if isinstance(head, BernoulliHead):
            nats = F.binary_cross_entropy_with_logits(features, x, reduction="sum")
            return nats, torch.sigmoid(features).sub_(x)
        mean = torch.sigmoid(features) if head.mean == "sigmoid" else features
        error = mean - x
        precision = torch.exp(-2 * head.log_scale)
        nats = 0.5 * precision * error.square().sum() + x.numel() * (head.log_scale + 0.5 * _LOG_2PI)
        gradient = error.mul_(precision)
        return nats, gradient if head.mean == "identity" else gradient.mul_(mean * (1 - mean))


def _is_plain_likelihood(head: nn.Module) -> bool:
    if type(head) is BernoulliHead:
        return head.family is Bernoulli
    return type(head) is GaussianHead and head.learn_scale == "none" and not any(head.parameters())
