"""A critic of image patches, against which a decoder learns to draw detail (arXiv:2012.09841 §3.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from elboroom.distributed.noise import mean_over_batch
from elboroom.models.terms import Terms

_MOST = 1e4  # times that the critic's gradient is enlarged at most, for a distortion averaged over numbers
_LEAST = 1e-6  # that is added to its norm
_SLOPE = 0.2
_CENTRE, _SPREAD = 0.5, 0.25  # of pixels, about
_SQUARINGS = 9  # of power iterations
_TINY = 1e-30  # least divisor, for weights that are all zero
_FIRST_GUESS = 0.2  # size of a new critic's logits, about


def most_layers(shape: Sequence[int]) -> int:
    """Layers of stride 2 that leave at least two places along each side of images (h, w, c); at least one.

    Examples
    --------
    >>> most_layers((32, 48, 3)), most_layers((5, 5, 1))
    (4, 1)
    """
    return max(1, min(shape[:2]).bit_length() - 2)


class PatchCritic(nn.Module):
    """A convolutional classifier of overlapping patches: real ones, or reconstructed ones.

    The model's penalty is −E[logit] of its reconstructions, and the critic minimises the hinge loss
    E[max(0, 1 − real)] / 2 + E[max(0, 1 + reconstructed)] / 2. The penalty is scaled so that its gradient at
    the decoder's last layer is as long as that of the distortion (arXiv:2012.09841 eq. 7): its weight is then
    a share of the distortion's, whatever the size of the images and the likelihood.

    Parameters
    ----------
    shape : tuple of int
        Shape of the images, (h, w, c).
    decoder : nn.Module
        The model's, whose last layer makes the pixels.
    width : int
        Channels of the first layer; they double at each further one.
    layers : int
        Layers of stride 2: three see patches of 38×38 pixels. There are fewer for images of which they would
        leave less than two places along a side.
    r1 : float
        Weight γ of (γ/2) · mean over patches of ‖∂logit/∂x‖² at real images x in the critic's own loss
        (arXiv:1801.04406 eq. 9); the gradients of patches that overlap are added first.
    spectral : bool
        Whether each weight matrix is divided by its largest singular value, which bounds the critic's slope
        (arXiv:1802.05957 eq. 8).
    lr, betas
        Settings of the critic's own Adam.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        decoder: nn.Module,
        *,
        width: int = 32,
        layers: int = 3,
        r1: float = 0.0,
        spectral: bool = False,
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.5, 0.9),
    ):
        super().__init__()
        *_, channels = shape
        layers = min(layers, most_layers(shape))
        widths = [channels, *(width * 2**i for i in range(layers))]
        steps: list[nn.Module] = []
        for before, after in pairwise(widths):
            steps += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(_SLOPE)]
        self.network = nn.Sequential(*steps, nn.Conv2d(widths[-1], 1, 3, padding=1))
        _begin(self.network)
        if spectral:  # the first bias centres images for weights as they are used
            first = self.network[0]
            assert isinstance(first, nn.Conv2d)
            assert first.bias is not None
            first.bias.data /= largest_singular_value(first.weight.detach())
        self.most = _MOST * math.prod(shape)
        self.decoder = [decoder]  # in a list, so that its weights are not the critic's
        self.r1 = r1
        self.spectral = spectral
        self.lr = lr
        self.betas = betas

    def forward(self, terms: Terms) -> Tensor:
        """Compute the penalty of the model; its gradient reaches the decoder but not the critic."""
        images = _grids(terms.likelihood.mean)
        with torch.no_grad():
            fixed = {name: weight.detach() for name, weight in self.weights().items()}
        logits: Tensor = functional_call(self.network, fixed, (images,))
        penalty = -logits.mean()
        return self._scale(terms.distortion.mean(), penalty) * penalty

    def own_loss(self, terms: Terms) -> Tensor:
        """Compute the critic's loss: the hinge, which is 1 while it cannot tell the two apart, and R1."""
        with torch.no_grad():
            drawn = _grids(terms.likelihood.mean.detach())
            real = _grids(terms.x[None])
        weights = self.weights()
        logits = self._logits(torch.cat([real, drawn]), weights)
        of_real, of_drawn = logits[: len(real)], logits[len(real) :]
        loss = 0.5 * (F.relu(1 - of_real).mean() + F.relu(1 + of_drawn).mean())
        return loss + 0.5 * self.r1 * self._slope_at(real, weights) if self.r1 else loss

    def weights(self) -> dict[str, Tensor]:
        """Weights and biases of the network by name, as they are used."""
        own: dict[str, Tensor] = dict(self.network.named_parameters())
        if not self.spectral:
            return own
        return {
            name: weight / largest_singular_value(weight) if weight.ndim > 1 else weight
            for name, weight in own.items()
        }

    def _logits(self, images: Tensor, weights: dict[str, Tensor]) -> Tensor:
        """Logits whose last bias has an exact gradient.

        The hinge's gradients ±1/n cancel at that bias as long as no patch is certain. In float32 a rounding
        would remain, which Adam turns into whole steps; it differs with the number of processes.
        """
        last = self.network[-1]
        assert isinstance(last, nn.Conv2d)
        *before, of_last, bias = weights
        inner = functional_call(self.network[:-1], {name: weights[name] for name in before}, (images,))
        raw = F.conv2d(inner, weights[of_last], padding=last.padding)
        exact = raw.dtype if raw.device.type == "mps" else torch.float64
        return (raw.to(exact) + weights[bias].to(exact)[:, None, None]).to(raw.dtype)

    def _slope_at(self, real: Tensor, weights: dict[str, Tensor]) -> Tensor:
        """Squared gradient of the logits at real images, mean over patches."""
        with torch.enable_grad():  # validation runs without a graph
            at = real.detach().requires_grad_()
            logits: Tensor = functional_call(self.network, weights, (at,))
            (slope,) = torch.autograd.grad(logits.sum(), at, create_graph=True)
        return slope.square().sum() / logits.numel()

    @property
    def differentiated(self) -> tuple[nn.Parameter]:
        """The weight of the model's last layer, at which the two gradients are compared."""
        return (last_weight(self.decoder[0]),)

    def _scale(self, distortion: Tensor, penalty: Tensor) -> Tensor:
        """How much longer the distortion's gradient at the last layer is than the penalty's."""
        if not (torch.is_grad_enabled() and penalty.requires_grad and distortion.requires_grad):
            return penalty.new_ones(())
        (last,) = self.differentiated
        (wanted,) = torch.autograd.grad(distortion, last, retain_graph=True)
        (own,) = torch.autograd.grad(penalty, last, retain_graph=True)
        wanted, own = mean_over_batch(wanted), mean_over_batch(own)
        return (wanted.norm() / (own.norm() + _LEAST)).clamp(max=self.most).detach()

    def extra_repr(self) -> str:
        """Shown by ``print(objective)``."""
        return f"lr={self.lr:g}, betas={self.betas}"


def _begin(network: nn.Sequential) -> None:
    """Draw weights that keep the size of signals from layer to layer (arXiv:1502.01852), but for the last.

    Logits of pictures are then within ±1 for nearly all patches, where the hinge has its slope. With
    PyTorch's own weights signals shrink at each layer, and hundreds of steps pass before the critic tells
    anything apart, while the scaling of the penalty makes a force of its guesses.
    """
    convolutions = [layer for layer in network if isinstance(layer, nn.Conv2d)]
    for layer in convolutions:
        nn.init.kaiming_normal_(layer.weight, _SLOPE)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
    first = convolutions[0]
    assert first.bias is not None
    with torch.no_grad():
        convolutions[-1].weight *= _FIRST_GUESS
        first.weight /= _SPREAD
        first.bias -= _CENTRE * first.weight.sum((1, 2, 3))


def largest_singular_value(weight: Tensor) -> Tensor:
    """Largest singular value of a convolution's weight as a matrix (out, in · kernel), a scalar.

    It is a function of the weight alone, so that nothing is kept between steps: power iterations by squaring
    the smaller product of the matrix with its transpose nine times stand for 512 of one vector. What mixture
    of leading directions remains gives a mean of their values; the slope is that of the direction.
    """
    with torch.autocast(weight.device.type, enabled=False):
        matrix = weight.flatten(1).to(torch.promote_types(weight.dtype, torch.float32))
        if matrix.shape[0] > matrix.shape[1]:
            matrix = matrix.T
        with torch.no_grad():
            power = matrix @ matrix.T
            for _ in range(_SQUARINGS):
                power = power / power.diagonal().sum().clamp_min(_TINY)
                power = power @ power
            power = power / power.diagonal().sum().clamp_min(_TINY)
        return ((power @ matrix) * matrix).sum().clamp_min(_TINY).sqrt()


def last_weight(decoder: nn.Module) -> nn.Parameter:
    """Return the weight of a network's last layer, whose outputs are the pixels."""
    return [weight for weight in decoder.parameters() if weight.ndim > 1][-1]


def _grids(images: Tensor) -> Tensor:
    """Images (k, b, h, w, c) as (k·b, c, h, w)."""
    return images.flatten(0, 1).permute(0, 3, 1, 2)
