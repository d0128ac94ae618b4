"""The whole step compiled: the numbers of ordinary steps, and ordinary steps wherever it does not fit.

Most tests run the traced graph as it is, which takes no compiler. ``make compiled`` runs those that compile.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from elboroom import VAE, Dataset, Objective, fit
from elboroom.config import Config
from elboroom.data.columns import from_columns
from elboroom.objectives.recipes import recipe
from elboroom.training import Stopped
from elboroom.training.loop import Training
from elboroom.training.prepare import build as build_for
from elboroom.training.step import compilable, compiled
from elboroom.training.step.engine import Engine
from elboroom.training.step.tracing import uncollected
from elboroom.training.step.whole import WholeStep

from .runs import after_step, assert_identical, assert_same_run, build, checkpoint, images, train

needs_compiler = pytest.mark.skipif(
    not os.environ.get("ELBOROOM_COMPILED") or shutil.which("g++") is None,
    reason="compiling takes a minute: make compiled",
)
pytestmark = pytest.mark.usefixtures("usual_signals")
History = list[dict[str, Any]]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Run traced graphs instead of compiling them; each element is the size of a batch that one took."""
    found: list[int] = []

    def as_traced(whole: WholeStep) -> Callable[..., Any]:
        def run(*inputs: Any) -> Any:
            found.append(len(inputs[4]))
            return whole.graph(*inputs)

        return run

    monkeypatch.setattr(compiled, "inductor", as_traced)
    monkeypatch.setattr(compilable, "shutil", type("has a compiler", (), {"which": lambda _name: "g++"}))
    return found


def digits(n: int = 200, *, labels: bool = False) -> Dataset:
    made = np.random.default_rng(0)
    y = made.integers(0, 3, n)
    x = np.clip(made.normal(80 + 40 * y[:, None, None, None], 60, (n, 6, 6, 1)), 0, 255).astype(np.uint8)
    names = ("a", "b", "c") if labels else ()
    return Dataset("images", x, np.zeros(n, np.int64), y if labels else None, names, 255)


def trained(config: Config, data: Dataset, **more: Any) -> Training:
    training = Training(build_for(config, data), data, config.updated(**more), quiet=True)
    training.run()
    return training


def assert_close(one: History, other: History, tolerance: float) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert list(a) == list(b)
        for name in a:
            if name not in ("seconds", "images_per_second"):
                expected = b[name] if b[name] is None else pytest.approx(b[name], rel=tolerance, abs=1e-6)
                assert a[name] == expected, name


def said(training: Training) -> list[str]:
    lines: list[str] = []
    training.engine.report = lines.append
    training.run()
    return lines


SCHEDULED: dict[str, Any] = {
    "hidden": [24],
    "latent_dim": 3,
    "batch_size": 32,
    "epochs": 143,
    "validation": 0.0,
    "precision": "fp32",
    "lr_schedule": "CosineAnnealingLR",
    "beta_ramp": 40.0,
    "clip": 20.0,
    "ema": 0.99,
}


def test_a_thousand_scheduled_steps_have_the_same_loss(taken: list[int]) -> None:
    config = recipe("vae", Config(), **SCHEDULED)
    ordinary, whole = trained(config, digits()), trained(config, digits(), compile="on")
    assert whole.engine.steps == 1001
    # The first step and the last batch of each epoch, of 8 examples, are ordinary. One more checks gradients.
    assert taken == [32] * (6 * 143 - 1 + 1)
    assert_close(whole.record.history, ordinary.record.history, 1e-5)
    assert ordinary.engine.average.weights is not None
    assert whole.engine.average.weights is not None
    for a, b in zip(whole.engine.average.weights, ordinary.engine.average.weights, strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-4)


RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "dequantised, flipped crops": (
        "vae",
        {"dequantize": "uniform", "flip": True, "random_crop": (4, 5), "likelihood": "gaussian"},
    ),
    "binarised, conditional": ("vae", {"binarize": "stochastic", "condition": "labels"}),
    "iwae": ("iwae", {"num_samples": 5}),
    "dreg": ("dreg", {"num_samples": 5}),
    "vamp": ("vamp", {}),
    "flow prior": ("vae", {"prior": "flow"}),
    "iaf": ("iaf", {}),
    "beta-tcvae": ("beta-tcvae", {}),
    "dip-vae-ii": ("dip-vae-ii", {}),
    "free bits": ("vae", {"free_bits": 0.2}),
    "two layers": ("two-layer", {"latent_dim": None, "hidden": None}),
    "weight decay": ("vae", {"optimizer": "AdamW", "optimizer_options": {"weight_decay": 0.1}}),
    "decay in Adam": ("vae", {"optimizer_options": {"weight_decay": 0.1, "betas": [0.8, 0.99]}}),
    "changing betas": ("vae", {"lr_schedule": "OneCycleLR", "lr_schedule_options": {"max_lr": 0.01}}),
    "convolutions": ("vae", {"network": "conv", "hidden": None, "conv_width": 4, "conv_levels": 1}),
    "learned scale": ("vae", {"likelihood": "gaussian", "learn_scale": "pixel"}),
}


# These differ from others in a penalty or in Adam's options, and are left to ``make compiled``.
_LONG = {"beta-tcvae", "dip-vae-ii", "weight decay", "decay in Adam"}
LEARNED = [name for name in RECIPES if os.environ.get("ELBOROOM_COMPILED") or name not in _LONG]


@pytest.mark.parametrize("name", LEARNED)
def test_recipes_learn_what_they_learn_otherwise(name: str, taken: list[int]) -> None:
    kind, options = RECIPES[name]
    base: dict[str, Any] = {"hidden": [12], "latent_dim": 3, "epochs": 3, "validation": 0.0, "batch_size": 25}
    fields = {key: value for key, value in {**base, **options}.items() if value is not None}
    config = recipe(kind, Config(), **fields, precision="fp32")
    data = digits(100, labels=True)
    ordinary, whole = trained(config, data), trained(config, data, compile="on")
    assert len(taken) == 3 * 4
    # Adam's first steps turn the rounding of gradients near 0 into steps of lr.
    assert_close(whole.record.history, ordinary.record.history, 2e-4)


@pytest.mark.parametrize("options", [{}, {"drop_cells": 0.3}, {"missing_mechanism": "self_masking"}])
def test_a_table_with_cells_that_later_batches_miss(options: dict[str, Any], taken: list[int]) -> None:
    made = np.random.default_rng(0)
    size, kind = made.normal(size=100), np.array(["a", "b", "c"])[made.integers(0, 3, 100)]
    size[60:80] = np.nan
    data = from_columns({"size": size, "count": made.poisson(3, 100) * 1.0, "kind": kind})
    config = Config().updated(hidden=[12], latent_dim=2, epochs=3, batch_size=25, precision="fp32", **options)
    ordinary, whole = (trained(config, data, compile=mode, validation=0.0) for mode in ("off", "on"))
    assert whole.engine.vae.accepts_missing
    assert len(taken) > 6
    assert_close(whole.record.history, ordinary.record.history, 2e-4)


def test_low_precision(taken: list[int]) -> None:
    options: dict[str, Any] = {"precision": "bf16", "epochs": 2, "validation": 0.0}
    histories = [train(build(), None, **options, compile=mode) for mode in ("off", "on")]
    assert len(taken) == 2 * 6  # of 7 batches, the last is smaller
    assert_close(histories[1], histories[0], 1e-2)


def test_a_step_that_is_not_finite_is_skipped(taken: list[int]) -> None:
    def beta(step: int) -> float:
        return float("nan") if step == 5 else 1.0

    engines = []
    for mode in ("off", "on"):
        training = Training(
            build(),
            Dataset("images", images()[..., None], np.zeros(60, np.int64), scale=255.0),
            Config().updated(epochs=1, batch_size=8, validation=0.0, compile=mode),
            Objective(beta),
            quiet=True,
        )
        torch.manual_seed(0)
        kept: list[Tensor] = []
        for step in range(8):
            if step == 5:
                kept = [p.detach().clone() for p in training.engine.parameters]
            training.engine.step(torch.arange(8) + step)
            if step == 5:
                assert_identical([p.detach() for p in training.engine.parameters], kept)
        assert training.engine.skipped.read() == (0, 1, 5)
        engines.append(training.engine)
    assert len(taken) == 8
    assert engines[1].means() == pytest.approx(engines[0].means(), rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("factor-vae", {}, "a critic trains against the model"),
        ("vq-vae", {}, "a batch changes buffers"),
        ("vae", {"optimizer": "SGD"}, "is not Adam or AdamW"),
        ("vae", {"optimizer_options": {"amsgrad": True}}, "is not Adam or AdamW"),
        ("vae", {"accumulate": 2}, "accumulate divides each batch"),
        ("vae", {"network": "conv", "checkpoint_activations": True}, "activations are recomputed"),
        ("info-vae", {}, "draws random numbers of its own"),
        ("svae", {}, "cannot be traced"),
    ],
)
@pytest.mark.usefixtures("narrow_critics")
def test_what_does_not_fit_is_said_once(
    kind: str, options: dict[str, Any], reason: str, taken: list[int]
) -> None:
    config = recipe(kind, Config(), epochs=2, batch_size=25, compile="on", **options)
    data = digits(100)
    lines = said(Training(build_for(config, data), data, config, quiet=True))
    assert [line for line in lines if "compil" in line] == [line for line in lines if reason in line]
    assert sum(reason in line for line in lines) == 1
    assert not taken


class Counting(nn.Module):
    """A layer that a trace would hold at its present count."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x / self.calls


@pytest.mark.parametrize(
    ("layer", "reason"), [(Counting, "changes encoder.0.calls"), (nn.Dropout, "draws random numbers")]
)
def test_layers_that_a_trace_would_freeze(
    layer: type[nn.Module], reason: str, taken: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    vae = build()
    vae.encoder = nn.Sequential(layer(), vae.encoder)
    fit(vae, images(), epochs=1, batch_size=8, compile="on")
    assert reason in capsys.readouterr().err
    assert not taken


def test_auto_compiles_no_parts_that_it_does_not_know() -> None:
    class Own(nn.Linear):
        pass

    training = Training(
        build(), Dataset("images", images()[..., None], np.zeros(60, np.int64), scale=255.0), Config()
    )
    assert compilable.foreign_part(training.engine) is None
    training.engine.vae.decoder[0] = Own(2, 8)
    found = compilable.foreign_part(training.engine)
    assert found is not None
    assert "Own is not a part of elboroom" in found


def _add_hook(vae: VAE) -> None:
    vae.decoder.register_forward_hook(lambda _module, _inputs, y: 0.5 * y)


def _freeze(vae: VAE) -> None:
    next(iter(vae.decoder.parameters())).requires_grad_(False)


def _replace(vae: VAE) -> None:
    at = next(i for i, layer in enumerate(vae.encoder) if isinstance(layer, nn.ReLU))
    vae.encoder[at] = nn.Tanh()


def _set(vae: VAE) -> None:
    vae.posterior.min_scale = 0.5


@pytest.mark.parametrize("change", [_add_hook, _freeze, _replace, _set])
def test_changes_during_training_leave_the_compiled_step(
    change: Callable[[VAE], None], taken: list[int]
) -> None:
    def on_epoch(vae: VAE, row: dict[str, Any]) -> None:
        if row["epoch"] == 2:
            change(vae)

    options: dict[str, Any] = {"validation": 0.0, "on_epoch": on_epoch, "precision": "fp32"}
    models = [build(activation="relu") for _ in range(2)]
    histories = [
        train(vae, None, 4, **options, compile=mode) for vae, mode in zip(models, ("off", "on"), strict=True)
    ]
    assert len(taken) == 2 * 6  # of 7 batches in each of two epochs, the last is smaller
    assert_close(histories[1], histories[0], 1e-4)


def test_resumed_runs_are_the_same_bit_for_bit(
    taken: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(build(), tmp_path / "whole", 4, compile="on")
    count = len(taken)
    after_step(monkeypatch, 9, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Stopped):
        train(build(), tmp_path / "run", 4, compile="on")
    assert checkpoint(tmp_path / "run")["engine"]["compiled"][0]
    train(build(seed=5), tmp_path / "run", 4, resume=True)
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert len(taken) == 2 * count + 1  # one more, which compares gradients again


def long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let short trainings count as long."""
    monkeypatch.setattr(compiled, "_TIMED", 4)
    monkeypatch.setattr(compiled, "_SAVED", 1e6)


def test_auto_leaves_short_trainings_alone(taken: list[int]) -> None:
    train(build(), None, 12, validation=0.0, compile="auto")
    assert not taken


def test_auto_compiles_long_trainings_and_a_checkpoint_knows_it(
    taken: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long(monkeypatch)
    after_step(monkeypatch, 9, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Stopped):
        train(build(), tmp_path / "run", 4, validation=0.0, compile="auto")
    assert len(taken) == 1 + 4  # after four ordinary steps; the last batch of an epoch has 6 examples
    assert checkpoint(tmp_path / "run")["engine"]["compiled"] == [True, 28]
    monkeypatch.setattr(compiled, "_SAVED", 0.0)
    train(build(), tmp_path / "run", 4, resume=True)
    assert len(taken) == 5 + 1 + (28 - 9 - 3)


def test_auto_returns_to_ordinary_steps_that_are_faster(
    taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(whole: WholeStep) -> Callable[..., Any]:
        def run(*inputs: Any) -> Any:
            taken.append(0)
            time.sleep(0.1)
            return whole.graph(*inputs)

        return run

    long(monkeypatch)
    monkeypatch.setattr(compiled, "_TRIED", 3)
    monkeypatch.setattr(compiled, "inductor", slowly)
    training = Training(
        build(),
        Dataset("images", images()[..., None], np.zeros(60, np.int64), scale=255.0),
        Config().updated(epochs=4, batch_size=8, validation=0.0, compile="auto"),
        quiet=True,
    )
    lines = said(training)
    assert len(taken) == 1 + 3
    assert "the step is no longer compiled: it took" in lines[-1]
    assert training.engine.compiled.decision == (False, 32)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda inputs: inputs[1][0].mul_(1.01), "gradients differ from ordinary ones by"),
        (lambda inputs: inputs[2][0].mul_(1.01), "the second moments are not those of Adam"),
        (lambda inputs: inputs[0][0].mul_(1.001), "the weights are not those of Adam"),
        (lambda inputs: inputs[8], "compiling failed"),
    ],
)
def test_a_wrong_compiled_step_is_refused(
    spoil: Callable[[Any], Any], reason: str, taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrongly(whole: WholeStep) -> Callable[..., Any]:
        def run(*inputs: Any) -> Any:
            found = whole.graph(*inputs)
            spoil((*inputs[:8],))
            return found

        return run

    monkeypatch.setattr(compiled, "inductor", wrongly)
    histories = []
    for mode in ("off", "on"):
        training = Training(
            build(),
            Dataset("images", images()[..., None], np.zeros(60, np.int64), scale=255.0),
            Config().updated(epochs=2, batch_size=8, validation=0.0, compile=mode),
            quiet=True,
        )
        lines = said(training)
        histories.append(training.record.history)
    assert reason in lines[-1]
    assert_close(histories[1], histories[0], 1e-12)


def test_steps_of_another_engine_are_the_same(taken: list[int]) -> None:
    # The noise of a compiled step is drawn from the generator as that of an ordinary one.
    states = []
    for mode in ("off", "on"):
        engine = Training(
            build(),
            Dataset("images", images()[..., None], np.zeros(60, np.int64), scale=255.0),
            Config().updated(epochs=2, batch_size=8, compile=mode, binarize="stochastic"),
            quiet=True,
        ).engine
        assert isinstance(engine, Engine)
        engine.compiled.total = 100
        torch.manual_seed(4)
        for _ in range(3):
            engine.step(torch.arange(8))
        states.append(torch.get_rng_state())
    assert len(taken) == 3
    assert torch.equal(*states)


@needs_compiler
@pytest.mark.filterwarnings("ignore")  # torch's own
@pytest.mark.parametrize("name", [None, "iwae", "convolutions"])
def test_inductor(name: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {**SCHEDULED, "epochs": 30} if name is None else {"epochs": 3, "batch_size": 25}
    kind, more = RECIPES[name] if name else ("vae", {})
    more = {key: value for key, value in more.items() if value is not None}
    config = recipe(kind, Config(), **{**options, **more, "precision": "fp32", "validation": 0.0})
    data = digits()
    ordinary = trained(config, data)
    training = Training(build_for(config, data), data, config.updated(compile="on"), quiet=True)
    lines = said(training)
    assert "the step is compiled" in lines[-1]
    assert_close(training.record.history, ordinary.record.history, 1e-4 if name else 1e-5)


@pytest.mark.parametrize("enabled", [True, False])
def test_tracing_leaves_the_search_for_cycles_as_it_was(enabled: bool) -> None:
    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(ZeroDivisionError), uncollected():
            1 / gc.isenabled()  # 0, as it is off
        assert gc.isenabled() == enabled
    finally:
        gc.enable()
