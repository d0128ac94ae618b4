"""Evaluating a model leaves nothing behind in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elboroom.models.vae import VAE

from .known import assert_equal
from .uses import each_use, small


def traces(vae: VAE) -> dict[str, Any]:
    """All of a model's state that an evaluation could disturb."""
    return {
        "modes": {name: module.training for name, module in vae.named_modules()},
        "requires_grad": {name: p.requires_grad for name, p in vae.named_parameters()},
        "grad": {name: None if p.grad is None else p.grad.tolist() for name, p in vae.named_parameters()},
        "weights": {name: t.tolist() for name, t in vae.state_dict().items()},
        "grad_enabled": torch.is_grad_enabled(),
    }


def with_mixed_modes() -> VAE:
    """A model in training, with a part frozen, a part in evaluation mode, and gradients pending."""
    vae = small(normalization="batch")
    vae.encoder.eval()
    vae.encoder[2].train()
    vae.decoder[1].eval()
    vae.decoder[0].weight.requires_grad_(False)
    vae.decoder[-2].bias.grad = torch.ones(15)
    return vae


@each_use
@pytest.mark.parametrize("make", [with_mixed_modes, lambda: small(normalization="batch").eval()])
def test_evaluation_leaves_no_trace(use: Callable[..., Tensor], make: Callable[[], VAE]) -> None:
    vae, x = make(), torch.rand(4, 5, 3, 1, requires_grad=True)
    before = traces(vae)
    assert not use(vae, x).requires_grad
    assert x.grad is None
    assert traces(vae) == before


@each_use
def test_evaluation_that_fails_inside_leaves_no_trace(use: Callable[..., Tensor]) -> None:
    class Broken(nn.Module):
        def forward(self, _: Tensor) -> Tensor:
            raise RuntimeError("out of memory")

    vae, x = with_mixed_modes(), torch.rand(4, 5, 3, 1)
    vae.encoder.append(Broken())
    vae.decoder.append(Broken())
    before = traces(vae)
    with pytest.raises(RuntimeError, match="out of memory"):
        use(vae, x)
    assert traces(vae) == before


@each_use
def test_evaluation_works_where_batch_statistics_would_not(use: Callable[..., Tensor]) -> None:
    """Batch normalisation refuses a batch of one in training mode; evaluation mode has no such batch."""
    vae = small(normalization="batch").train()
    x = torch.rand(2, 5, 3, 1)
    torch.manual_seed(1)
    training = use(vae, x)
    torch.manual_seed(1)
    assert_equal(training, use(vae.eval(), x))


def test_the_halves_for_objectives_do_keep_gradients_and_modes() -> None:
    vae, x = small(normalization="batch").train(), torch.rand(4, 5, 3, 1)
    assert vae.infer(x).mean.requires_grad
    assert vae.generate(torch.randn(4, 3)).mean.requires_grad
    assert vae.encoder[2].num_batches_tracked == 1
