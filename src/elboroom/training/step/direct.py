"""The step of a plain VAE without autograd: two MLPs, a diagonal Gaussian, a standard normal prior, the ELBO.

On small networks the bookkeeping of autograd takes as long as the arithmetic. This is the same arithmetic,
with the derivatives of the few operations between the networks written out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elboroom.distributed.noise import normal
from elboroom.models.vae import VAE
from elboroom.objectives import Objective, elbo
from elboroom.probability import Bernoulli, BernoulliHead, DiagonalGaussianHead, GaussianHead, StandardNormal
from elboroom.training.step.chains import Chains, run, run_back
from elboroom.training.step.interventions import is_modified
from elboroom.training.step.room import Layer, Room
from elboroom.training.step.totals import Sums

_LOG_2PI = math.log(2 * math.pi)
_SUM = 2  # torch's number of that reduction
_aten = torch.ops.aten


class Memory:
    """Tensors of a step with batches of one size, used again at every step: nothing is allocated.

    Where products are in low precision, there are copies of some in that of ``like``.

    Parameters
    ----------
    encoder, decoder : sequence of Layer
        The layers of the two networks.
    like : Tensor
        A batch (b, *shape) in model units.
    weight : float
        Weight of the batch.
    """

    def __init__(self, encoder: Sequence[Layer], decoder: Sequence[Layer], like: Tensor, weight: float):
        b = len(like)
        self.lowered = encoder[0].weight.dtype != like.dtype
        self.encoder, self.decoder = Room(encoder, b), Room(decoder, b)
        if self.lowered:
            self.images = torch.empty_like(like, dtype=encoder[0].weight.dtype)
            self.rows = self.images.view(b, -1)
        # These are the outputs of the networks themselves where they have that precision and order.
        self.features, self.output_rows = (
            each.to(like.dtype).contiguous() for each in (self.encoder.outputs[-1], self.decoder.outputs[-1])
        )
        self.output = self.output_rows.view(like.shape)
        # With a dimension for the one sample of each code, as in other steps.
        self.mean, self.raw = self.features[None].chunk(2, dim=-1)
        self.scale, self.inverse, self.nats = (torch.empty_like(self.mean) for _ in range(3))
        self.codes, self.by_codes = self.decoder.by_input.clone(), self.decoder.by_input[None]
        self.z = self.codes[None]
        self.by_output = self.by_output_low = self.decoder.gradients[-1].view(like.shape)
        if self.lowered:
            self.by_output = torch.empty_like(like)
        self.by_mean, self.by_raw = self.encoder.gradients[-1][None].chunk(2, dim=-1)
        self.half_share = like.new_full((), 0.5 * weight / b)
        self.minus_half = like.new_full((), -0.5)


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
        if any(layers[-1].activation is not None for layers in (encoder, decoder)):
            return None
        if any(map(is_modified, (*vae.modules(), *objective.modules()))):
            return None
        return cls(vae, chains, encoder, decoder)

    @torch.no_grad()
    def __call__(self, x: Tensor, beta: Tensor, weight: float) -> Sums:
        """Write the gradients of ``weight`` · loss into the flat buffer; x (b, *shape) in model units."""
        own, flat, b = self._memory(x, weight), self.chains.flat, len(x)
        rows = own.rows if own.lowered else x.flatten(1)
        if own.lowered:
            own.images.copy_(x)
        features, kept_encoder = run(self.encoder, rows, own.encoder)
        if own.features is not features:
            own.features.copy_(features)
        self._set_scale(own)
        noise = normal(*own.mean.shape, batch_dim=1, like=own.mean)
        torch.addcmul(own.mean, own.scale, noise, out=own.z)
        output, kept_decoder = run(self.decoder, own.codes, own.decoder)
        if own.output_rows is not output:
            own.output_rows.copy_(output)
        distortion = self._distortion(x, own, weight)
        # KL divergence: (m² + s² − 1) / 2 − log s, summed.
        nats = torch.addcmul(own.minus_half, own.mean, own.mean, value=0.5, out=own.nats)
        rate = (
            nats.addcmul_(own.scale, own.scale, value=0.5).sub_(torch.log(own.scale, out=own.inverse)).sum()
        )
        run_back(self.decoder, kept_decoder, own.decoder.gradients[-1], flat, to_input=True, room=own.decoder)
        self._to_features(noise, beta, weight / b, own)
        run_back(
            self.encoder, kept_encoder, own.encoder.gradients[-1], flat, to_input=False, room=own.encoder
        )
        return Sums(torch.addcmul(distortion, beta, rate).div_(b), distortion, rate)

    def _memory(self, x: Tensor, weight: float) -> Memory:
        """Memory for such a batch; the chains keep it, as a captured step outlives this object."""
        widths = (tuple(layer.weight.shape for layer in chain) for chain in (self.encoder, self.decoder))
        key = (x.shape, x.dtype, weight, *widths)
        if key not in self.chains.memory:
            self.chains.memory[key] = Memory(self.encoder, self.decoder, x, weight)
        found: Memory = self.chains.memory[key]
        return found

    def _set_scale(self, own: Memory) -> None:
        head = self.vae.posterior
        if head.scale == "softplus":
            _aten.softplus.out(own.raw, out=own.scale)
        else:
            torch.mul(own.raw, 0.5, out=own.scale).exp_()
        own.scale.add_(head.min_scale)

    def _to_features(self, noise: Tensor, beta: Tensor, share: float, own: Memory) -> None:
        """Write the gradient by the encoder's output, the parameters of the posterior."""
        torch.addcmul(own.by_codes, own.mean, beta, value=share, out=own.by_mean)
        pull = torch.reciprocal(own.scale, out=own.inverse)
        torch.sub(own.scale, pull, out=pull)
        by_scale = torch.mul(own.by_codes, noise, out=own.nats).addcmul_(pull, beta, value=share)
        if self.vae.posterior.scale == "softplus":
            _aten.softplus_backward.grad_input(by_scale, own.raw, 1, 20, grad_input=own.by_raw)
        else:
            slope = own.scale.sub_(self.vae.posterior.min_scale).mul_(0.5)
            torch.mul(by_scale, slope, out=own.by_raw)

    def _distortion(self, x: Tensor, own: Memory, weight: float) -> Tensor:
        """Return −log p(x|z), summed, and write its gradient by the decoder's output."""
        head, gradient = self.vae.likelihood, own.by_output
        if isinstance(head, BernoulliHead):
            nats = F.binary_cross_entropy_with_logits(own.output, x, reduction="sum")
            torch.sigmoid(own.output, out=gradient)
            # 2 (p − x) times half of the batch's share, in one operation.
            _aten.mse_loss_backward.grad_input(own.half_share, gradient, x, _SUM, grad_input=gradient)
        else:
            mean = torch.sigmoid(own.output) if head.mean == "sigmoid" else own.output
            error = torch.sub(mean, x, out=gradient)
            precision = torch.exp(-2 * head.log_scale)
            nats = 0.5 * precision * error.square().sum() + x.numel() * (head.log_scale + 0.5 * _LOG_2PI)
            error.mul_(precision * (weight / len(x)))
            if head.mean == "sigmoid":
                error.mul_(mean * (1 - mean))
        if own.lowered:
            own.by_output_low.copy_(gradient)
        return nats


def _is_plain_likelihood(head: nn.Module) -> bool:
    if type(head) is BernoulliHead:
        return head.family is Bernoulli
    return type(head) is GaussianHead and head.learn_scale == "none" and not any(head.parameters())
