"""Traversals of one layer: a dimension moves in units of its prior, and what lies below follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elboroom import pictures
from elboroom.cli.main import main
from elboroom.errors import UsageError
from elboroom.models import make_chain
from elboroom.models.vae import VAE

SHAPE = (4, 4, 1)


@pytest.fixture
def chain() -> VAE:
    return make_chain(SHAPE, latent_dims=(3, 2, 20), hidden=[[8]] * 3)


def decoded_by(vae: VAE, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Tensor, list[str]]:
    """Codes (rows, steps, d) of the pictures in a traversal, and what its rows are called."""
    seen: list[Tensor] = []
    decode = vae.decode

    def spy(z: Tensor, *more: Any) -> Any:
        seen.append(z)
        return decode(z, *more)

    monkeypatch.setattr(vae, "decode", spy)
    figure = pictures.traversals(vae, steps=5, span=2.0, **options)
    names = [text.get_text() for axes in figure.axes for text in axes.texts if "z_" in text.get_text()]
    names += [axes.get_ylabel() for axes in figure.axes if "z_" in axes.get_ylabel()]
    names += [t.get_text() for axes in figure.axes for t in axes.get_yticklabels() if "z_" in t.get_text()]
    names += [text.get_text() for text in figure.texts if "z_" in text.get_text()]
    return seen[-1].reshape(-1, 5, vae.latent_dim), names


def test_what_lies_below_follows(chain: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    z, names = decoded_by(chain, monkeypatch, dims=[1, 4])
    assert names == ["layer 1  $z_{1}$", "layer 2  $z_{4}$"]
    standard = torch.zeros(2, 5, 25)
    standard[0, :, 1] = standard[1, :, 4] = torch.linspace(-2, 2, 5)
    hierarchy: Any = chain.decoder
    with torch.no_grad():
        expected = hierarchy.place(standard.flatten(0, 1)).reshape(2, 5, 25)
    torch.testing.assert_close(z, expected)
    assert not torch.allclose(z[0, 0, 3:], z[0, -1, 3:])  # the layers below have moved
    torch.testing.assert_close(z[1, 0, :3], z[1, -1, :3])  # and that above has not


def test_each_layer_shows_as_many(chain: VAE, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(30, *SHAPE)
    names = decoded_by(chain, monkeypatch, x=x)[1]
    assert [name.split("  ")[0] for name in names] == ["layer 1"] * 3 + ["layer 2"] * 2 + ["layer 3"] * 4
    codes = chain.standardized(chain.embed(x))[:, 5:].std(0)
    lowest = [int(name.split("{")[1].split("}")[0]) - 5 for name in names if name.startswith("layer 3")]
    assert set(lowest) == set(codes.argsort(descending=True)[:4].tolist())
    names = decoded_by(chain, monkeypatch, x=x, layer=3)[1]
    assert len(names) == 12
    assert all(name.startswith("layer 3") for name in names)


def test_one_layer_with_a_standard_normal_moves_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    vae = VAE.build(shape=SHAPE, latent_dim=3, hidden=[8])
    z, names = decoded_by(vae, monkeypatch, layer=1)
    assert names == ["$z_{0}$", "$z_{1}$", "$z_{2}$"]
    assert z[2, :, 2].tolist() == [-2, -1, 0, 1, 2]
    assert torch.equal(vae.placed(z[0]), z[0])


def test_units_of_the_prior_and_back(chain: VAE) -> None:
    standard = torch.randn(6, 25)
    torch.testing.assert_close(chain.standardized(chain.placed(standard)), standard, rtol=1e-5, atol=1e-5)
    told = VAE.build(shape=SHAPE, hidden=[8], condition="labels", condition_dim=3)
    with torch.no_grad():
        told.prior.mean.weight.normal_()
    prior = told.prior.given(torch.eye(3)[[2]])
    torch.testing.assert_close(told.placed(standard[:, :2], 2), (prior.mean + standard[:, :2]).detach())
    torch.testing.assert_close(told.given(2).placed(standard[:, :2]), told.placed(standard[:, :2], 2))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layer": 4}, "there is no layer 4: the model has 3 stochastic layers, 1 the top"),
        ({"layer": 0}, "there is no layer 0: the model has 3"),
        ({"layer": 1, "dims": [0]}, r"layer = 1 and dims = \[0\]: give one"),
    ],
)
def test_layers_that_there_are_not(chain: VAE, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        pictures.traversals(chain, **options)


def test_the_commands_know_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (40, *SHAPE)).astype(np.uint8)
    np.save(tmp_path / "x.npy", x)
    words = f"train {tmp_path}/x.npy --network chain --model.chain-dims 2 3 --epochs 1 --quiet"
    run = tmp_path / "run"
    assert main([*words.split(), "--figures-every", "0", "--out", str(run)]) == 0
    assert main(["traverse", str(run), "--layer", "2", "--out", str(tmp_path / "t.png")]) == 0
    assert (tmp_path / "t.png").stat().st_size > 1000
    capsys.readouterr()
    assert main(["evaluate", str(run), "--split", "all", "--num-samples", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["rate_of_layers"]) == 2
    assert sum(found["rate_of_layers"]) == pytest.approx(found["rate"], rel=1e-5)
    assert main(["evaluate", str(run), "--split", "all", "--num-samples", "0"]) == 0
    assert "top layer first" in capsys.readouterr().out
    assert main(["traverse", str(run), "--layer", "3"]) == 2
    assert "there is no layer 3: the model has 2 stochastic layers, 1 the top" in capsys.readouterr().err


def test_training_tells_of_layers_that_carry_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elboroom.cli.training_run.draw_all", lambda *_, **__: [])
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (40, *SHAPE)).astype(np.uint8))
    words = f"train {tmp_path}/x.npy --network ladder --conv-width 4 --epochs 1 --figures-every 0 --lr 1e-6"
    hint = "layers 1, 2 of 2 carry less than 0.1 nats. --free-bits 0.1 frees that many nats per layer."
    assert main([*words.split(), "--out", str(tmp_path / "young")]) == 0
    assert "less than 0.1 nats" not in capsys.readouterr().err  # one step tells nothing
    monkeypatch.setattr("elboroom.doctor.diagnosis._FEW_STEPS", 0)
    assert main([*words.split(), "--out", str(tmp_path / "idle")]) == 0
    assert hint in " ".join(capsys.readouterr().err.split())
    assert main([*words.split(), "--free-bits", "1", "--out", str(tmp_path / "held")]) == 0
    assert "carry less than" not in capsys.readouterr().err
