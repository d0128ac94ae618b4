"""Posteriors refined for each example: the encoder's parameters improved by gradient steps on its ELBO."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from elboroom.models.vae import VAE

_LR = 0.1
_DRAWS_A_STEP = 8


def can_refine(vae: VAE) -> bool:
    """Whether a model has posteriors to refine: one stochastic layer, whose codes have a density."""
    makes = getattr(vae.posterior, "makes", None)
    return len(vae.layers) == 1 and bool(getattr(makes, "stochastic", True))


def encoded(vae: VAE, x: Tensor, condition: Tensor | None) -> tuple[Any, Tensor]:
    """Return q(z|x) of a batch, and the encoder's outputs that parametrise it."""
    seen: list[Tensor] = []
    handle = vae.posterior.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    try:
        q = vae.infer(x, condition)
    finally:
        handle.remove()
    return q, seen[-1] if seen else x.new_empty(0)


def refine(vae: VAE, x: Tensor, condition: Tensor | None, features: Tensor, steps: int) -> Tensor:
    """Improve the parameters of the posterior of each example by Adam on its ELBO (arXiv:1801.03558 §2.2).

    The learning rate falls to 0 by half a cosine. Adam treats each number by itself and the loss is a sum, so
    an example's result does not depend on the others, if they share the noise.

    Parameters
    ----------
    vae : VAE
        At rest, with one stochastic layer; its weights and gradients are left as they are.
    x : Tensor
        Examples (b, *shape) in model units.
    condition : Tensor, optional
        (b, C), of a conditional model.
    features : Tensor
        Where to start: the encoder's outputs, (b, *in_shape); see `encoded`.
    steps : int
        Gradient steps.

    Returns
    -------
    Tensor
        Refined outputs; ``vae.posterior`` makes a posterior of them.
    """
    c = vae.condition_vectors(condition, len(x))
    prior = vae.prior_given(c)
    with torch.enable_grad():
        now = features.detach().clone().requires_grad_()
        optimizer = torch.optim.Adam([now], lr=_LR)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = _LR * 0.5 * (1 + math.cos(math.pi * step / steps))
            q: Any = vae.posterior(now)
            z, log_q = q.rsample_and_log_prob(_DRAWS_A_STEP)
            if hasattr(q, "log_prob"):  # along the path of z alone, which has no variance at the optimum
                log_q = q.detached().log_prob(z)  # (arXiv:1703.09194)
            loss = (log_q - prior.log_prob(z) - vae.generate(z, c).log_prob(x)).mean(0)
            (now.grad,) = torch.autograd.grad(loss.sum(), now)
            optimizer.step()
    return now.detach()
