"""``VAE.save`` and ``elboroom.load``: a model without a run, as one file."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import elboroom
from elboroom.errors import FailureError, UsageError
from elboroom.io.tensors import read_tensors, write_tensors
from elboroom.models.vae import VAE
from elboroom.probability import StandardNormal

CONFIGS: dict[str, dict[str, Any]] = {
    "rows": {"shape": (5,), "hidden": (7,), "likelihood": "gaussian", "learn_scale": "shared"},
    "images": {"shape": (12, 12, 1), "network": "conv", "conv_width": 4, "conv_levels": 1, "scale": 16.0},
    "conditional": {
        **{"shape": (5,), "hidden": (7,), "condition": "labels", "condition_dim": 2},
        "condition_names": ("cat", "dog"),
    },
    "vq": {"shape": (5,), "hidden": (7,), "posterior": "vq", "code_grid": (2,), "codebook_size": 4},
    "chain": {"shape": (5,), "network": "chain", "chain_dims": (2, 3), "chain_hidden": (4, 6)},
}


def composed(width: int = 4) -> VAE:
    networks = nn.Linear(5, 4), nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 5))
    return VAE(*networks, StandardNormal(2), shape=(5,))


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_loaded_is_what_was_saved(name: str, tmp_path: Path) -> None:
    vae = VAE.build(**CONFIGS[name])
    vae.value_range, vae.data_range = (-1.0, 2.0), (-0.5, 1.5)
    vae.save(tmp_path / "vae.safetensors")
    found = elboroom.load(tmp_path / "vae.safetensors")
    assert found.config == vae.config
    assert (found.value_range, found.data_range) == ((-1.0, 2.0), (-0.5, 1.5))
    assert not found.training
    assert found.state_dict().keys() == vae.state_dict().keys()
    assert all(torch.equal(found.state_dict()[key], value) for key, value in vae.state_dict().items())


def test_a_trained_model_says_the_same_after_loading(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((40, 5), np.float32)
    vae = VAE.build(shape=(5,), hidden=(8,))
    elboroom.fit(vae, x, epochs=2, quiet=True)
    vae.save(str(tmp_path / "vae.safetensors"))
    found = elboroom.load(str(tmp_path / "vae.safetensors"))
    assert found.data_range == vae.data_range
    torch.testing.assert_close(found.embed(x), vae.embed(x), rtol=0, atol=0)


def test_a_model_composed_in_python_is_loaded_into_another(tmp_path: Path) -> None:
    vae, path = composed(), tmp_path / "vae.safetensors"
    vae.save(path)
    with pytest.raises(UsageError, match="composed in Python; build it again and pass it"):
        elboroom.load(path)
    other = composed()
    assert elboroom.load(path, into=other) is other
    assert all(torch.equal(other.state_dict()[key], value) for key, value in vae.state_dict().items())
    with pytest.raises(UsageError, match=r"does not fit the model: decoder\.0\.weight is \(4, 2\)"):
        elboroom.load(path, into=composed(6))


def test_a_bad_path_to_save_to_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder; give a file, such as"):
        composed().save(tmp_path)
    with pytest.raises(UsageError, match=r"there is no folder .*; create it first"):
        composed().save(tmp_path / "none" / "vae.safetensors")


def _header(**changes: Any) -> dict[str, str]:
    facts = {"format": 1, "model": None, "value_range": [0, 1], "data_range": None}
    return {"elboroom_model": json.dumps(facts | changes)}


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, "was not written by VAE.save"),
        ({"elboroom_model": "{"}, "is damaged"),
        ({"elboroom_model": "[]"}, "is damaged"),
        (_header(format=2), "has format 2, and .* up to 1; upgrade elboroom"),
        (_header(format="x"), "is damaged"),
        (_header(value_range=[1]), "is damaged"),
        (_header(model={"latent_dim": -1}), "is damaged .*latent_dim = -1"),
        (_header(model=7), "is damaged"),
    ],
)
def test_a_file_of_another_kind_is_an_error_in_one_line(
    metadata: dict[str, str], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "vae.safetensors"
    write_tensors(path, composed().state_dict(), metadata)
    with pytest.raises(UsageError, match=words) as error:
        elboroom.load(path)
    assert "\n" not in str(error.value)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "vae.safetensors"
    VAE.build(shape=(5,), hidden=(7,)).save(path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    with pytest.raises(UsageError, match="damaged"):
        elboroom.load(path)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path, vae = tmp_path / "vae.safetensors", VAE.build(shape=(5,), hidden=(7,))
    with torch.no_grad():
        vae.decoder[0].weight[0, 0] = torch.nan
    vae.save(path)
    with pytest.raises(FailureError, match=r"1 of the 14 numbers of decoder\.0\.weight is not finite"):
        elboroom.load(path)


def test_the_file_is_safetensors_that_any_program_reads(tmp_path: Path) -> None:
    vae = VAE.build(shape=(5,), hidden=(7,))
    vae.save(tmp_path / "vae.safetensors")
    weights, metadata = read_tensors(tmp_path / "vae.safetensors")
    assert weights.keys() == vae.state_dict().keys()
    assert json.loads(metadata["elboroom_model"])["model"]["hidden"] == [7]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_or_device_is_not_replaced(tmp_path: Path) -> None:
    """A file is renamed to its name: for a privileged user /dev/null would become that file."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is a device or a pipe"):
        VAE.build(shape=(5,), hidden=(7,)).save(tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_wrong_types_are_named(tmp_path: Path) -> None:
    vae = VAE.build(shape=(5,), hidden=(7,))
    vae.save(tmp_path / "vae.safetensors")
    with pytest.raises(UsageError, match="path = 3"):
        vae.save(3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="into has type Linear; it must be a VAE"):
        elboroom.load(tmp_path / "vae.safetensors", into=nn.Linear(1, 1))  # type: ignore[arg-type]


def test_a_description_of_a_huge_model_is_one_line(tmp_path: Path) -> None:
    path, vae = tmp_path / "vae.safetensors", VAE.build(shape=(5,), hidden=(7,))
    vae.save(path)
    facts = json.loads(read_tensors(path)[1]["elboroom_model"])
    facts["model"]["hidden"] = [10**7, 10**7]
    write_tensors(path, vae.state_dict(), {"elboroom_model": json.dumps(facts)})
    with pytest.raises(FailureError, match="does not fit into memory"):
        elboroom.load(path)
