"""Run folders: written whole or not at all, read without executing anything, and refused in one line."""

from __future__ import annotations

import ast
import errno
import json
import os
import pickletools
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elboroom
from elboroom.config import Config
from elboroom.data import load_data
from elboroom.data.preparation import PhotoSteps, Preparation
from elboroom.errors import FailureError, UsageError
from elboroom.io.files import write_atomic
from elboroom.io.tensors import read_tensors, write_tensors
from elboroom.models.vae import VAE
from elboroom.networks import MLP
from elboroom.probability import StandardNormal
from elboroom.runs.run import Run, load
from elboroom.training import fit

X = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1), dtype=np.uint8)
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def build(**fields: Any) -> VAE:
    torch.manual_seed(0)
    return VAE.build(**{"shape": (4, 4, 1), "latent_dim": 2, "hidden": (8,), **fields})


def train(out: Path, vae: VAE | None = None, **options: Any) -> VAE:
    vae = vae or build()
    fit(vae, X, out=out, quiet=True, **{"epochs": 2, "batch_size": 9, **options})
    return vae


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    train(tmp_path / "run")
    return tmp_path / "run"


def test_a_run_holds_these_files_and_no_others(run: Path) -> None:
    assert list(files(run)) == [
        ".lock",
        "checkpoints/best/state.safetensors",
        "checkpoints/last/state.safetensors",
        "checkpoints/last-1/state.safetensors",
        "config.json",
        "environment.json",
        "history.jsonl",
        "log.txt",
        "model.safetensors",
        "preparation.json",
        "status.json",
    ]
    assert [line.split()[:2] for line in (run / "log.txt").read_text().splitlines()] == [
        ["epoch", "1/2"],
        ["epoch", "2/2"],
    ]
    facts = Run(run).environment
    assert facts["torch"] == torch.__version__
    assert facts["parameters"] == sum(p.numel() for p in build().parameters())
    assert facts["data"].startswith("array: ")
    assert Run(run).metrics == {}


def test_nothing_in_it_is_pickled(run: Path) -> None:
    for name, content in files(run).items():
        if name == ".lock":
            assert re.fullmatch(rb"\d+ \S+\n", content)  # the process that held it, and its machine
            continue
        assert Path(name).suffix in (".json", ".jsonl", ".txt", ".safetensors")
        if name.endswith(".safetensors"):
            length = int.from_bytes(content[:8], "little")
            json.loads(content[8 : 8 + length])  # a header of JSON; the rest are numbers
        else:
            assert content.isascii()
        # A pickle, or the zip archive of torch.save, would begin so.
        assert not content.startswith((b"\x80", b"PK"))
        with pytest.raises(Exception, match=r".*"):
            list(pickletools.genops(content))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"likelihood": "gaussian", "learn_scale": True, "output": "sigmoid", "likelihood_scale": 0.3},
        {"normalization": "batch", "activation": "silu", "decoder_hidden": (5, 7), "posterior_scale": "exp"},
        {"normalization": "layer", "hidden": (), "init": "affine", "latent_dim": 3},
    ],
    ids=["default", "gaussian", "batch norm", "affine"],
)
def test_loading_gives_the_same_model(fields: dict[str, Any], tmp_path: Path) -> None:
    vae = train(tmp_path / "run", build(**fields), validation=0.0)
    loaded = load(tmp_path / "run")
    assert loaded.config == vae.config
    assert (loaded.shape, loaded.scale) == (vae.shape, vae.scale)
    assert not loaded.training
    torch.testing.assert_close(dict(loaded.state_dict()), dict(vae.state_dict()), rtol=0, atol=0)
    torch.testing.assert_close(loaded.embed(X), vae.embed(X), rtol=0, atol=0)
    torch.testing.assert_close(loaded.reconstruct(X), vae.reconstruct(X), rtol=0, atol=0)


def test_the_configuration_rebuilds_the_model_and_says_what_was_done(run: Path) -> None:
    config = Run(run).config
    assert config.model.shape == (4, 4, 1)
    assert config.model.scale == 255.0
    assert (config.training.epochs, config.training.batch_size) == (2, 9)
    assert config.data.source == "array"
    assert VAE.build(config.model).state_dict().keys() == load(run).state_dict().keys()
    content = json.loads((run / "config.json").read_text())
    assert content.pop("format") == Config.FORMAT
    assert content == config.model_dump(mode="json")


def composed() -> VAE:
    torch.manual_seed(1)
    return VAE(MLP((4, 4, 1), (4,), [6]), MLP((2,), (4, 4, 1), [6]), StandardNormal(2), shape=(4, 4, 1))


def test_a_model_composed_in_python_must_be_built_again(tmp_path: Path) -> None:
    vae = train(tmp_path / "run", composed())
    assert Run(tmp_path / "run").custom_model
    with pytest.raises(UsageError, match=r"composed in Python.*into=vae"):
        load(tmp_path / "run")
    loaded = load(tmp_path / "run", into=composed())
    torch.testing.assert_close(loaded.embed(X), vae.embed(X), rtol=0, atol=0)


def test_weights_that_two_parts_share_are_kept(tmp_path: Path) -> None:
    def tied() -> VAE:
        vae = composed()
        vae.decoder[0].bias = vae.encoder[1].bias  # of the two hidden layers
        return vae

    vae = train(tmp_path / "run", tied())
    torch.testing.assert_close(load(tmp_path / "run", into=tied()).embed(X), vae.embed(X), rtol=0, atol=0)


# Folders that hold something else.


def test_a_folder_with_a_run_is_refused_unless_overwritten(run: Path) -> None:
    before = files(run)
    with pytest.raises(UsageError, match=r"already contains a run; .*elboroom resume .*--overwrite"):
        train(run)
    assert files(run) == before


def test_overwriting_removes_the_runs_files_and_keeps_strangers(run: Path) -> None:
    for name in ("metrics.json", "figures/old.png", "samples/old.png", "checkpoints/old/state.safetensors"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("old")
    (run / "notes.md").write_text("mine")
    (run / "papers").mkdir()
    (run / "papers" / "vae.pdf").write_text("mine too")
    train(run, epochs=1, overwrite=True)
    left = files(run)
    assert left.pop("notes.md") == b"mine"
    assert left.pop("papers/vae.pdf") == b"mine too"
    assert b"old" not in left.values()
    assert len(Run(run).history) == 1
    assert len((run / "log.txt").read_text().splitlines()) == 1


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_other_files_is_refused(overwrite: bool, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="contains files but no run"):
        train(tmp_path, overwrite=overwrite)
    assert files(tmp_path) == {"thesis.tex": b"years of work"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_anothers_config_json_is_no_run_to_overwrite(overwrite: bool, tmp_path: Path) -> None:
    # As in a model folder of transformers: names that are ours too, and not our files.
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "model.safetensors").write_text("weights of another")
    before = files(tmp_path)
    with pytest.raises(UsageError):
        train(tmp_path, overwrite=overwrite)
    assert files(tmp_path) == before


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    train(tmp_path / "a" / "b")
    train(tmp_path / "new" / "and" / "deep")


@pytest.mark.parametrize("below", ["", "deeper/"])
def test_a_file_in_the_way_is_an_error(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises((UsageError, FailureError), match="file"):
        train(tmp_path / "file" / below)
    assert files(tmp_path) == {"file": b""}


# Damage.


def edit_config(run: Path, **changes: Any) -> None:
    content = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**content, **changes}))


DAMAGE: dict[str, tuple[Any, str]] = {
    "no config": (lambda run: (run / "config.json").unlink(), "no run at .*no config.json"),
    "not JSON": (lambda run: (run / "config.json").write_text("{"), r"config\.json is damaged"),
    "not text": (lambda run: (run / "config.json").write_bytes(b"\xff\xfe"), r"config\.json is damaged"),
    "a list": (lambda run: (run / "config.json").write_text("[]"), "is damaged: .*not hold a JSON object"),
    "no format": (lambda run: edit_config(run, format=None), "has no format number"),
    "newer": (lambda run: edit_config(run, format=2), "has format 2, and .* reads formats up to 1; upgrade"),
    "unknown key": (lambda run: edit_config(run, training={"epoch": 3}), "did you mean 'epochs'"),
    "unknown section": (lambda run: edit_config(run, trainin={}), "did you mean 'training'"),
    "bad value": (lambda run: edit_config(run, model={"latent_dim": "two"}), "latent_dim"),
    "no weights": (lambda run: (run / "model.safetensors").unlink(), r"model\.safetensors is missing"),
    "cut": (
        lambda run: os.truncate(run / "model.safetensors", 300),
        r"model\.safetensors is damaged or cut short",
    ),
    "cut at the end": (
        lambda run: os.truncate(
            run / "model.safetensors", (run / "model.safetensors").stat().st_size - 1
        ),
        "damaged or cut short",
    ),
    "empty weights": (lambda run: os.truncate(run / "model.safetensors", 0), "damaged or cut short"),
    "a pickle": (
        lambda run: torch.save({"a": torch.zeros(1)}, run / "model.safetensors"),
        "damaged or cut short",
    ),
    "other shapes": (
        lambda run: write_tensors(run / "model.safetensors", build(hidden=(9,)).state_dict()),
        r"not fit the model: encoder\.1\.weight is \(9, 16\) and the model takes \(8, 16\); in all 6 tensors",
    ),
    "other names": (
        lambda run: write_tensors(run / "model.safetensors", {"weight": torch.zeros(1)}),
        "does not fit the model",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_run_is_an_error_in_one_line(name: str, run: Path) -> None:
    damage, words = DAMAGE[name]
    damage(run)
    with pytest.raises(UsageError, match=words) as error:
        load(run)
    assert "\n" not in str(error.value)
    assert str(run) in str(error.value) or name in ("unknown key", "unknown section", "bad value")


def test_there_is_no_run_where_there_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no run at .*there is no such folder"):
        load(tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("history.jsonl", lambda run: Run(run).history),
        ("metrics.json", lambda run: Run(run).metrics),
        ("environment.json", lambda run: Run(run).environment),
    ],
)
@pytest.mark.parametrize("content", [b'{"epoch": 1, "lo', b"\xff\xfe"])
def test_other_damaged_files_are_errors_too(content: bytes, name: str, read: Any, run: Path) -> None:
    (run / name).write_bytes(content)
    with pytest.raises(UsageError, match=name.replace(".", r"\.")):
        read(run)


def test_an_old_run_without_its_extra_files_still_loads(run: Path) -> None:
    for name in ("history.jsonl", "environment.json", "log.txt"):
        (run / name).unlink()
    assert (Run(run).history, Run(run).environment, Run(run).metrics) == ([], {}, {})
    load(run)


# Atomic writes.


def test_a_write_is_whole_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    write_atomic(path, "βeta")
    write_atomic(path, b"\x00\x01")
    assert files(tmp_path) == {"a/b.json": b"\x00\x01"}
    umask = os.umask(0o027)
    try:
        write_atomic(path, "x")
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize("function", ["fsync", "fdopen", "replace"])
def test_a_full_disk_leaves_the_old_file(
    function: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    write_atomic(path, "old")

    def full(*_: Any, **__: Any) -> None:
        raise FULL

    with monkeypatch.context() as patch:
        patch.setattr(*((Path, "replace") if function == "replace" else (os, function)), full)
        with pytest.raises(FailureError) as error:
            write_atomic(path, "new")
    assert (
        str(error.value) == f"cannot write {path}: No space left on device; free space or give another folder"
    )
    assert files(tmp_path) == {"model": b"old"}


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    write_atomic(path, "old")

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, "new")
    assert files(tmp_path) == {"model": b"old"}


def test_a_disk_that_fills_up_in_training_leaves_a_run_to_go_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "whole", epochs=3)
    count, flush = [0], os.fsync

    def fills_up(descriptor: int) -> None:
        count[0] += 1
        if count[0] > 9:
            raise FULL
        flush(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fills_up)
        with pytest.raises(FailureError, match="No space left on device"):
            train(tmp_path / "run", epochs=3)
    assert not [name for name in files(tmp_path / "run") if name.endswith(".part")]
    vae = build()
    fit(vae, X, out=tmp_path / "run", resume=True, quiet=True)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()


def test_safetensors_round_trip_with_metadata(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6).reshape(2, 3).T, "b": torch.tensor(0.5, dtype=torch.bfloat16)}
    write_tensors(tmp_path / "t", tensors, {"note": "β"})
    found, metadata = read_tensors(tmp_path / "t")
    assert metadata == {"note": "β"}
    torch.testing.assert_close(found, tensors, rtol=0, atol=0)


def test_metrics_and_log(run: Path) -> None:
    folder = Run(run)
    folder.write_metrics({"elbo": -1.5})
    folder.log("β")
    assert folder.metrics == {"elbo": -1.5}
    assert (run / "log.txt").read_text(encoding="utf-8").endswith("\nβ\n")


def test_a_run_keeps_how_its_examples_were_made_and_their_range(tmp_path: Path) -> None:
    vae = build(likelihood="gaussian")
    made = Preparation("folder", (("", PhotoSteps("crop", (4, 4), 1)),))
    x = np.linspace(-1, 1, 40 * 16, dtype=np.float32).reshape(40, 4, 4, 1)
    fit(vae, replace(load_data(x), preparation=made), out=tmp_path / "run", epochs=1, quiet=True)
    assert vae.value_range == (-1.0, 1.0)
    assert Run(tmp_path / "run").preparation == replace(made, value_range=(-1.0, 1.0))


def test_loading_brings_the_range_back(tmp_path: Path) -> None:
    x = np.linspace(0, 255, 40 * 16, dtype=np.float32).reshape(40, 4, 4, 1)
    fit(build(likelihood="gaussian"), x, out=tmp_path / "run", epochs=1, quiet=True)
    assert load(tmp_path / "run").value_range == (0.0, 255.0)


def test_a_run_of_version_0_1_loads_without_knowing_how_its_examples_were_made(run: Path) -> None:
    (run / "preparation.json").unlink()
    assert Run(run).preparation == Preparation()
    assert Run(run).model().value_range == (0.0, 1.0)
    train(run, epochs=3, resume=True)  # nothing stands in the way of going on
    assert (run / "preparation.json").exists()


def test_a_damaged_record_of_the_preparation_is_named(run: Path) -> None:
    (run / "preparation.json").write_text('{"kind": "array", "ways": [], "value_range": [1, 0]}')
    with pytest.raises(UsageError, match=r"preparation\.json is damaged: value_range"):
        Run(run).model()


def test_json_that_is_written_can_hold_no_nan() -> None:
    """Standard JSON has none: each place that writes some goes through json_text, or forbids them itself."""
    root = Path(elboroom.__file__).parent
    calls = [
        (path, node)
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.dump", "json.dumps")
    ]
    assert calls
    for path, call in calls:
        assert any(word.arg == "allow_nan" for word in call.keywords), f"{path}:{call.lineno}"
