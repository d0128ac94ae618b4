"""Hooks, replaced methods and frozen parameters act in fit as in a plain loop, on every path of a step."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.utils.checkpoint import checkpoint

from elboroom import VAE, Dataset, Objective, fit
from elboroom.config import Config
from elboroom.objectives import iwae
from elboroom.objectives.schedules import constant
from elboroom.training.order import epoch_order
from elboroom.training.step.optimizers import make_optimizer

# What torch says of a backward hook on a head, whose output is no tensor, and on a first layer.
pytestmark = [
    pytest.mark.filterwarnings("ignore:For backward hooks to be called"),
    pytest.mark.filterwarnings("ignore:Full backward hook is firing"),
]
CPU = torch.device("cpu")
BATCH, EPOCHS = 8, 2
Change = Callable[[VAE], Any]

# Which way the steps go, before anything is done to the model.
WAYS: dict[str, dict[str, Any]] = {
    "direct": {},
    "chains": {"objective": lambda: Objective(bound=iwae(), num_samples=2)},
    "autograd": {"model": {"normalization": "layer"}},
    "conv": {"model": {"network": "conv", "conv_width": 4, "conv_levels": 1}, "shape": (8, 8, 1)},
    "weight decay": {"options": {"optimizer": "AdamW", "optimizer_options": {"weight_decay": 0.1}}},
    "momentum": {"options": {"optimizer": "SGD", "optimizer_options": {"momentum": 0.9}}},
    "clip": {"options": {"clip": 0.5}},
    "not elementwise": {"options": {"optimizer": "Adafactor"}},
}


def data_of(shape: tuple[int, ...]) -> Dataset:
    x = np.random.default_rng(0).integers(0, 256, (24, *shape), dtype=np.uint8)
    return Dataset("images", x, split=np.zeros(24, np.uint8), scale=255, published_split=True)


def layers_of(vae: VAE) -> list[nn.Module]:
    """A first layer of the encoder and a last one of the decoder with weights."""
    encoder = [m for m in vae.encoder.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    decoder = [m for m in vae.decoder.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    return [encoder[0], decoder[-1]]


def weight_of(vae: VAE) -> nn.Parameter:
    weight = layers_of(vae)[1].weight
    assert isinstance(weight, nn.Parameter)
    return weight


def replace_forward(vae: VAE) -> None:
    layer = layers_of(vae)[1]
    own = layer.forward
    layer.forward = lambda x: 0.5 * own(x)  # type: ignore[method-assign]


def replace_generate(vae: VAE) -> None:
    own = vae.generate
    vae.generate = lambda z, condition=None: own(0.5 * z, condition)  # type: ignore[method-assign]


def stop_some(parameter: Tensor) -> None:
    assert parameter.grad is not None
    parameter.grad[0] = 0


def forget_gradient(parameter: Tensor) -> None:
    parameter.grad = None


def halved(gradients: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    return tuple(g if g is None else 0.5 * g for g in gradients)


CHANGES: dict[str, Change] = {
    "gradient hook": lambda vae: weight_of(vae).register_hook(torch.zeros_like),
    "post-accumulate hook": lambda vae: weight_of(vae).register_post_accumulate_grad_hook(stop_some),
    "gradient taken away": lambda vae: weight_of(vae).register_post_accumulate_grad_hook(forget_gradient),
    "forward hook": lambda vae: layers_of(vae)[1].register_forward_hook(lambda *a: 0.5 * a[2]),
    "forward pre-hook": lambda vae: layers_of(vae)[0].register_forward_pre_hook(lambda *a: (0.5 * a[1][0],)),
    "backward hook": lambda vae: layers_of(vae)[1].register_full_backward_hook(lambda *a: halved(a[1])),
    "backward pre-hook": lambda vae: layers_of(vae)[1].register_full_backward_pre_hook(
        lambda *a: halved(a[1])
    ),
    "hook of the network": lambda vae: vae.decoder.register_forward_hook(lambda *a: 0.5 * a[2]),
    "hook of an activation": lambda vae: next(
        m for m in vae.encoder.modules() if not any(m.children()) and not any(m.parameters())
    ).register_forward_hook(lambda *a: 0.5 * a[2]),
    "hook of a head": lambda vae: vae.posterior.register_forward_pre_hook(lambda *a: (0.5 * a[1][0],)),
    "global forward hook": lambda _: torch_module.register_module_forward_hook(
        lambda m, _, out: 0.5 * out if isinstance(m, nn.Linear | nn.Conv2d) else None
    ),
    "global backward hook": lambda _: torch_module.register_module_full_backward_pre_hook(
        lambda m, o: halved(o) if isinstance(m, nn.Linear | nn.Conv2d) else None
    ),
    "replaced forward": replace_forward,
    "replaced method": replace_generate,
    "frozen weight": lambda vae: weight_of(vae).requires_grad_(False),
    "frozen encoder": lambda vae: vae.encoder.requires_grad_(False),
    "frozen decoder": lambda vae: vae.decoder.requires_grad_(False),
}


def forget_global_hooks() -> None:
    for name in ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks"):
        getattr(torch_module, f"_global_{name}").clear()
    torch_module._global_is_full_backward_hook = None


# The optimiser's ways differ where a gradient is changed, is missing, or is not wanted.
_OPTIMISERS = ("weight decay", "momentum", "clip", "not elementwise")
_OF_GRADIENTS = ("gradient hook", "gradient taken away", "frozen weight", "frozen encoder", "frozen decoder")
CASES = [
    (way, change) for way in WAYS for change in CHANGES if way not in _OPTIMISERS or change in _OF_GRADIENTS
]


@pytest.fixture(autouse=True)
def _no_global_hooks() -> Iterator[None]:
    yield
    forget_global_hooks()


class Setting:
    """A way through the step: model, data, objective and options."""

    def __init__(self, way: str):
        spec = WAYS[way]
        self.data = data_of(spec.get("shape", (4, 3, 1)))
        torch.manual_seed(0)
        fields = {"latent_dim": 2} | spec.get("model", {})
        if "network" not in fields:
            fields["hidden"] = (8,)
        self.vae = VAE.build(shape=self.data.shape, **fields)
        self.objective: Callable[[], Objective] = spec.get("objective", Objective)
        self.options: dict[str, Any] = {
            "epochs": EPOCHS,
            "batch_size": BATCH,
            "lr": 1e-2,
            "precision": "fp32",
            "validation": 0.0,
        } | spec.get("options", {})

    def fit(self, on_epoch: Any = None, **options: Any) -> VAE:
        """Train the model itself, hooks and all: a copy would not have those of tensors."""
        vae = self.vae
        fit(
            vae,
            self.data,
            objective=self.objective(),
            on_epoch=on_epoch,
            quiet=True,
            **self.options | options,
        )
        return vae

    def plain_loop(self, before: Change | None = None, at: dict[int, Change] | None = None) -> VAE:
        """The same training, as one would write it with torch alone."""
        vae, objective = copy.deepcopy(self.vae), self.objective()
        config = Config().updated(**self.options)
        if before is not None:
            before(vae)
        optimizer = make_optimizer(vae.parameters(), config.optimizer, CPU)
        if isinstance(optimizer, torch.optim.SGD):  # fused, torch's fails if some have no momentum yet
            optimizer.param_groups[0]["fused"] = False
        coefficients = torch.tensor(objective.coefficients(0))
        torch.manual_seed(config.training.seed)
        for epoch in range(self.options["epochs"]):
            vae.train()
            for rows in epoch_order(self.data.indices("train"), config.training, epoch):
                x = torch.from_numpy(self.data.x[rows]).float() / 255
                optimizer.zero_grad()
                objective(vae(x, objective.num_samples), coefficients).backward()
                if config.optimizer.clip is not None:
                    nn.utils.clip_grad_norm_(vae.parameters(), config.optimizer.clip)
                optimizer.step()
            if at and epoch + 1 in at:
                at[epoch + 1](vae)
        return vae


@functools.cache
def untouched(way: str) -> VAE:
    """What a plain loop trains without a change."""
    return Setting(way).plain_loop()


def assert_same_weights(one: VAE, other: VAE) -> None:
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        # The same operations in another order: single precision over a few steps.
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


def same_weights(one: VAE, other: VAE) -> bool:
    return all(torch.allclose(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("way", WAYS)
def test_without_a_change_fit_is_a_plain_loop(way: str) -> None:
    setting = Setting(way)
    expected = setting.plain_loop()
    assert_same_weights(setting.fit(), expected)


@pytest.mark.parametrize(("way", "change"), CASES)
def test_what_is_done_before_training_acts(way: str, change: str) -> None:
    setting = Setting(way)
    unchanged, expected = untouched(way), setting.plain_loop(before=CHANGES[change])
    forget_global_hooks()
    CHANGES[change](setting.vae)
    vae = setting.fit()
    assert_same_weights(vae, expected)
    forget_global_hooks()
    assert not same_weights(vae, unchanged)


@pytest.mark.parametrize(("way", "change"), CASES)
def test_what_is_done_during_training_acts(way: str, change: str) -> None:
    setting = Setting(way)
    unchanged, expected = untouched(way), setting.plain_loop(at={1: CHANGES[change]})
    forget_global_hooks()

    def on_epoch(vae: VAE, row: dict[str, Any]) -> None:
        if row["epoch"] == 1:
            CHANGES[change](vae)

    vae = setting.fit(on_epoch)
    assert_same_weights(vae, expected)
    assert not same_weights(vae, unchanged)


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_network_of_ones_own_may_recompute_in_either_way(reentrant: bool) -> None:
    """Reentrant checkpoints refuse torch.autograd.grad."""

    class Recomputed(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            y = x.detach().requires_grad_()  # without which the reentrant kind computes no gradients
            found: Tensor = checkpoint(super().forward, y, use_reentrant=reentrant)
            return found

    learnt = []
    for kind in (nn.Sequential, Recomputed):
        setting = Setting("autograd")
        setting.vae.encoder = kind(*setting.vae.encoder.children())
        setting.fit()
        learnt.append(setting.vae.state_dict())
    for name, value in learnt[0].items():
        torch.testing.assert_close(learnt[1][name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("way", ["chains", "autograd", "conv"])
def test_other_tensors_gather_their_gradients(way: str) -> None:
    setting, own = Setting(way), torch.ones((), requires_grad=True)
    setting.objective = lambda: Objective(penalties={"own": (lambda _terms: 2 * own, constant(1.0))})
    setting.fit()
    steps = len(setting.data.indices("train")) // BATCH * EPOCHS
    assert own.grad == 2 * steps
