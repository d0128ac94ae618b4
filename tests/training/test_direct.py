"""The step that does without autograd gives the loss and the gradients of the one that does not."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch

from elboroom import VAE, Dataset, Objective
from elboroom.config import Config
from elboroom.data.batches import Batches
from elboroom.distributed.processes import Part
from elboroom.objectives import iwae, miwae, schedules
from elboroom.training.step.chains import run
from elboroom.training.step.chunked import ChunkedAdam
from elboroom.training.step.engine import Engine
from elboroom.training.step.optimizers import is_plain_adam
from elboroom.training.step.room import Layer, can_fuse

CPU = torch.device("cpu")
MODELS: dict[str, dict[str, Any]] = {
    "bernoulli": {},
    "gaussian": {"likelihood": "gaussian"},
    "pictures": {"likelihood": "gaussian", "output": "sigmoid", "likelihood_scale": 0.3},
    "log-variance": {"posterior_scale": "exp"},
    "deep": {"hidden": [9, 7, 5], "activation": "tanh", "latent_dim": 3},
    "affine": {"hidden": []},
    "normalisation": {"normalization": "layer"},
    "convolutions": {"network": "conv", "conv_width": 4, "hidden": None},
    "convolutions, gaussian": {"network": "conv", "conv_width": 4, "hidden": None, "likelihood": "gaussian"},
}
WEIGHTED: dict[str, Any] = {"bound": iwae(), "num_samples": 3}
OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "learned scale": ({"likelihood": "gaussian", "learn_scale": "shared"}, {}),
    "continuous": ({"likelihood": "continuous_bernoulli"}, {}),
    "posterior": ({"posterior": "full"}, {}),
    "prior": ({"prior": "mixture"}, {}),
    "bound": ({}, {"bound": miwae(2), "num_samples": 2}),
    "one weighted sample": ({}, {"bound": iwae()}),
    "samples": ({}, {"num_samples": 2}),
    "penalty": ({}, {"penalties": {"p": (lambda terms: terms.z.sum(), schedules.constant(1.0))}}),
}


def engine_of(model: dict[str, Any], objective: dict[str, Any] | None = None, **options: Any) -> Engine:
    x = np.random.default_rng(0).integers(0, 256, (24, 4, 3, 1), dtype=np.uint8)
    data = Dataset("images", x, split=np.zeros(24, np.uint8), scale=255)
    torch.manual_seed(0)
    fields = {"latent_dim": 2, "hidden": [8]} | model
    vae = VAE.build(shape=data.shape, **{key: value for key, value in fields.items() if value is not None})
    config = Config().updated(epochs=1, batch_size=8, **options)
    return Engine(vae, Objective(**{"beta": 0.7} | (objective or {})), Batches(data, CPU), config, CPU)


def gradients(engine: Engine, part: Part) -> tuple[list[float], torch.Tensor]:
    """Sums of a batch, and the gradients it leaves."""
    torch.manual_seed(1)
    engine._set_coefficients(0)
    engine.refresh()
    engine.update.begin()
    sums = engine.backward(torch.arange(8), part)
    engine.update.flat.collect()
    return [value.item() for value in sums], engine.update.flat.gradients[0].float().clone()


@pytest.mark.parametrize("objective", [{}, WEIGHTED], ids=["elbo", "weighted"])
@pytest.mark.parametrize("weight", [1.0, 0.25])
@pytest.mark.parametrize("name", MODELS)
def test_losses_and_gradients_are_autograds(name: str, weight: float, objective: dict[str, Any]) -> None:
    engine = engine_of(MODELS[name], objective, precision="fp32")
    assert engine.paths.direct is not None
    part = Part(0, 8, 8, weight)
    sums, gradient = gradients(engine, part)
    engine.paths.direct = None
    expected_sums, expected = gradients(engine, part)
    # The same operations in another order, in single precision.
    assert sums == pytest.approx(expected_sums, rel=1e-5)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
    assert expected.abs().max() > 1e-3


@pytest.mark.parametrize("objective", [{}, WEIGHTED], ids=["elbo", "weighted"])
@pytest.mark.parametrize("name", ["bernoulli", "convolutions"])
def test_in_low_precision_too(name: str, objective: dict[str, Any]) -> None:
    engine = engine_of(MODELS[name], objective, precision="bf16")
    assert engine.paths.direct is not None
    part = Part(0, 8, 8, 1.0)
    sums, gradient = gradients(engine, part)
    engine.paths.direct = None
    expected_sums, expected = gradients(engine, part)
    # bfloat16 keeps 8 bits; where it rounds differs between the two.
    assert sums == pytest.approx(expected_sums, rel=1e-2)
    torch.testing.assert_close(gradient, expected, rtol=0.05, atol=0.02)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_batch_leaves_nothing_behind_in_the_memory_of_the_next(precision: str) -> None:
    engine, fresh = (engine_of({"hidden": [8, 6]}, precision=precision) for _ in range(2))
    part = Part(0, 8, 8, 1.0)
    weight = engine.vae.encoder[1].weight
    kept = weight.detach().clone()
    weight.data.fill_(torch.nan)
    sums, gradient = gradients(engine, part)
    assert np.isnan(sums[0])
    assert gradient.isnan().any()
    weight.data.copy_(kept)
    sums, gradient = gradients(engine, part)
    expected_sums, expected = gradients(fresh, part)
    assert sums == expected_sums
    assert torch.equal(gradient, expected)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", [name for name in MODELS if name[:4] not in ("norm", "conv")])
def test_products_of_few_rows_are_the_same(
    name: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = gradients(engine_of(MODELS[name], precision=precision), Part(0, 8, 8, 1.0))
    monkeypatch.setattr("elboroom.training.step.room._LARGE", 8)
    monkeypatch.setattr("elboroom.training.step.room.across_pays", lambda *_: True)
    engine = engine_of(MODELS[name], precision=precision)
    sums, gradient = gradients(engine, Part(0, 8, 8, 1.0))
    (memory,) = engine.paths._chains.memory.values()
    assert memory.decoder._room.across[-1] is not None
    tolerance = 1e-5 if precision == "fp32" else 1e-2
    assert sums == pytest.approx(usual[0], rel=tolerance)
    torch.testing.assert_close(gradient, usual[1], rtol=10 * tolerance, atol=tolerance)


@pytest.mark.parametrize("sizes", [(784, 1000), (1000, 4), (2, 100), (33, 7)])
@pytest.mark.skipif(not can_fuse(torch.ones(1, dtype=torch.bfloat16)), reason="needs oneDNN with bfloat16")
def test_a_fused_layer_has_the_bits_of_the_other_and_keeps_nan(sizes: tuple[int, int]) -> None:
    torch.manual_seed(0)
    own = torch.nn.Linear(*sizes)
    weight, bias = own.weight.detach().bfloat16(), own.bias.detach().bfloat16()
    x = torch.randn(12, sizes[0], dtype=torch.bfloat16)
    x[3] = torch.nan
    fused, other = (
        run([Layer(own, weight, weight.t(), bias, torch.nn.ReLU, is_fused=way)], x)[0]
        for way in (True, False)
    )
    assert other[3].isnan().all()
    assert other[4].count_nonzero() not in (0, sizes[1])
    assert torch.equal(fused.nan_to_num(-1.0), other.nan_to_num(-1.0))


@pytest.mark.parametrize("name", OTHERS)
def test_whatever_else_there_is_goes_through_autograd(name: str) -> None:
    model, objective = OTHERS[name]
    assert engine_of(model, objective, precision="fp32").paths.direct is None


def test_a_hook_and_a_network_of_ones_own_go_through_autograd() -> None:
    engine = engine_of({})
    vae = engine.vae
    vae.decoder.register_forward_hook(lambda *_: None)
    assert Engine(vae, Objective(), engine.batches, Config(), CPU).paths.direct is None
    own = engine_of({})
    own.vae.encoder = torch.nn.Sequential(*own.vae.encoder)
    assert Engine(own.vae, Objective(), own.batches, Config(), CPU).paths.direct is not None  # a chain
    own.vae.encoder = torch.nn.Sequential(*own.vae.encoder, torch.nn.Identity())
    assert Engine(own.vae, Objective(), own.batches, Config(), CPU).paths.direct is None


@pytest.mark.parametrize("network", ["encoder", "decoder"])
@pytest.mark.parametrize("name", ["bernoulli", "convolutions"])
def test_what_is_frozen_has_no_gradient_and_the_rest_that_of_autograd(name: str, network: str) -> None:
    engine = engine_of(MODELS[name], precision="fp32")
    part = Part(0, 8, 8, 1.0)
    getattr(engine.vae, network).requires_grad_(False)
    engine.follow_model()
    assert engine.paths.direct is not None
    sums, gradient = gradients(engine, part)
    engine.paths.direct = None
    expected_sums, expected = gradients(engine, part)
    assert sums == pytest.approx(expected_sums, rel=1e-5)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
    for parameter in getattr(engine.vae, network).parameters():
        assert engine.update.flat.gradient(parameter).eq(0).all()


def test_hooks_on_the_gradients_of_a_convolution_are_called() -> None:
    engine = engine_of(MODELS["convolutions"], precision="fp32")
    weight = next(p for p in engine.vae.decoder.parameters() if p.ndim == 4)
    seen: list[torch.Tensor] = []
    weight.register_hook(lambda g: seen.append(g) or torch.zeros_like(g))
    engine.follow_model()
    gradients(engine, Part(0, 8, 8, 1.0))
    assert len(seen) == 1
    assert engine.update.flat.gradient(weight).eq(0).all()
    handle = weight.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad))
    engine.follow_model()
    gradients(engine, Part(0, 8, 8, 1.0))
    assert len(seen) == 3
    handle.remove()


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_adam_in_pieces_is_adam(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elboroom.training.step.chunked._CHUNK", 24)
    torch.manual_seed(0)
    start, kind = torch.randn(100), getattr(torch.optim, name)
    whole, pieces = (torch.nn.Parameter(start.clone()) for _ in range(2))
    one, other = (kind([p], lr=0.1, weight_decay=0.01, fused=True) for p in (whole, pieces))
    low, shadow = torch.zeros(100, dtype=torch.bfloat16), torch.zeros(100, dtype=torch.bfloat16)
    chunked = ChunkedAdam(other, low, shadow)
    for step in range(4):
        low.copy_(torch.randn(100))
        whole.grad = low.float()
        if step == 2:  # as after loading a checkpoint
            other.load_state_dict(deepcopy(one.state_dict()))
        one.step()
        chunked.step()
        assert torch.equal(whole, pieces)
        assert torch.equal(shadow, pieces.detach().bfloat16())
    assert one.state_dict()["state"][0]["step"] == other.state_dict()["state"][0]["step"] == 4


def test_only_a_plain_fused_adam_is_cut() -> None:
    p = torch.nn.Parameter(torch.zeros(3))
    assert is_plain_adam(torch.optim.Adam([p], fused=True))
    assert not is_plain_adam(torch.optim.Adam([p]))
    assert not is_plain_adam(torch.optim.Adam([p], amsgrad=True, fused=True))
    assert not is_plain_adam(torch.optim.SGD([p], lr=0.1))
