"""The step of a plain VAE written out: a diagonal Gaussian, a standard normal prior, ELBO or weighted bound.

On small networks the bookkeeping of autograd takes as long as the arithmetic. This is the same arithmetic,
with the derivatives of all operations between the networks written out, and of the networks too where they
are chains of linear layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elboroom.distributed.noise import normal
from elboroom.models.vae import VAE
from elboroom.objectives import Objective, elbo, iwae
from elboroom.probability import Bernoulli, BernoulliHead, DiagonalGaussianHead, GaussianHead, StandardNormal
from elboroom.training.step.chains import Chains
from elboroom.training.step.interventions import is_modified
from elboroom.training.step.room import Layer
from elboroom.training.step.sides import ByAutograd, Chain, Net
from elboroom.training.step.totals import Sums

_LOG_2PI = math.log(2 * math.pi)
_SUM = 2  # torch's number of that reduction
_aten = torch.ops.aten
# What is passed over; a class whose methods were replaced computes something else.
_PASSED_OVER = (VAE.forward, VAE.infer, VAE.generate, Objective.forward, Objective.parts)


class Memory:
    """Tensors of a step with batches of one size, used again at every step.

    Parameters
    ----------
    encoder, decoder : Chain or Net
        The two networks.
    like : Tensor
        A batch (b, *shape) in model units.
    sizes : (int, int)
        Number of samples k, and dimensions of a code d.
    weight : float
        Weight of the batch.
    """

    def __init__(
        self, encoder: Chain | Net, decoder: Chain | Net, like: Tensor, sizes: tuple[int, int], weight: float
    ):
        (k, d), b = sizes, len(like)
        self.encoder, self.decoder = encoder, decoder
        # These are the outputs of the networks themselves where they have that precision and order.
        self.features, self.output_rows = (
            like.new_empty(b, 2 * d) if output is None else output.to(like.dtype).contiguous()
            for output in (encoder.output, decoder.output)
        )
        self.shape = like.shape if k == 1 else (k, *like.shape)
        self.output = None if decoder.output is None else self.output_rows.view(self.shape)
        # With a dimension for the samples of each code, as in other steps.
        self.mean, self.raw = self.features[None].chunk(2, dim=-1)
        self.scale, self.inverse, self.nats = (torch.empty_like(self.mean) for _ in range(3))
        # Of several samples the densities are computed, and not in the precision of the products.
        self.codes = like.new_empty(k * b, d, dtype=decoder.dtype if k == 1 else like.dtype)
        self.z = self.codes.view(k, b, d)
        decoder.take_codes(self.codes)
        self.share = weight / b
        # Of (k, b, *shape): all dimensions of one example, and shares (k, b) beside it.
        self.event = tuple(range(2, like.ndim + 1))
        self.beside = (k, b, *(1 for _ in self.event))
        self.half_share = like.new_full((), 0.5 * self.share)
        self.minus_half = like.new_full((), -0.5)
        self._like = like.new_empty(0)

    def hold_features(self, features: Tensor) -> None:
        """Have the encoder's output in ``features``."""
        if self.features is not features:
            self.features.copy_(features)

    def hold_output(self, output: Tensor) -> Tensor:
        """Return the decoder's output in the shape of the examples."""
        if self.output is not None:
            if self.output_rows is not output:
                self.output_rows.copy_(output)
            return self.output
        output = output.to(self._like.dtype)
        return output if output.shape == self.shape else output.reshape(self.shape)

    @cached_property
    def by_output(self) -> Tensor:
        """Memory for the gradient by the decoder's output, in full precision and the shape of examples."""
        own = self.decoder.gradient
        same = own.dtype == self._like.dtype
        return own.view(self.shape) if same else self._like.new_empty(self.shape)

    @cached_property
    def _by_output_low(self) -> Tensor | None:
        own = self.decoder.gradient.view(self.shape)
        return None if own.dtype == self.by_output.dtype else own

    def hand_over(self) -> None:
        """Give the decoder the gradient by its output in the precision of that."""
        if self._by_output_low is not None:
            self._by_output_low.copy_(self.by_output)

    @cached_property
    def by_parameters(self) -> tuple[Tensor, Tensor]:
        """Memory for the gradients by the means and raw scales, each (1, b, d)."""
        by_mean, by_raw = self.encoder.gradient[None].chunk(2, dim=-1)
        return by_mean, by_raw


@dataclass(frozen=True)
class Direct:
    """Compute loss and gradients of a batch in one call.

    Parameters
    ----------
    vae : VAE
        A model that :meth:`of` has accepted.
    chains : Chains
        Chains of linear layers, with those of both networks.
    encoder, decoder : list of Layer or None
        The layers of the two networks, where they are chains.
    by : ByAutograd
        How other networks are called.
    samples : int
        Codes of each example, k.
    weighs : bool
        Whether the bound is the importance-weighted one, and not the ELBO.
    """

    vae: VAE
    chains: Chains
    encoder: list[Layer] | None
    decoder: list[Layer] | None
    by: ByAutograd
    samples: int
    weighs: bool

    @classmethod
    def of(cls, vae: VAE, objective: Objective, chains: Chains, by: ByAutograd) -> Direct | None:
        """Make one, or return None if model or objective differ from what is written out here."""
        plain = (
            type(vae) is VAE
            and vae.conditioning is None
            and type(vae.posterior) is DiagonalGaussianHead
            and vae.posterior.in_shape == (2 * vae.latent_dim,)
            and type(vae.prior) is StandardNormal
            and _is_plain_likelihood(vae.likelihood)
        )
        samples, weighs = objective.num_samples, objective.bound is iwae()
        simple = (
            type(objective) is Objective
            and (VAE.forward, VAE.infer, VAE.generate, Objective.forward, Objective.parts) == _PASSED_OVER
            and ((weighs and samples > 1) or (objective.bound is elbo and samples == 1))
            and not objective.penalties
        )
        if not (plain and simple and not any(map(is_modified, (*vae.modules(), *objective.modules())))):
            return None
        encoder, decoder = chains.layers.get(vae.encoder), chains.layers.get(vae.decoder)
        for network, layers in ((vae.encoder, encoder), (vae.decoder, decoder)):
            # What a network of one's own does with shapes is not known.
            own = not type(network).__module__.startswith("elboroom.networks")
            if own if layers is None else layers[-1].activation is not None:
                return None
        return cls(vae, chains, encoder, decoder, by, samples, weighs)

    @torch.no_grad()
    def __call__(self, x: Tensor, beta: Tensor, weight: float) -> Sums:
        """Add the gradients of ``weight`` · loss to those there are; x (b, *shape) in model units."""
        own, b = self._memory(x, weight), len(x)
        own.hold_features(own.encoder.forward(x))
        self._set_scale(own)
        noise = normal(len(own.z), *own.mean.shape[1:], batch_dim=1, like=own.mean)
        torch.addcmul(own.mean, own.scale, noise, out=own.z)
        output = own.hold_output(own.decoder.forward(own.codes))
        if self.weighs:
            return self._weighted(x, output, noise, beta, own)
        distortion = self._distortion(x, output, own)
        rate = _rate(own)
        own.hand_over()
        by_codes = own.decoder.backward(to_input=True)
        assert by_codes is not None
        by_mean, _ = own.by_parameters
        torch.addcmul(by_codes, own.mean, beta, value=own.share, out=by_mean)
        pull = torch.reciprocal(own.scale, out=own.inverse)
        torch.sub(own.scale, pull, out=pull)
        by_scale = torch.mul(by_codes, noise, out=own.nats).addcmul_(pull, beta, value=own.share)
        self._to_encoder(by_scale, own)
        return Sums(torch.addcmul(distortion, beta, rate).div_(b), distortion, rate)

    def _memory(self, x: Tensor, weight: float) -> Memory:
        """Memory for such a batch; the chains keep it, as a captured step outlives this object."""
        shapes = (
            None if layers is None else tuple(layer.weight.shape for layer in layers)
            for layers in (self.encoder, self.decoder)
        )
        key = (x.shape, x.dtype, weight, self.samples, *shapes)
        if key not in self.chains.memory:
            k, d, flat = self.samples, self.vae.latent_dim, self.chains.flat
            encoder, decoder = (
                Net(module, self.by, x.dtype) if layers is None else Chain(layers, flat, rows)
                for module, layers, rows in (
                    (self.vae.encoder, self.encoder, len(x)),
                    (self.vae.decoder, self.decoder, k * len(x)),
                )
            )
            self.chains.memory[key] = Memory(encoder, decoder, x, (k, d), weight)
        found: Memory = self.chains.memory[key]
        return found

    def _set_scale(self, own: Memory) -> None:
        head = self.vae.posterior
        if head.scale == "softplus":
            _aten.softplus.out(own.raw, out=own.scale)
        else:
            torch.mul(own.raw, 0.5, out=own.scale).exp_()
        own.scale.add_(head.min_scale)

    def _to_encoder(self, by_scale: Tensor, own: Memory) -> None:
        """Go on from the gradients by means, which are in place, and scales."""
        _, by_raw = own.by_parameters
        if self.vae.posterior.scale == "softplus":
            _aten.softplus_backward.grad_input(by_scale, own.raw, 1, 20, grad_input=by_raw)
        else:
            slope = own.scale.sub_(self.vae.posterior.min_scale).mul_(0.5)
            torch.mul(by_scale, slope, out=by_raw)
        own.encoder.backward(to_input=False)

    def _weighted(self, x: Tensor, output: Tensor, noise: Tensor, beta: Tensor, own: Memory) -> Sums:
        """The rest of a step on the importance-weighted bound of several samples."""
        k = len(own.z)
        nats = self._nats(x, output, own)
        # 2 (log p(z) − log q(z|x)) = Σ ε² − Σ z² + 2 Σ log σ.
        squares = torch.mul(noise, noise).addcmul_(own.z, own.z, value=-1).sum(-1)
        rate = _rate(own)  # with log σ in ``inverse``
        against = squares.add_(own.inverse.sum(-1), alpha=2)
        log_weights = torch.addcmul(nats, against, beta, value=-0.5).neg_()
        bound = torch.logsumexp(log_weights, 0).mean()
        shares = torch.softmax(log_weights, 0).mul_(own.half_share)
        distortion = nats.sum().div_(k)
        self._pull(x, output, shares.view(own.beside), own)
        own.hand_over()
        by_codes = own.decoder.backward(to_input=True)
        assert by_codes is not None
        pull = shares.mul_(beta)[..., None]
        by_z = torch.addcmul(by_codes.view(own.z.shape), own.z, pull, value=2)
        by_mean, _ = own.by_parameters
        if by_mean.dtype == by_z.dtype:
            torch.sum(by_z, 0, keepdim=True, out=by_mean)
        else:
            by_mean.copy_(by_z.sum(0, keepdim=True))
        by_scale = torch.sum(by_z.mul_(noise), 0, keepdim=True, out=own.nats)
        inverse = torch.reciprocal(own.scale, out=own.inverse)
        self._to_encoder(by_scale.addcmul_(inverse, beta, value=-own.share), own)
        return Sums(torch.rsub(bound, math.log(k)), distortion, rate)

    def _distortion(self, x: Tensor, output: Tensor, own: Memory) -> Tensor:
        """Return −log p(x|z), summed, and write its gradient by the decoder's output."""
        head, gradient = self.vae.likelihood, own.by_output
        if isinstance(head, BernoulliHead):
            nats = F.binary_cross_entropy_with_logits(output, x, reduction="sum")
            self._pull(x, output, own.half_share, own)
            return nats
        error = torch.sub(self._mean(output), x, out=gradient)
        nats = 0.5 * self._precision() * error.square().sum() + x.numel() * self._constant()
        self._pull(x, output, own.half_share, own)
        return nats

    def _nats(self, x: Tensor, output: Tensor, own: Memory) -> Tensor:
        """Return −log p(x|z), (k, b); a Gaussian leaves its errors where the gradient will be."""
        if isinstance(self.vae.likelihood, BernoulliHead):
            each = F.binary_cross_entropy_with_logits(output, x.expand_as(output), reduction="none")
            return each.sum(own.event)
        error = torch.sub(self._mean(output), x, out=own.by_output)
        return (
            error.square().sum(own.event).mul_(0.5 * self._precision()).add_(x[0].numel() * self._constant())
        )

    def _pull(self, x: Tensor, output: Tensor, half_shares: Tensor, own: Memory) -> None:
        """Write the gradient by the decoder's output, of nats that count by twice these shares."""
        head, gradient = self.vae.likelihood, own.by_output
        if isinstance(head, BernoulliHead):
            torch.sigmoid(output, out=gradient)
            # 2 (p − x) times half of the share, in one operation.
            _aten.mse_loss_backward.grad_input(half_shares, gradient, x, _SUM, grad_input=gradient)
            return
        gradient.mul_(half_shares * (2 * self._precision()))
        if head.mean == "sigmoid":
            mean = self._mean(output)
            gradient.mul_(mean * (1 - mean))

    def _mean(self, output: Tensor) -> Tensor:
        return torch.sigmoid(output) if self.vae.likelihood.mean == "sigmoid" else output

    def _precision(self) -> Tensor:
        found: Tensor = torch.exp(-2 * self.vae.likelihood.log_scale)
        return found

    def _constant(self) -> Tensor:
        found: Tensor = self.vae.likelihood.log_scale + 0.5 * _LOG_2PI
        return found


def _rate(own: Memory) -> Tensor:
    """KL divergence (m² + s² − 1) / 2 − log s, summed; leaves log s in ``inverse``."""
    nats = torch.addcmul(own.minus_half, own.mean, own.mean, value=0.5, out=own.nats)
    return nats.addcmul_(own.scale, own.scale, value=0.5).sub_(torch.log(own.scale, out=own.inverse)).sum()


def _is_plain_likelihood(head: nn.Module) -> bool:
    if type(head) is BernoulliHead:
        return head.family is Bernoulli
    return type(head) is GaussianHead and head.learn_scale == "none" and not any(head.parameters())
