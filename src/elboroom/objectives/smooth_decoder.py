"""Regularisers that keep the decoder of a deterministic autoencoder smooth (RAE, arXiv:1903.12436)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from elboroom.distributed.noise import uniform
from elboroom.errors import UsageError
from elboroom.models.terms import Terms


def weight_decay(module: nn.Module) -> Callable[[Terms], Tensor]:
    """Penalty ½‖θ‖² over a module's weight matrices and kernels, without biases and norms (RAE-L2).

    It is part of the loss and not of the optimiser, so that every optimiser minimises the paper's sum, its
    weight can be scheduled, and the encoder is unaffected. The weight decay of AdamW differs: it is not
    scaled by Adam's second moments.

    Parameters
    ----------
    module : nn.Module
        Such as ``vae.decoder``; the penalty reads its weights and does not own them.

    Raises
    ------
    UsageError
        If it has no weight matrices.
    """

    def matrices() -> list[Tensor]:
        return [weight for weight in module.parameters() if weight.ndim > 1]

    if not matrices():
        raise UsageError(f"weight_decay: {type(module).__name__} has no weight matrices; give a decoder")
    return lambda _terms: 0.5 * torch.stack([weight.square().sum() for weight in matrices()]).sum()


def jacobian_norm(terms: Terms) -> Tensor:
    """‖∂x̂/∂z‖²_F of the decoder's mean x̂ at the sampled codes, mean over codes (RAE-GP).

    Estimated by ‖Jᵀv‖² with one random sign vector v per code, whose expectation is ‖J‖² (Hutchinson); the
    full Jacobian would need a backward pass per pixel. The codes are decoded once more, and the gradient of
    the penalty differentiates through a backward pass, so the decoder must be twice differentiable.
    """
    training = torch.is_grad_enabled()
    with torch.enable_grad():  # evaluation runs without a graph
        z = terms.z if terms.z.requires_grad else terms.z.detach().requires_grad_()
        image = terms.generate(z).mean
        uniforms = uniform(*image.shape, batch_dim=1, like=image)
        signs = torch.where(uniforms < 0.5, -1.0, 1.0).to(image)
        (slopes,) = torch.autograd.grad(image, z, signs, create_graph=training)
    return slopes.square().sum(-1).mean()
