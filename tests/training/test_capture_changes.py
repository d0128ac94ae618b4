"""What acts on a model is not passed over by a recording, and what cannot be recorded is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from elboroom.models.terms import Terms
from elboroom.models.vae import VAE
from elboroom.objectives import Objective
from elboroom.objectives.schedules import constant
from elboroom.training import fit
from elboroom.training.prepare import build as build_for

from . import captured
from .captured import compare, narrow, pictures
from .recording import Recording

static_steps = captured.static_steps

# What acts on a model from outside.


def test_hooks_are_called_and_a_graph_is_recorded_when_they_are_gone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls: list[int] = []
    handles: list[Any] = []

    def on_epoch(vae: VAE, row: dict[str, Any]) -> None:
        if row["epoch"] == 3:
            calls.clear()
            handles[:] = [vae.encoder.register_forward_hook(lambda *_: calls.append(1))]
        elif row["epoch"] == 4:
            handles[0].remove()

    def count(vae: VAE, row: dict[str, Any]) -> None:
        on_epoch(vae, row)
        if row["epoch"] == 4:
            assert len(calls) >= 4

    training = compare(narrow("vae", epochs=7), count)
    assert training.engine.capture is not None
    assert training.engine.capture.graphs == 2
    said = capsys.readouterr().err
    assert said == ""  # quiet; it is in the log


def test_a_gradient_hook_holds_a_weight_still() -> None:
    kept: list[Tensor] = []

    def on_epoch(vae: VAE, row: dict[str, Any]) -> None:
        weight = vae.decoder[0].weight
        if row["epoch"] == 2:
            kept[:] = [weight.detach().clone()]
            weight.register_hook(torch.zeros_like)
            vae.encoder[1].weight.requires_grad_(False)

    training = compare(narrow("vae", epochs=4, optimizer="SGD", lr=1e-4), on_epoch)
    assert torch.equal(training.engine.vae.decoder[0].weight, kept[0])


def test_frozen_and_freed_parameters() -> None:
    def on_epoch(vae: VAE, row: dict[str, Any]) -> None:
        if row["epoch"] in (2, 4):
            vae.encoder[1].weight.requires_grad_(row["epoch"] == 4)

    training = compare(narrow("vae", epochs=7), on_epoch)
    assert training.engine.capture is not None
    assert training.engine.capture.graphs == 2


def test_settings_and_tensors_that_are_changed_between_epochs() -> None:
    def on_epoch(vae: VAE, row: dict[str, Any]) -> None:
        if row["epoch"] == 2:
            vae.posterior.min_scale = 0.3
        if row["epoch"] == 4:
            vae.decoder[0].weight.data = vae.decoder[0].weight.detach() * 0.5

    training = compare(narrow("vae", epochs=7), on_epoch)
    assert Recording.made >= 4
    assert training.engine.vae.posterior.min_scale == 0.3


# Steps that cannot be recorded.


def reads() -> Objective:
    return Objective(penalties={"read": (lambda terms: terms.z.mean() * terms.z.std().item(), constant(1.0))})


def counts() -> Objective:
    class Counting(nn.Module):
        calls = 0

        def forward(self, terms: Terms) -> Tensor:
            self.calls += 1
            return terms.z.mean() / self.calls

    return Objective(penalties={"counting": (Counting(), constant(1.0))})


@pytest.mark.parametrize(
    ("objective", "options", "reason"),
    [
        (reads, {}, "the host reads the device in aten::_local_scalar_dense"),
        (counts, {}, "a step changes an attribute of the model, which a replay would not do"),
        (
            lambda: None,
            {"optimizer": "RMSprop"},
            "RMSprop in this form reads the host; Adam, AdamW and SGD in",
        ),
        (
            lambda: None,
            {"optimizer_options": {"fused": False}},
            "Adam in this form reads the host; Adam, AdamW",
        ),
    ],
)
def test_what_cannot_be_recorded_is_taken_with_one_reason(
    objective: Any, options: dict[str, Any], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = compare(narrow("vae", epochs=4, **options), objective=objective)
    assert Recording.replays == 0
    assert training.engine.capture is not None
    assert str(training.engine.capture.reason).startswith(reason)
    config = narrow("vae", epochs=2, **options)
    fit(build_for(config, pictures()), pictures(), config=config, objective=objective(), out=tmp_path / "run")
    lines = [line for line in (tmp_path / "run" / "log.txt").read_text().splitlines() if "CUDA graph" in line]
    assert len(lines) == 1
    assert f"steps are taken without a CUDA graph: {reason}" in lines[0]
    assert lines[0] in capsys.readouterr().err


def test_a_recording_that_fails_at_its_end_leaves_training_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    end = Recording.capture_end

    def fail(graph: Recording) -> None:
        end(graph)
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture\nmore lines")

    monkeypatch.setattr(Recording, "capture_end", fail)
    training = compare(narrow("vae", epochs=3))
    assert training.engine.capture is not None
    assert str(training.engine.capture.reason).startswith(
        "CUDA error: operation failed due to a previous error"
    )
    assert Recording.made == 1
    assert Recording.replays == 0
