"""What a run folder keeps of the codes of its training examples, and what is said because of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elboroom
from elboroom.cli.inputs.prior import why_noisy
from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.errors import UsageError
from elboroom.evaluation.latent_statistics import why_far
from elboroom.objectives import recipe
from elboroom.runs.run import Run
from elboroom.runs.statistics_file import FILE, read_statistics
from elboroom.training import fit
from elboroom.training.prepare import build

SMALL = {"epochs": 2, "batch_size": 25, "validation": 0.0, "conv_width": 4, "conv_levels": 1, "seed": 1}


@pytest.fixture(scope="module")
def data() -> Dataset:
    x = np.random.default_rng(0).integers(0, 256, (100, 8, 12, 3), dtype=np.uint8)
    return Dataset("noise", x, np.zeros(100, np.uint8), scale=255)


def _train(data: Dataset, out: Path, name: str, **fields: Any) -> elboroom.VAE:
    options = {
        **SMALL,
        **({} if name in ("vae", "ae", "wae-mmd") else {"penalties": {}, "critic_start": 0.0}),
    }
    if name in ("vae", "ae", "wae-mmd"):
        options = {key: value for key, value in options.items() if not key.startswith("conv")}
        options |= {"hidden": (8,), "latent_dim": 3}
    config = recipe(name, Config(), **{**options, **fields})
    vae = build(config, data)
    fit(vae, data, config=config, out=out, quiet=True)
    return vae


@pytest.mark.parametrize("posterior", ["diagonal", "deterministic"])
def test_codes_times_the_factor_have_a_deviation_of_one(
    data: Dataset, tmp_path: Path, posterior: str
) -> None:
    """By channel, for codes drawn anew of the examples it was trained on."""
    vae = _train(data, tmp_path / "run", "tokenizer", posterior=posterior)
    found = json.loads((tmp_path / "run" / FILE).read_text())
    assert found["of"] == "channels"
    assert found["codes"] == 100
    x = data.x[data.indices("train")]
    torch.manual_seed(9)
    q = vae.encode(x)
    draws = q.rsample_and_log_prob(20)[0].reshape(-1, *vae.latent_shape)
    scaled = draws * torch.tensor(found["scaling_factor"])[:, None, None]
    assert scaled.transpose(0, 1).flatten(1).std(1).numpy() == pytest.approx(1, abs=0.01)
    assert draws.transpose(0, 1).flatten(1).mean(1).numpy() == pytest.approx(found["mean"], abs=0.02)
    whole = draws * found["overall_scaling_factor"]
    assert float(whole.std()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("name", "fields", "of"),
    [
        ("vae", {}, None),
        ("vae", {"beta": 1e-3}, "dimensions"),
        ("vae", {"condition": "labels", "beta": 1e-3}, None),
        ("ae", {}, "dimensions"),
        ("tokenizer-fsq", {}, "channels"),
    ],
)
def test_which_trainings_write_them(
    tmp_path: Path, data: Dataset, name: str, fields: dict[str, Any], of: str | None
) -> None:
    labelled = Dataset("noise", data.x, data.split, np.arange(100, dtype=np.uint8) % 2, scale=255)
    _train(labelled, tmp_path / "run", name, **fields)
    found = read_statistics(tmp_path / "run")
    assert (None if found is None else found["of"]) == of


def test_a_longer_training_writes_them_anew_and_alike(data: Dataset, tmp_path: Path) -> None:
    _train(data, tmp_path / "run", "tokenizer")
    before = read_statistics(tmp_path / "run")
    config = Run(tmp_path / "run").config
    fit(build(config, data), data, out=tmp_path / "run", resume=True, epochs=4, quiet=True)
    after = read_statistics(tmp_path / "run")
    assert after != before
    _train(data, tmp_path / "whole", "tokenizer", epochs=4)
    assert read_statistics(tmp_path / "whole") == after


def test_the_callers_randomness_is_left_alone_and_the_model_too(data: Dataset, tmp_path: Path) -> None:
    with_folder = _train(data, tmp_path / "run", "tokenizer").state_dict()
    config = Run(tmp_path / "run").config
    torch.manual_seed(5)
    vae = build(config, data)
    fit(vae, data, config=config, quiet=True)
    for name, weight in vae.state_dict().items():
        assert torch.equal(weight, with_folder[name])


def test_far_codes_are_a_reason_to_warn(data: Dataset, tmp_path: Path) -> None:
    """Also where a penalty was meant to match them, and the parts alone tell nothing."""
    vae = _train(data, tmp_path / "run", "wae-mmd", penalties={"mmd_imq": 1e-9})
    run = Run(tmp_path / "run")
    near = {"of": "dimensions", "mean": [0.2, 0, 0], "std": [1.5, 0.7, 1], "overall_scaling_factor": 1}
    (run.path / FILE).write_text(json.dumps(near))
    assert why_noisy(run, vae) is None
    for changed, text in (
        (
            {"std": [1, 2.1, 1]},
            r"mean 0 and standard deviation 2\.1 in dimension 1, and N\(0, I\) has 0 and 1",
        ),
        ({"std": [0.3, 1, 1.2]}, r"mean 0\.2 and standard deviation 0\.3 in dimension 0"),
        ({"mean": [0, 0, -1.4]}, r"mean -1\.4 and standard deviation 1 in dimension 2"),
        ({"std": [1, 0, 1]}, "standard deviation 0 in dimension 1"),
    ):
        (run.path / FILE).write_text(json.dumps({**near, **changed}))
        found = why_noisy(run, vae)
        assert found is not None
        with pytest.raises(AssertionError, match=text):
            raise AssertionError(found)
    assert why_far(near) is None


@pytest.mark.parametrize(
    "content", ["[]", "{", '{"mean": [1], "std": []}', '{"mean": ["a"], "std": ["b"]}', '{"of": "x"}', "3"]
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(UsageError, match=r"latent_statistics\.json.*write it again with fit-prior"):
        read_statistics(tmp_path)
