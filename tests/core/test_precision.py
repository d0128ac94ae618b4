"""bfloat16 products in the networks, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elboroom import VAE
from elboroom.errors import UsageError

# bfloat16 has 8 bits: each product's inputs are off by up to 2⁻⁹ of themselves, so a result of a few layers
# by a few times that, of the size of what was added up.
_CLOSE = {"rtol": 0.03, "atol": 0.03}


def build(**fields: Any) -> VAE:
    torch.manual_seed(0)
    sizes = {} if fields.get("network") == "ladder" else {"latent_dim": 3}
    sizes |= {} if "network" in fields else {"hidden": [32]}
    vae = VAE.build(shape=(8, 8, 1), **sizes, **fields)
    with torch.no_grad():  # a new ladder gives all the same code
        for parameter in vae.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return vae


def images(n: int) -> Tensor:
    return torch.rand(n, 8, 8, 1, generator=torch.Generator().manual_seed(1))


def outputs_of(net: nn.Module) -> list[Tensor]:
    found: list[Tensor] = []
    net.register_forward_hook(lambda _module, _inputs, output: found.append(output))
    return found


@pytest.mark.parametrize("fields", [{}, {"network": "conv"}, {"network": "ladder"}, {"posterior": "iaf"}])
def test_bf16_is_close_to_fp32_and_another(fields: dict[str, Any]) -> None:
    vae, x = build(**fields), images(20)
    codes, low = vae.embed(x), vae.embed(x, precision="bf16")
    assert low.dtype == torch.float32
    assert not torch.equal(codes, low)
    torch.testing.assert_close(low, codes, **_CLOSE)
    values = []
    for precision in ("fp32", "bf16"):
        torch.manual_seed(2)
        values.append(vae.nll(x, num_samples=20, precision=precision).value)
    assert not torch.equal(*values)
    # About 45 nats each, off by no more than a few of 64 pixels' logits are.
    torch.testing.assert_close(values[1], values[0], rtol=0.005, atol=0)


def test_products_are_low_and_densities_are_not() -> None:
    vae, x = build(posterior="full"), images(4)
    features, pictures = outputs_of(vae.encoder), outputs_of(vae.decoder)
    with vae.lowered():
        torch.manual_seed(3)
        terms = vae(x, 2)
    assert features[0].dtype == pictures[0].dtype == torch.bfloat16
    # What the head does with the same features in float32, to the last bit: its products are not lowered.
    torch.manual_seed(3)
    expected, _ = vae.posterior(features[0].float()).rsample_and_log_prob(2)
    assert torch.equal(terms.z, expected)
    assert terms.rate.dtype == terms.distortion.dtype == torch.float32


def test_it_ends_and_leaves_autocast_to_the_user() -> None:
    vae, x = build(), images(4)
    features = outputs_of(vae.encoder)
    with pytest.raises(RuntimeError, match="stopped"), vae.lowered():
        raise RuntimeError("stopped")
    vae.embed(x)
    assert features[-1].dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        vae.embed(x)
    assert features[-1].dtype == torch.bfloat16


def test_gradients_arrive_through_lowered_networks() -> None:
    vae = build(network="conv")
    with vae.lowered():
        terms = vae(images(4), 1)
    (terms.distortion + terms.rate).mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in vae.parameters())


def test_other_precisions_are_refused() -> None:
    with pytest.raises(UsageError, match="precision = 'fp16': must be 'fp32' or 'bf16'"):
        build().nll(images(2), 3, precision="fp16")  # type: ignore[arg-type]
