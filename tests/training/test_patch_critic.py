"""Options of the critic of patches: when it begins to learn, its width, and R1."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elboroom.config import Config
from elboroom.config.objective import ObjectiveConfig
from elboroom.data import Dataset
from elboroom.errors import UsageError
from elboroom.models.terms import Terms
from elboroom.models.vae import VAE
from elboroom.objectives import Objective
from elboroom.objectives.patch_critic import PatchCritic, largest_singular_value
from elboroom.objectives.recipes import recipe
from elboroom.training import fit
from elboroom.training.loop import Training
from elboroom.training.prepare import build

OPTIONS: dict[str, Any] = {
    **{"critic_start": 0.75, "critic_warmup": 0.25, "critic_r1": 0.5, "critic_width": 4},
    **{"critic_layers": 1, "critic_lr": 1e-3},
}


def model(shape: tuple[int, ...] = (16, 20, 3)) -> VAE:
    torch.manual_seed(0)
    return VAE.build(shape=shape, network="spatial", likelihood="gaussian", conv_width=4, conv_levels=1)


def passed(vae: VAE, k: int = 2, b: int = 3) -> Terms:
    torch.manual_seed(1)
    return vae(torch.rand(b, *vae.shape), k)


def critic_of(vae: VAE) -> PatchCritic:
    torch.manual_seed(3)
    return PatchCritic(vae.shape, vae.decoder, width=4)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data() -> Dataset:
    x = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    return Dataset("noise", x, np.zeros(60), scale=255)


def config_of(**more: Any) -> Config:
    small = {"conv_width": 4, "conv_levels": 1, "batch_size": 20, "epochs": 4, "validation": 0.2, "seed": 3}
    return recipe("tokenizer", Config(), **{**small, **OPTIONS, **more})


def test_r1_is_half_the_squared_gradient_at_real_images() -> None:
    vae = model((8, 12, 2))
    terms = passed(vae, 1, 3)
    plain = critic_of(vae)
    with_r1 = copy.deepcopy(plain)
    with_r1.r1 = 3.0
    with torch.no_grad():
        with_r1.network[0].weight.mul_(20)
        plain.load_state_dict(with_r1.state_dict())
    found = (with_r1.own_loss(terms) - plain.own_loss(terms)).item()

    exact = copy.deepcopy(with_r1.network).double()

    def total(x: Tensor) -> float:
        with torch.no_grad():
            logits: Tensor = exact(x.permute(0, 3, 1, 2))
        return logits.sum().item()

    x = terms.x.double()
    patches = with_r1.network(terms.x.permute(0, 3, 1, 2)).numel()
    slope = torch.zeros_like(x)
    for i in range(x.numel()):
        step = torch.zeros_like(x).flatten()
        step[i] = 1e-6
        step = step.reshape(x.shape)
        slope.view(-1)[i] = (total(x + step) - total(x - step)) / 2e-6
    assert found == pytest.approx(1.5 * float(slope.square().sum()) / patches, rel=1e-3)
    assert found > 1e-4


def test_r1_trains_the_critic_and_not_the_model() -> None:
    vae = model()
    critic, terms = critic_of(vae), passed(vae)
    critic.r1 = 1.0
    critic.own_loss(terms).backward()
    assert all(weight.grad is not None for weight in critic.parameters())
    assert all(weight.grad is None for weight in vae.parameters())
    with torch.no_grad():
        assert torch.isfinite(critic.own_loss(terms))


@pytest.mark.parametrize("examples", [3, 7, 11])
def test_while_no_patch_is_certain_the_last_bias_has_no_gradient(examples: int) -> None:
    """Its gradients −½ and ½ cancel exactly, in whatever number of pieces, so that Adam leaves it."""
    vae = model()
    critic, terms = critic_of(vae), passed(vae, 1, examples)
    critic.own_loss(terms).backward()
    bias = critic.network[-1].bias.grad
    assert bias is not None
    assert bias.item() == 0
    with torch.no_grad():
        critic.network[-1].bias += 1.7
        assert (critic.network(terms.x.permute(0, 3, 1, 2)) > 1).all()
    critic.zero_grad()
    critic.own_loss(terms).backward()
    assert critic.network[-1].bias.grad.item() == pytest.approx(0.5, abs=1e-6)


def test_layers_and_learning_rate_are_the_critics_own() -> None:
    """A patch of L layers of stride 2 and one of stride 1 is 10 · 2^(L − 1) − 2 pixels wide."""
    for layers in (1, 2):
        config = ObjectiveConfig(penalties={"patch_critic": 0.5}, critic_layers=layers, critic_lr=3e-4)
        vae = model((64, 64, 3))
        objective = Objective.from_config(config, 10, vae=vae, examples=50)
        critic = objective.penalties["patch_critic"]
        assert isinstance(critic, PatchCritic)
        assert critic.lr == 3e-4
        image = torch.zeros(1, 3, 64, 64, requires_grad=True)
        logits = critic.network(image)
        (slope,) = torch.autograd.grad(logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2], image)
        assert int((slope.abs().sum((0, 1, 2)) > 0).sum()) == 10 * 2 ** (layers - 1) - 2


def test_asleep_the_critic_neither_learns_nor_costs(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four epochs it sleeps for two, learns alone in the third, and counts in the last."""
    calls: list[str] = []
    own = PatchCritic.own_loss

    def counted(critic: PatchCritic, terms: Any) -> Tensor:
        calls.append("own")
        return own(critic, terms)

    monkeypatch.setattr(PatchCritic, "own_loss", counted)
    config = config_of()
    training = Training(build(config, data), data, config, quiet=True)
    critic = training.engine.objective.penalties["patch_critic"]
    assert isinstance(critic, PatchCritic)
    begun = copy.deepcopy(critic.state_dict())
    seen: list[tuple[int, bool]] = []
    take = training.engine.step

    def step(*args: Any, **kwargs: Any) -> None:
        take(*args, **kwargs)
        same = all(torch.equal(begun[name], now) for name, now in critic.state_dict().items())
        seen.append((len(calls), same))

    training.engine.step = step  # type: ignore[method-assign]
    training.run()
    steps = len(seen) // 4
    assert [same for _, same in seen] == [True] * 2 * steps + [False] * 2 * steps
    assert seen[2 * steps - 1][0] == 0
    history = training.record.history
    assert [row["loss_patch_critic"] == 0 for row in history] == [True, True, False, False]
    assert [row["penalty_patch_critic"] == 0 for row in history] == [True, True, False, False]


def test_while_it_sleeps_the_model_trains_as_with_one_that_is_awake(data: Dataset) -> None:
    """Until it counts, a critic does not change the model."""
    weights = []
    for more in ({}, {"critic_warmup": None}):
        config = config_of(**more, epochs=4)
        training = Training(build(config, data), data, config, quiet=True)
        kept: list[dict[str, Tensor]] = []
        take = training.engine.step

        def step(*args: Any, take: Any = take, training: Any = training, kept: Any = kept, **kw: Any) -> None:
            take(*args, **kw)
            kept.append({name: w.clone() for name, w in training.engine.vae.state_dict().items()})

        training.engine.step = step  # type: ignore[method-assign]
        training.run()
        weights.append(kept[len(kept) * 3 // 4 - 1])
    for name, weight in weights[0].items():
        assert torch.equal(weight, weights[1][name]), name


def test_two_hundred_steps_against_a_critic_in_bf16_stay_finite(data: Dataset) -> None:
    more = {"precision": "bf16", "critic_norm": "spectral", "lr": 2e-3, "batches_per_epoch": 50}
    config = config_of(**more, critic_start=0.25, critic_warmup=0.25)
    vae = build(config, data)
    history = fit(vae, data, config=config, quiet=True)
    assert history[-1]["step"] == 200
    assert all(np.isfinite(value) for row in history for value in row.values() if isinstance(value, float))
    assert not any("skipped_steps" in row or "recovered" in row for row in history)
    assert all(torch.isfinite(weight).all() for weight in vae.state_dict().values())
    assert history[-1]["distortion"] < history[0]["distortion"]


@pytest.mark.parametrize("more", [{}, {"critic_norm": "spectral", "precision": "bf16"}], ids=str)
def test_killed_in_each_phase_and_resumed_bit_for_bit(
    data: Dataset, tmp_path: Path, more: dict[str, Any]
) -> None:
    config = config_of(**more)
    whole = build(config, data)
    history = fit(whole, data, config=config, out=tmp_path / "whole", quiet=True)
    for stop in (1, 2, 3):
        out = tmp_path / str(stop)

        def halt(vae: Any, row: dict[str, Any], stop: int = stop) -> None:
            if row["epoch"] == stop:
                raise KeyboardInterrupt

        vae = build(config, data)
        with pytest.raises(KeyboardInterrupt):
            fit(vae, data, config=config, out=out, quiet=True, on_epoch=halt)
        resumed = build(config, data)
        again = fit(resumed, data, out=out, resume=True, quiet=True)
        for name, weight in whole.state_dict().items():
            assert torch.equal(weight, resumed.state_dict()[name]), (stop, name)
        columns = ("loss", "distortion", "loss_patch_critic", "penalty_patch_critic")
        assert [[row[c] for c in columns] for row in again] == [[row[c] for c in columns] for row in history]


def test_the_largest_singular_value_and_its_slope() -> None:
    """By numpy's decomposition; the slope is u vᵀ."""
    torch.manual_seed(5)
    for shape in ((1, 6, 3, 3), (32, 3, 4, 4), (64, 2, 2, 2)):
        weight = torch.randn(shape).requires_grad_()
        found = largest_singular_value(weight)
        (slope,) = torch.autograd.grad(found, weight)
        u, s, v = np.linalg.svd(weight.detach().flatten(1).double().numpy())
        assert found.item() == pytest.approx(s[0], rel=1e-5)
        np.testing.assert_allclose(slope.flatten(1).numpy(), np.outer(u[:, 0], v[0]), atol=1e-3)
    near = torch.diag(torch.tensor([2.0, 1.999, 1.0]))  # a mixture of two directions gives a mean of theirs
    assert 1.999 <= largest_singular_value(near).item() <= 2.0
    with torch.autocast("cpu", torch.bfloat16):
        assert largest_singular_value(weight) == found
    assert torch.isfinite(torch.zeros(2, 3) / largest_singular_value(torch.zeros(2, 3))).all()


def test_a_critic_of_spectral_norm_uses_weights_of_size_one() -> None:
    vae = model()
    torch.manual_seed(3)
    critic = PatchCritic(vae.shape, vae.decoder, width=4, spectral=True)  # type: ignore[arg-type]
    used = critic.weights()
    for name, weight in used.items():
        if weight.ndim > 1:
            assert np.linalg.svd(weight.detach().flatten(1).numpy())[1][0] == pytest.approx(1, rel=1e-4)
        else:
            assert weight is dict(critic.network.named_parameters())[name]
    plain = critic_of(vae)
    terms = passed(vae)
    plain.network.load_state_dict({name: weight.detach() for name, weight in used.items()})
    critic.r1 = plain.r1 = 2.0
    assert critic.own_loss(terms).item() == pytest.approx(plain.own_loss(terms).item(), rel=1e-6)
    assert critic(terms).item() == pytest.approx(plain(terms).item(), rel=1e-5)
    grey = torch.full((1, 3, 16, 20), 0.5)  # is in the middle of the first layer's outputs
    first = torch.nn.functional.conv2d(grey, used["0.weight"], used["0.bias"], stride=2)
    assert first.abs().max() < 1e-5
    with torch.no_grad():  # the weights' own size has no effect
        critic.network[0].weight *= 7
    assert critic.own_loss(terms).item() == pytest.approx(plain.own_loss(terms).item(), rel=1e-5)
    critic.own_loss(terms).backward()
    assert all(weight.grad is not None for weight in critic.parameters())
    assert all(weight.grad is None for weight in vae.parameters())


@pytest.mark.parametrize(("side", "most"), [(64, 5), (32, 4), (31, 3)])
def test_more_layers_than_an_image_has_places_for_are_refused(side: int, most: int) -> None:
    """The default becomes fewer for small images; what was asked for does not."""

    def critic(layers: int, side: int = side) -> Any:
        config = ObjectiveConfig(penalties={"patch_critic": 0.5}, critic_layers=layers)
        vae = model((side, 2 * side, 3))
        return Objective.from_config(config, 10, vae=vae, examples=50).penalties["patch_critic"]

    places = critic(most).network(torch.zeros(1, 3, side, 2 * side)).shape[2:]
    assert min(places) in (2, 3)
    with pytest.raises(
        UsageError, match=rf"critic_layers = {most + 1} leaves .* {side}×{2 * side}; take at most {most}$"
    ):
        critic(most + 1)
    assert min(critic(3, 8).network(torch.zeros(1, 3, 8, 16)).shape[2:]) == 2


def test_what_has_no_effect_is_refused() -> None:
    with pytest.raises(UsageError, match=r"critic_r1 = 0\.1 has no effect without patch_critic"):
        ObjectiveConfig(critic_r1=0.1)
    with pytest.raises(UsageError, match=r"critic_norm = 'spectral' has no effect without patch_critic"):
        ObjectiveConfig(critic_norm="spectral")
    with pytest.raises(UsageError, match=r"critic_width = 8 has no effect without patch_critic"):
        ObjectiveConfig(critic_width=8, penalties={"prior_critic": 1.0})
    with pytest.raises(UsageError, match=r"critic_layers = 2 has no effect without patch_critic"):
        ObjectiveConfig(critic_layers=2)
    with pytest.raises(UsageError, match=r"critic_lr = 0\.001 has no effect without patch_critic"):
        ObjectiveConfig(critic_lr=1e-3, penalties={"texture": 1.0})
    with pytest.raises(UsageError, match=r"critic_warmup = 0.6 lies before critic_start = 0.5"):
        ObjectiveConfig(critic_start=0.5, critic_warmup=0.6, penalties={"patch_critic": 1.0})
    with pytest.raises(UsageError, match="give critic_wakes_epochs"):
        Objective.from_config(
            ObjectiveConfig(
                critic_start=0.5, critic_start_epochs=2, critic_warmup=0.1, penalties={"patch_critic": 1.0}
            ),
            10,
            vae=model(),
            examples=9,
        )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_decoder_of_linear_layers_trains_as_one_that_autograd_differentiates(
    data: Dataset, precision: str
) -> None:
    """The engine writes gradients of such layers itself, which the adaptive weight must not meet."""

    def trained(hooked: bool) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
        more = {"network": "mlp", "hidden": (8,), "decoder_hidden": (8,), "precision": precision}
        config = recipe("vae-gan", Config(), **{**more, "batch_size": 20, "epochs": 3, "seed": 3, **OPTIONS})
        vae = build(config, data)
        if hooked:
            vae.decoder.register_forward_hook(lambda *_: None)
        history = fit(vae, data, config=config, quiet=True)
        return dict(vae.state_dict()), history

    (one, losses), (other, others) = trained(False), trained(True)
    assert losses[-1]["loss"] == pytest.approx(others[-1]["loss"], rel=1e-5)
    assert losses[-1]["loss_patch_critic"] == pytest.approx(others[-1]["loss_patch_critic"], rel=1e-4)
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-5)
