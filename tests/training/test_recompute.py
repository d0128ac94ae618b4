"""Activations that are recomputed: the same gradients bit for bit, in less memory, or a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from elboroom.cli.main import main
from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.networks import ConvEncoder, recompute_activations, summarize
from elboroom.networks.recompute import Recomputable, recomputes
from elboroom.objectives.recipes import recipe
from elboroom.training.fitting import fit
from elboroom.training.loop import Training
from elboroom.training.prepare import build

CONV: dict[str, Any] = {"network": "conv", "conv_width": 4, "latent_dim": 3}
LADDER: dict[str, Any] = {"network": "ladder", "conv_width": 4}


@pytest.fixture(scope="module")
def images() -> Dataset:
    x = np.random.default_rng(0).integers(0, 256, (50, 16, 16, 1), dtype=np.uint8)
    return Dataset("images", x, np.zeros(50), labels=np.arange(50) % 3, scale=255.0)


def trained(
    data: Dataset, name: str = "vae", **options: Any
) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    config = recipe(name, Config(), **{"epochs": 2, "batch_size": 20, "figures_every": 0, **options})
    training = Training(build(config, data), data, config, quiet=True)
    assert recomputes(training.engine.vae) == config.training.checkpoint_activations
    history = training.run()
    assert not recomputes(training.engine.vae)
    drop = ("seconds", "images_per_second")
    rows = [{key: value for key, value in row.items() if key not in drop} for row in history]
    return {key: value.clone() for key, value in training.engine.vae.state_dict().items()}, rows


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vae", CONV),
        ("vae", {**CONV, "precision": "bf16", "clip": 1.0, "ema": 0.9}),
        ("vae", {**CONV, "accumulate": 2, "batch_size": 10, "condition": "labels"}),
        ("iwae", {**CONV, "num_samples": 3}),
        ("rae-gp", CONV),  # a penalty on gradients, which are differentiated in turn
        ("factor-vae", CONV),
        ("vae", LADDER),
        ("vae", {**LADDER, "precision": "bf16", "accumulate": 2, "batch_size": 10}),
        ("vae", {**LADDER, "condition": "labels", "likelihood": "gaussian", "flip": True}),
    ],
)
@pytest.mark.usefixtures("narrow_critics")
def test_training_is_the_same_bit_for_bit(name: str, options: dict[str, Any], images: Dataset) -> None:
    kept, history = trained(images, name, **options)
    light, other = trained(images, name, checkpoint_activations=True, **options)
    assert history == other
    for key, value in kept.items():
        assert torch.equal(value, light[key]), key


def test_blocks_run_again_in_the_backward_pass_only() -> None:
    torch.manual_seed(0)
    net = ConvEncoder((16, 16, 1), (4,), width=4)
    recompute_activations(net)
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    assert isinstance(net.level1, nn.Sequential)
    net.level1[0].register_forward_hook(count)
    x = torch.rand(2, 16, 16, 1)
    with torch.no_grad():
        net(x)
    assert calls == 1
    net(x).sum().backward()
    assert calls == 3
    recompute_activations(net, False)
    net(x).sum().backward()
    assert calls == 4


@pytest.mark.parametrize(
    "options", [{"hidden": [8]}, {"network": "chain", "chain_dims": [2, 2], "chain_hidden": [8, 8]}]
)
def test_a_model_without_blocks_is_refused(options: dict[str, Any], images: Dataset, tmp_path: Path) -> None:
    vae = VAE.build(shape=images.shape, **options)
    with pytest.raises(UsageError, match="would do nothing: the model has no convolutional blocks"):
        fit(vae, images, checkpoint_activations=True, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("options", [{"normalization": "batch"}, {"decoder_norm": "spectral"}])
def test_blocks_that_a_second_pass_would_change_are_refused(options: dict[str, Any], images: Dataset) -> None:
    vae = VAE.build(shape=images.shape, **CONV, **options)
    with pytest.raises(UsageError, match="a second one would change them twice"):
        fit(vae, images, checkpoint_activations=True, quiet=True)


def test_a_run_goes_on_with_it_and_without(images: Dataset, tmp_path: Path) -> None:
    weights = []
    for first, then in ((False, False), (True, False), (False, True)):
        out = tmp_path / f"{first}{then}"
        vae = VAE.build(shape=images.shape, **CONV)
        torch.manual_seed(0)
        for p in vae.parameters():
            nn.init.uniform_(p, -0.1, 0.1)
        fit(vae, images, out=out, epochs=1, checkpoint_activations=first, quiet=True, figures_every=0)
        again = VAE.build(shape=images.shape, **CONV)
        fit(again, images, out=out, epochs=2, checkpoint_activations=then, resume=True, quiet=True)
        weights.append(again.state_dict())
    for other in weights[1:]:
        assert all(torch.equal(value, other[key]) for key, value in weights[0].items())


def test_the_command_line_says_it_in_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "digits", "--hidden", "8", "--checkpoint-activations"]) == 2
    said = capsys.readouterr().err
    assert "elboroom: --checkpoint-activations would do nothing: the model has no convolutional" in said
    assert "those of --network conv or ladder, whose" in said
    assert not list(tmp_path.iterdir())


def test_the_summary_counts_what_is_kept() -> None:
    net = ConvEncoder((16, 16, 1), (4,), width=8)
    kept = summarize(net, (16, 16, 1), 1).activation_bytes
    recompute_activations(net)
    inputs: list[int] = []
    blocks = [block for block in net if isinstance(block, Recomputable)]
    for block in blocks:
        block.register_forward_pre_hook(lambda _block, given: inputs.append(4 * given[0].numel()))
    found = summarize(net, (16, 16, 1), 1).activation_bytes
    assert len(inputs) == len(blocks)
    assert sum(inputs) <= found < kept
