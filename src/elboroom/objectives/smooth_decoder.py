"""Ways to keep a decoder smooth where no noise does so: the regularisers of arXiv:1903.12436 (RAE)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from elboroom.distributed.noise import uniform
from elboroom.errors import UsageError
from elboroom.models.terms import Terms


def weight_decay(module: nn.Module) -> Callable[[Terms], Tensor]:
    """Penalty ½‖θ‖² over a module's weight matrices and kernels; biases and norms are free (RAE-L2).

    In the loss and not in the optimiser: the sum that the paper writes is then what any optimiser
    minimises, its weight can be scheduled, and the encoder is left out. (AdamW's decay is another thing: it
    does not go through Adam's scaling.)

    Parameters
    ----------
    module : nn.Module
        Such as ``vae.decoder``. It is looked at, not owned: its weights remain the model's.

    Raises
    ------
    UsageError
        If it has no matrices.
    """

    def matrices() -> list[Tensor]:
        return [weight for weight in module.parameters() if weight.ndim > 1]

    if not matrices():
        raise UsageError(
            f"weight_decay of {type(module).__name__}, which has no weight matrices; give a decoder"
        )
    return lambda _terms: 0.5 * torch.stack([weight.square().sum() for weight in matrices()]).sum()


def jacobian_norm(terms: Terms) -> Tensor:
    """‖∂x̂/∂z‖²_F, mean over codes, of the decoder's mean picture x̂ at the codes drawn (RAE-GP).

    By ‖Jᵀv‖² for one random sign vector v a code, which is ‖J‖² in mean (Hutchinson); the whole Jacobian
    would take as many backward passes as there are pixels. The codes are decoded once more for it, and its
    gradient goes through that pass's own backward pass: the decoder must be twice differentiable.
    """
    training = torch.is_grad_enabled()
    with torch.enable_grad():  # in evaluation there is no graph yet
        z = terms.z if terms.z.requires_grad else terms.z.detach().requires_grad_()
        picture = terms.generate(z).mean
        uniforms = uniform(*picture.shape, batch_dim=1, like=picture)
        signs = torch.where(uniforms < 0.5, -1.0, 1.0).to(picture)
        (slopes,) = torch.autograd.grad(picture, z, signs, create_graph=training)
    return slopes.square().sum(-1).mean()
