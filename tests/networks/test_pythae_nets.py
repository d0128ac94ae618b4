"""Networks in Pythae's convention: what goes in and comes out, and Pythae's own loss on the same weights."""

from __future__ import annotations

import copy
import importlib.util
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from elboroom.data import load_data
from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.networks.pythae_nets import PythaeDecoder, PythaeEncoder
from elboroom.probability import (
    BernoulliHead,
    Deterministic,
    DeterministicHead,
    DiagonalGaussianHead,
    GaussianHead,
    StandardNormal,
)
from elboroom.training import fit

needs_pythae = pytest.mark.skipif(not importlib.util.find_spec("pythae"), reason="pythae is not installed")
SHAPE = (4, 6, 3)


class Encoder(nn.Module):
    """As a Pythae user writes one, for pictures (b, 3, 4, 6); ``view`` wants contiguous memory."""

    def __init__(self, kind: type = SimpleNamespace):
        super().__init__()
        self.kind = kind
        self.mean, self.log_variance = nn.Linear(72, 2), nn.Linear(72, 2)

    def forward(self, x: Tensor) -> Any:
        assert x.shape[1:] == (3, 4, 6)
        rows = x.view(len(x), -1)
        return self.kind(embedding=self.mean(rows), log_covariance=self.log_variance(rows))


class Decoder(nn.Module):
    """Its last layer is a sigmoid, and so is one in its middle, as in Pythae's for CelebA."""

    def __init__(self, after: nn.Module | None = None):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 9), nn.Sigmoid(), nn.Linear(9, 72), nn.Sigmoid())
        self.after = after or nn.Identity()

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"reconstruction": self.after(self.layers(z)).reshape(len(z), 3, 4, 6)}


class FunctionalDecoder(nn.Module):
    """One whose sigmoid is no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 72)

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        return {"reconstruction": torch.sigmoid(self.linear(z)).reshape(len(z), 3, 4, 6)}


def compose(encoder: nn.Module, decoder: nn.Module, loss: str, shape: tuple[int, ...], d: int) -> VAE:
    bce = loss == "bce"
    return VAE(
        PythaeEncoder(encoder),
        PythaeDecoder(decoder, logits=bce),
        StandardNormal(d),
        shape=shape,
        scale=16.0,
        posterior=DiagonalGaussianHead(d, scale="exp", min_scale=0.0),
        likelihood=BernoulliHead(shape) if bce else GaussianHead(shape, scale=1.0),
    )


@pytest.mark.parametrize("kind", [SimpleNamespace, dict])
def test_encoder_gives_means_then_log_variances_of_pictures_channels_first(kind: type) -> None:
    net = Encoder(kind)
    x = torch.rand(5, *SHAPE)
    features = PythaeEncoder(net)(x)
    rows = torch.from_numpy(np.moveaxis(x.numpy(), 3, 1).reshape(5, -1).copy())
    assert torch.equal(features, torch.cat([net.mean(rows), net.log_variance(rows)], -1))
    q = DiagonalGaussianHead(2, scale="exp", min_scale=0.0)(features)
    # exp(½ raw)² and exp(raw) differ by float32's rounding.
    torch.testing.assert_close(q.variance, net.log_variance(rows).exp(), rtol=1e-6, atol=0.0)


def test_rows_go_through_as_they_are() -> None:
    encoder = PythaeEncoder(nn.Identity(), outputs=("embedding",))
    encoder.encoder.forward = lambda x: {"embedding": x}  # type: ignore[method-assign]
    x = torch.rand(5, 7)
    assert torch.equal(encoder(x), x)
    decoder = PythaeDecoder(nn.Identity(), logits=False)
    decoder.decoder.forward = lambda z: {"reconstruction": z}  # type: ignore[method-assign]
    assert torch.equal(decoder(x), x)


def test_named_outputs_suit_other_posteriors() -> None:
    features = PythaeEncoder(Encoder(), outputs=["embedding"])(torch.rand(5, *SHAPE))
    q = DeterministicHead(2)(features)
    assert isinstance(q, Deterministic)
    assert q.mean.shape == (5, 2)


def test_decoder_gives_pictures_channels_last() -> None:
    net = Decoder()
    z = torch.randn(5, 2)
    means = PythaeDecoder(net, logits=False)(z)
    expected = np.moveaxis(net(z)["reconstruction"].detach().numpy(), 1, 3)
    assert np.array_equal(means.detach().numpy(), expected)


@pytest.mark.parametrize("net", [Decoder(), FunctionalDecoder(), Decoder(nn.Threshold(0.4, 0.4))])
def test_logits_are_those_of_the_reconstruction(net: nn.Module) -> None:
    """Of a last sigmoid layer, of none, and of one whose output is changed afterwards."""
    adapter, z = PythaeDecoder(net, logits=True), torch.randn(5, 2)
    for _ in range(2):  # the first pass looks, the others know
        probabilities = torch.sigmoid(adapter(z))
        # Through a logit and back: a few roundings of float32.
        torch.testing.assert_close(probabilities, PythaeDecoder(net, logits=False)(z), rtol=1e-6, atol=1e-7)
    assert torch.equal(adapter(z[:0]), torch.empty(0, *SHAPE))


def test_saturated_logits_keep_their_size_and_gradient() -> None:
    net = Decoder()
    adapter = PythaeDecoder(net, logits=True)
    with torch.no_grad():
        net.layers[2].bias.fill_(200.0)
    z = torch.zeros(1, 2, requires_grad=True)
    black = BernoulliHead(SHAPE)(adapter(z)).log_prob(torch.zeros(1, *SHAPE))
    (expected,) = net.layers[:3](z)
    # −log(1 − σ(ℓ)) is ℓ for ℓ far above 17, where 1 − σ(ℓ) is 0 in float32.
    torch.testing.assert_close(-black[0], expected.sum(), rtol=1e-6, atol=0.0)
    (gradient,) = torch.autograd.grad(black.sum(), net.layers[2].bias)
    assert torch.equal(gradient, torch.full((72,), -1.0))


def test_without_a_sigmoid_layer_logits_are_cut_off_and_finite() -> None:
    net = FunctionalDecoder()
    with torch.no_grad():
        net.linear.bias.fill_(200.0)
    logits = PythaeDecoder(net, logits=True)(torch.zeros(1, 2))
    # log((1 − ε)/ε) of float32's ε = 2⁻²³.
    torch.testing.assert_close(logits, torch.full_like(logits, 23 * math.log(2)), rtol=1e-6, atol=0.0)


def test_logits_of_coarse_probabilities_are_refused() -> None:
    adapter = PythaeDecoder(FunctionalDecoder().bfloat16(), logits=True)
    with pytest.raises(UsageError, match=r"FunctionalDecoder gives probabilities in bfloat16.*fp32"):
        adapter(torch.zeros(1, 2, dtype=torch.bfloat16))
    exact = PythaeDecoder(Decoder().bfloat16(), logits=True)
    assert exact(torch.zeros(1, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_the_nets_stay_the_users() -> None:
    net = Decoder()
    z = torch.randn(3, 2)
    before, names = net(z)["reconstruction"], list(net.state_dict())
    adapter = PythaeDecoder(net, logits=True)
    adapter(z)
    assert torch.equal(net(z)["reconstruction"], before)
    assert list(net.state_dict()) == names
    copied = copy.deepcopy(adapter)  # a layer of its own to listen to
    with torch.no_grad():
        net.layers[2].bias.add_(1.0)
    torch.testing.assert_close(copied(z) + 1, adapter(z))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"embedding": torch.zeros(5, 2)}, r"Stub gives no 'log_covariance': its output has embedding; in"),
        (torch.zeros(5, 2), r"no 'embedding': its output is a Tensor"),
        (
            {"embedding": torch.zeros(5, 2, 1), "log_covariance": torch.zeros(5, 2)},
            r"gives embedding of shape \(5, 2, 1\) for 5 examples; it must give a row for each, \(5, d\)",
        ),
    ],
)
def test_other_outputs_of_an_encoder_are_refused(output: Any, message: str) -> None:
    class Stub(nn.Module):
        def forward(self, _x: Tensor) -> Any:
            return output

    with pytest.raises(UsageError, match=message):
        PythaeEncoder(Stub())(torch.zeros(5, *SHAPE))
    with pytest.raises(UsageError, match="Stub gives no 'reconstruction'"):
        PythaeDecoder(Stub(), logits=False)(torch.zeros(5, 2))


@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_training_reaches_the_weights_of_nets_in_the_convention(loss: str) -> None:
    x = np.random.default_rng(0).integers(0, 17, (60, *SHAPE), dtype=np.uint8) // 4 * 4
    encoder, decoder = Encoder(), Decoder()
    before = [p.detach().clone() for p in (*encoder.parameters(), *decoder.parameters())]
    vae = compose(encoder, decoder, loss, SHAPE, 2)
    history = fit(vae, x, epochs=8, batch_size=20, lr=1e-2, quiet=True, pixel_scale=16)
    assert history[-1]["loss"] < history[0]["loss"]
    after = [*encoder.parameters(), *decoder.parameters()]
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_training_step_hears_the_logits_in_either_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs chains of layers in a way of its own, which would pass a layer's hooks by."""
    heard: list[Tensor | None] = []
    logits_of = PythaeDecoder._logits_of

    def record(adapter: PythaeDecoder, reconstruction: Tensor, logits: Tensor | None) -> Tensor:
        heard.append(logits)
        return logits_of(adapter, reconstruction, logits)

    monkeypatch.setattr(PythaeDecoder, "_logits_of", record)
    x = np.random.default_rng(0).random((20, *SHAPE), dtype=np.float32)
    for precision in ("fp32", "bf16"):
        vae = compose(Encoder(), Decoder(), "bce", SHAPE, 2)
        fit(vae, x, epochs=1, batch_size=10, validation=0.0, precision=precision, quiet=True)
    assert len(heard) >= 4
    assert all(logits is not None for logits in heard)


def pythae_loss(encoder: nn.Module, decoder: nn.Module, loss: str, x: Tensor) -> Tensor:
    """Loss of Pythae's VAE with these nets, on pictures (b, h, w, c)."""
    from pythae import models

    _, h, w, c = x.shape
    config = models.VAEConfig(input_dim=(c, h, w), latent_dim=3, reconstruction_loss=loss)
    model = models.VAE(config, encoder, decoder)
    return model({"data": x.permute(0, 3, 1, 2).contiguous()}).loss


@needs_pythae
@pytest.mark.parametrize("loss", ["mse", "bce"])
def test_a_net_of_pythae_trains_unchanged_and_has_pythaes_loss(loss: str) -> None:
    from pythae.models import VAEConfig
    from pythae.models.nn.default_architectures import Decoder_AE_MLP, Encoder_VAE_MLP

    config = VAEConfig(input_dim=(1, 8, 8), latent_dim=3)
    encoder, decoder = Encoder_VAE_MLP(config), Decoder_AE_MLP(config)
    vae = compose(encoder, decoder, loss, (8, 8, 1), 3)
    data = load_data("digits")
    x = vae.as_input(data.x[:200])
    constant = 0.0 if loss == "bce" else 32 * math.log(2 * math.pi)  # D/2 · log 2π, D = 64

    def assert_same_loss() -> None:
        found = []
        for of in ("pythae", "elboroom"):
            torch.manual_seed(1)
            if of == "pythae":
                value = pythae_loss(encoder, decoder, loss, x)
            else:
                terms = vae(x)
                value = (terms.distortion + terms.rate).mean() - constant
            gradients = torch.autograd.grad(value, [*encoder.parameters(), *decoder.parameters()])
            found.append((value, gradients))
        # Sums of 64 pixels in float32, in another order: 64 · 6e-8 of a loss of the size of the constant, 59.
        torch.testing.assert_close(found[0][0], found[1][0], rtol=4e-6, atol=2e-4)
        for ours, theirs in zip(found[1][1], found[0][1], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)

    assert_same_loss()
    history = fit(vae, data, epochs=3, quiet=True)
    assert history[-1]["val_elbo"] > history[0]["val_elbo"]
    assert_same_loss()


@needs_pythae
def test_every_decoder_of_pythae_ends_in_the_sigmoid_that_is_listened_to() -> None:
    from pythae.models import VAEConfig
    from pythae.models.nn.benchmarks import celeba, cifar, mnist

    nets = [
        (celeba.Decoder_Conv_AE_CELEBA, (3, 64, 64)),
        (celeba.Decoder_ResNet_AE_CELEBA, (3, 64, 64)),
        (cifar.Decoder_Conv_AE_CIFAR, (3, 32, 32)),
        (cifar.Decoder_ResNet_AE_CIFAR, (3, 32, 32)),
        (mnist.Decoder_Conv_AE_MNIST, (1, 28, 28)),
        (mnist.Decoder_ResNet_AE_MNIST, (1, 28, 28)),
    ]
    for net, (c, h, w) in nets:
        adapter = PythaeDecoder(net(VAEConfig(input_dim=(c, h, w), latent_dim=3)).eval(), logits=True)
        with torch.no_grad():
            assert adapter(torch.randn(1, 3)).shape == (1, h, w, c)
        assert adapter._ends_in_sigmoid, net
