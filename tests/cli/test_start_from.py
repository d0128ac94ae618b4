"""``train --start-from``: a training that begins with another model's weights, and ``--freeze encoder``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.exports import kl_folder

from elboroom import VAE, load
from elboroom.cli.inputs.start_model import take_weights
from elboroom.cli.main import main
from elboroom.cli.starting_point import starting_point
from elboroom.runs.diffusers_folder import import_diffusers
from elboroom.runs.run import Run

_FEW = ("--epochs", "1", "--batch-size", "8", "--figures-every", "0", "--quiet", "--device", "cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of diffusers, images, and a run trained from the folder with a frozen encoder."""
    path = tmp_path_factory.mktemp("start")
    kl_folder.write(path / "kl")
    x = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    np.save(path / "x.npy", x)
    run(path / "x.npy", path / "kl", path / "finer", "--freeze", "encoder")
    return path


def run(data: Path, source: Path, out: Path, *more: str) -> None:
    words = ["train", str(data), "--start-from", str(source), "--out", str(out), *_FEW, *more]
    assert main(words) == 0


def _encoder(vae: Any) -> dict[str, torch.Tensor]:
    return {name: one for name, one in vae.state_dict().items() if name.startswith("encoder.")}


def test_a_frozen_encoder_stays_as_it_is_and_the_decoder_learns(place: Path) -> None:
    before, after = import_diffusers(place / "kl")[0], load(place / "finer")
    for name, one in _encoder(before).items():
        assert torch.equal(one, after.state_dict()[name]), name
    assert not torch.equal(before.decoder.conv_out.weight, after.decoder.conv_out.weight)
    config = Run(place / "finer").config
    assert config.training.freeze == "encoder"
    assert config.objective.beta == pytest.approx(1e-6 * 192)


def test_such_a_run_is_resumed_with_the_encoder_frozen(place: Path) -> None:
    assert main(["resume", str(place / "finer"), "--epochs", "2", "--quiet"]) == 0
    again = load(place / "finer")
    for name, one in _encoder(import_diffusers(place / "kl")[0]).items():
        assert torch.equal(one, again.state_dict()[name]), name


def test_what_belongs_to_the_codes_goes_along(place: Path) -> None:
    assert main(["export", str(place / "finer"), "--to", "diffusers", "--overwrite"]) == 0
    found = json.loads((place / "finer" / "export" / "config.json").read_text())
    assert (found["scaling_factor"], found["shift_factor"]) == (0.25, 0.5)
    finer = load(place / "finer")
    new = VAE.build(finer.config)
    start = take_weights(new, str(place / "finer"))
    assert start.kept is not None
    assert start.kept["scaling_factor"] == 0.25
    assert all(torch.equal(one, new.state_dict()[name]) for name, one in finer.state_dict().items())
    other = VAE.build(finer.config, likelihood="laplace", likelihood_scale=1.0)
    assert take_weights(other, str(place / "finer")).described.endswith("; the likelihood is new")
    assert torch.equal(other.encoder.conv_in.weight, finer.encoder.conv_in.weight)


def test_a_recipe_replaces_the_objective_and_not_the_networks(place: Path) -> None:
    kl = str(place / "kl")
    plain = starting_point(["x", "--start-from", kl])
    assert (plain.objective.beta, plain.objective.beta_unit) == (1e-6, "mean")
    assert plain.model.likelihood_scale == pytest.approx(0.125**0.5)
    config = starting_point(["x", "--start-from", kl, "--recipe", "tokenizer"])
    assert (config.model.network, config.model.block_channels) == ("autoencoder-kl", (4, 8))
    assert (config.model.likelihood, config.objective.beta_unit) == ("laplace", "sum")
    given = starting_point(["x", "--start-from", kl, "--beta", "2"])
    assert given.objective.beta_unit == "sum"
    from_run = starting_point(["x", "--start-from", str(place / "finer")])
    assert from_run.objective.beta == pytest.approx(1e-6 * 192)
    assert from_run.model.norm_groups == 2


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--start-from", "nowhere"), "no run at nowhere"),
        (("--start-from", "KL", "--latent-channels", "3"), "does not fit this model: encoder.conv_out"),
        (("--start-from", "KL", "--no-attention"), "does not fit this model"),
        (("--network", "conv", "--model.normalization", "batch", "--freeze", "encoder"), "statistics"),
    ],
)
def test_what_does_not_fit_is_refused(
    more: tuple[str, ...], words: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(place / "kl") if word == "KL" else word for word in more]
    assert main(["train", str(place / "x.npy"), "--out", str(place / "none"), *_FEW, *given]) == 2
    assert words in capsys.readouterr().err.replace("\n", " ")
    assert not (place / "none").exists()
