"""Freezing and thawing: what the optimiser, the average, checkpoints and several processes make of it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from elboroom import VAE, Objective, fit
from elboroom.config import Config
from elboroom.data import Dataset, load_data
from elboroom.distributed.processes import Workers
from elboroom.errors import UsageError
from elboroom.objectives import prior_critic, recipe
from elboroom.objectives.schedules import constant
from elboroom.training.callbacks import Callbacks
from elboroom.training.loop import Training
from elboroom.training.prepare import build as prepared
from elboroom.training.step.interventions import Watch

from .runs import assert_identical, build, checkpoint, images, timeless, train
from .test_direct import engine_of
from .test_interventions import Setting, assert_same_weights


def at(epoch: int, change: Any) -> Any:
    """Make an ``on_epoch`` that changes the model after one epoch."""

    def on_epoch(vae: VAE, row: dict[str, Any]) -> None:
        if row["epoch"] == epoch:
            change(vae)

    return on_epoch


def freeze(vae: VAE) -> None:
    vae.decoder.requires_grad_(False)


def thaw(vae: VAE) -> None:
    vae.decoder.requires_grad_(True)


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "Adam": {},
    "AdamW": {"optimizer_options": {"weight_decay": 0.1}},
    "SGD": {"optimizer_options": {"momentum": 0.9, "weight_decay": 0.1}},
    "NAdam": {},
    "Adagrad": {},
    "RMSprop": {},
    "ASGD": {},
    "Adafactor": {},
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("first", ["frozen", "trained"])
def test_a_thawed_network_goes_on_where_it_was(optimizer: str, first: str) -> None:
    setting = Setting("direct")
    setting.options |= {"optimizer": optimizer, "epochs": 4, **OPTIMIZERS[optimizer]}
    if first == "frozen":
        before, changes = freeze, {2: thaw}
    else:
        before, changes = None, {1: freeze, 3: thaw}
    expected = setting.plain_loop(before, changes)
    if before is not None:
        before(setting.vae)

    def on_epoch(vae: VAE, row: dict[str, Any]) -> None:
        if row["epoch"] in changes:
            changes[row["epoch"]](vae)

    assert_same_weights(setting.fit(on_epoch), expected)


def test_the_average_follows() -> None:
    setting = Setting("direct")
    start = copy.deepcopy(setting.vae)
    setting.options |= {"ema": 0.9, "epochs": 3}
    freeze(setting.vae)
    vae = setting.fit(at(1, thaw))
    frozen = Setting("direct")
    frozen.options |= {"ema": 0.9, "epochs": 3}
    freeze(frozen.vae)
    still = frozen.fit()
    decoders = (each.decoder.parameters() for each in (vae, still, start))
    for a, b, c in zip(*decoders, strict=True):
        # The average of equal numbers, rounded at each step.
        torch.testing.assert_close(b, c)
        assert not torch.allclose(a, c)


def test_low_precision_keeps_frozen_weights_and_calls_hooks() -> None:
    vae = build(hidden=(16,))
    seen: list[torch.dtype] = []
    before = [p.detach().clone() for p in vae.decoder.parameters()]
    hook = vae.encoder[1].weight.register_hook(lambda g: seen.append(g.dtype))

    def on_epoch(vae: VAE, row: dict[str, Any]) -> None:
        {1: lambda: vae.decoder.requires_grad_(False), 2: hook.remove, 3: lambda: None}[row["epoch"]]()
        if row["epoch"] == 1:
            before[:] = [p.detach().clone() for p in vae.decoder.parameters()]

    train(vae, None, 3, precision="bf16", on_epoch=on_epoch, validation=0.0)
    assert len(seen) == 2 * 7
    assert set(seen) == {torch.float32}
    assert all(torch.equal(a, b) for a, b in zip(before, vae.decoder.parameters(), strict=True))


def test_the_cut_adam_hands_over_to_the_whole_one() -> None:
    engine = engine_of({"hidden": [16]}, precision="bf16")
    assert engine.update.keeps_copies
    rows = torch.arange(8)
    engine.step(rows)
    weight = engine.vae.decoder[0].weight
    hook = weight.register_hook(torch.zeros_like)
    engine.step(rows)
    assert not engine.update.keeps_copies
    assert engine.paths.direct is not None
    assert engine.paths.direct.decoder is None  # no chain: autograd calls the hook
    assert engine.update.flat.gradient(weight).eq(0).all()
    assert engine.update.flat.gradient(weight).dtype == torch.float32
    hook.remove()
    engine.follow_model()  # as at the start of each epoch
    assert engine.update.keeps_copies
    assert engine.paths.direct is not None
    engine.step(rows)
    state = engine.update.optimizer.state_dict()["state"][0]
    assert state["step"] == 3


def test_a_frozen_critic_stays_as_it_is() -> None:
    critic = prior_critic(2, hidden=(4,))
    start = [p.detach().clone() for p in critic.parameters()]
    objective = Objective(penalties={"prior": (critic, constant(1.0))})
    after: list[list[torch.Tensor]] = []

    def on_epoch(_: VAE, row: dict[str, Any]) -> None:
        after.append([p.detach().clone() for p in critic.parameters()])
        critic.requires_grad_(row["epoch"] == 2)

    train(build(), None, 3, objective=objective, on_epoch=on_epoch)
    first, second, third = (torch.cat([p.flatten() for p in found]) for found in after)
    assert not torch.equal(first, torch.cat([p.flatten() for p in start]))
    assert torch.equal(first, second)
    assert not torch.equal(second, third)


@pytest.mark.parametrize("validation", [0.0, 0.2])
def test_a_run_frozen_in_on_epoch_resumes_bit_for_bit(tmp_path: Path, validation: float) -> None:
    options = {"validation": validation}
    train(build(), tmp_path / "whole", 4, on_epoch=at(2, freeze), **options)
    for stop in (2, 3):
        path = tmp_path / f"halves{stop}"
        train(build(), path, stop, on_epoch=at(2, freeze), **options)
        resumed = build()
        train(resumed, path, 4, on_epoch=at(2, freeze), resume=True)
        assert not any(p.requires_grad for p in resumed.decoder.parameters())
        assert_identical(timeless(checkpoint(tmp_path / "whole")), timeless(checkpoint(path)), f"{stop}")


def test_a_run_thawed_in_on_epoch_resumes_bit_for_bit(tmp_path: Path) -> None:
    def frozen() -> VAE:
        vae = build()
        freeze(vae)
        return vae

    train(frozen(), tmp_path / "whole", 4, on_epoch=at(2, thaw))
    for stop, model in ((1, build), (1, frozen), (2, build), (3, frozen)):
        path = tmp_path / f"halves{stop}{model.__name__}"
        train(frozen(), path, stop, on_epoch=at(2, thaw))
        if stop == 3 and model is frozen:
            with pytest.raises(UsageError, match=r"decoder.0.weight, .* trained in .* and frozen here"):
                train(model(), path, 4, on_epoch=at(2, thaw), resume=True)
            continue
        train(model(), path, 4, on_epoch=at(2, thaw), resume=True)
        assert_identical(timeless(checkpoint(tmp_path / "whole")), timeless(checkpoint(path)), f"{stop}")


def test_nothing_to_train_is_refused() -> None:
    vae = build().requires_grad_(False)
    with pytest.raises(UsageError, match="all parameters are frozen"):
        train(vae, None, 1)
    with pytest.raises(UsageError, match="all parameters are frozen"):
        train(build(), None, 2, on_epoch=at(1, lambda vae: vae.requires_grad_(False)))


def test_other_parameters_are_refused_and_other_data_taken() -> None:
    def replace(vae: VAE) -> None:
        vae.decoder[0] = nn.Linear(2, 8)

    def parametrize(vae: VAE) -> None:
        nn.utils.parametrizations.weight_norm(vae.decoder[0])

    for change in (replace, parametrize):
        with pytest.raises(UsageError, match=r"parameters were replaced during training \(decoder.0"):
            train(build(), None, 2, on_epoch=at(1, change))

    def reshape(vae: VAE) -> None:
        vae.decoder[0].weight.data = torch.zeros(3, 2)

    with pytest.raises(UsageError, match=r"is now torch.float32 \(3, 2\)"):
        train(build(), None, 2, on_epoch=at(1, reshape))

    setting = Setting("direct")

    def reset(vae: VAE) -> None:
        vae.decoder[0].weight.data = torch.full_like(vae.decoder[0].weight, 0.1)

    expected = setting.plain_loop(at={1: reset})
    assert_same_weights(setting.fit(at(1, reset)), expected)


def test_a_hook_within_an_epoch_acts_from_the_next_step_on() -> None:
    engine = engine_of({}, precision="fp32")
    weight = engine.vae.encoder[1].weight
    engine.step(torch.arange(8))
    seen: list[float] = []
    weight.register_hook(lambda g: seen.append(g.norm().item()))
    engine.step(torch.arange(8))
    assert len(seen) == 1
    # The hook sees the gradient itself.
    assert engine.update.flat.gradient(weight).norm().item() == pytest.approx(seen[0])


def test_hooks_of_the_objective_are_called() -> None:
    objective = Objective()
    objective.register_forward_hook(lambda *a: 0 * a[2])
    vae = build()
    (row,) = fit(vae, images(), objective=objective, epochs=1, batch_size=8, quiet=True)
    assert row["loss"] == 0


def test_parametrizations_are_trained_as_in_a_plain_loop() -> None:
    setting = Setting("direct")

    def parametrize(vae: VAE) -> None:
        nn.utils.parametrizations.weight_norm(vae.decoder[0])

    expected = setting.plain_loop(parametrize)
    parametrize(setting.vae)
    assert_same_weights(setting.fit(), expected)


def test_watch_ignores_what_it_does_not_pass_over() -> None:
    layer, other = nn.Linear(2, 2), nn.Linear(2, 2)
    watch = Watch([layer], [layer.weight, layer.bias], [*layer.parameters(), *other.parameters()])
    other.register_forward_hook(lambda *_: None)
    other.weight.register_hook(lambda _: None)
    assert not watch.is_disturbed()
    other.bias.requires_grad_(False)
    assert watch.is_disturbed()


def test_hooks_that_only_the_first_process_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(build(), load_data(images()), Config().updated(batch_size=8), quiet=True)
    monkeypatch.setattr(Workers, "alone", property(lambda _: False))
    training.workers.size = 2
    training.record.note_random()
    Callbacks(training.storage, lambda *_: None).after_epoch({"epoch": 1})
    hooked = Callbacks(training.storage, lambda vae, _: vae.register_forward_hook(lambda *_: None))
    with pytest.raises(UsageError, match="in the first of 2 processes only"):
        hooked.after_epoch({"epoch": 1})


def test_a_divided_optimiser_cannot_follow() -> None:
    update = engine_of({}).update
    update._shards = object()  # type: ignore[assignment]
    with pytest.raises(UsageError, match="shard_optimizer divides"):
        update.treat_separately()


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_frozen_encoder_gives_the_same_codes_while_decoder_and_critic_train(
    tmp_path: Path, ema: float | None
) -> None:
    """Bit for bit, of codes on a grid, with a running average and a critic that begins to count."""
    x = np.random.default_rng(0).integers(0, 256, (60, 8, 12, 3), dtype=np.uint8)
    data = Dataset("noise", x, np.zeros(60, np.uint8), scale=255)
    fields = {"conv_width": 4, "conv_levels": 1, "batch_size": 20, "epochs": 2, "validation": 0.0}
    critic = {"critic_start": 0.5, "critic_width": 4}
    config = recipe("tokenizer", Config(), **fields, **critic, freeze="encoder", ema=ema, lr=0.01)
    vae = prepared(config, data)
    before, decoder = vae.encode(x).mean.clone(), copy.deepcopy(vae.decoder.state_dict())
    history = fit(vae, data, config=config, out=tmp_path / "run", quiet=True)
    assert torch.equal(vae.encode(x).mean, before)
    assert not torch.equal(vae.decoder.state_dict()["level1.pixels.weight"], decoder["level1.pixels.weight"])
    assert history[-1]["loss_patch_critic"] != history[0]["loss_patch_critic"]
    again = prepared(config, data)
    fit(again, data, out=tmp_path / "run", resume=True, epochs=3, quiet=True)
    assert torch.equal(again.encode(x).mean, before)
