"""``elboroom export``: what it writes and says, and what goes wrong around it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch

from elboroom import VAE, Config, fit, load
from elboroom.cli.commands.export import Export
from elboroom.cli.main import main
from elboroom.data import load_data
from elboroom.errors import FailureError, UsageError
from elboroom.exports import TARGETS, export, exporting, onnx_files
from elboroom.exports.networks import networks_of
from elboroom.training.prepare import build


def train(folder: Path, **options: Any) -> Path:
    data = load_data("digits")
    config = Config().updated(epochs=1, hidden=(4,), batches_per_epoch=2, validation=0.0, **options)
    fit(build(config, data), data, config=config, out=folder, quiet=True, overwrite=True)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("runs") / "digits", binarize="threshold")


def command(*words: Any) -> int:
    return main(["export", *map(str, words)])


def test_the_formats_of_the_command_are_those_of_the_table() -> None:
    literal, _ = get_args(get_type_hints(Export)["to"])
    assert get_args(literal) == tuple(TARGETS)


def test_a_run_is_exported_beside_itself(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(run, "--to", "pt2") == 0
    assert "pt2      decoder.pt2, encoder.pt2: equal to the model in every bit" in capsys.readouterr().err
    about = json.loads((run / "export/export.json").read_text())
    assert about["pixels"] == {
        **{"dtype": "uint8", "scale": 16.0, "cut_at_half": True},
        "black_and_white": [0.0, 1.0],
    }
    assert about["run"]["epochs"] == 1
    encoder = torch.export.load(run / "export/encoder.pt2").module()
    x = load_data("digits").x[:5]
    vae = load(run)
    mean, _ = encoder(torch.from_numpy(np.asarray(x)))
    assert torch.equal(mean, vae.embed((x >= 8).astype(np.float32)))
    assert command(run, "--to", "pt2") == 2
    said = capsys.readouterr().err
    assert "already contains an export; set --overwrite to replace it, or give another --out" in said
    assert command(run, "--to", "tf") == 2
    assert "--to tf" in capsys.readouterr().err


def test_a_run_that_is_trained_again_has_no_export_of_its_old_weights(tmp_path: Path) -> None:
    train(tmp_path / "run")
    (tmp_path / "run/export").mkdir()
    (tmp_path / "run/export/export.json").write_text("{}")
    train(tmp_path / "run")
    assert not (tmp_path / "run/export").exists()


def test_a_saved_model_is_exported_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae = VAE.build(shape=(4,), hidden=[8], scale=1.0)
    vae.save(tmp_path / "model.safetensors")
    export(tmp_path / "model.safetensors", tmp_path / "out", "pt2")
    x = torch.rand(3, 4)
    mean, _ = torch.export.load(tmp_path / "out/encoder.pt2").module()(x)
    assert torch.equal(mean, vae.embed(x))


def test_a_run_without_weights_is_refused_and_nothing_is_written(run: Path, tmp_path: Path) -> None:
    for name, content in (("none", None), ("half", b"\x10\x00\x00\x00")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_bytes((run / "config.json").read_bytes())
        if content is not None:
            (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(UsageError, match=r"model.safetensors"):
            export(folder, tmp_path / "out", "pt2")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vae = VAE.build(shape=(4,), hidden=[4])

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch.export, "save", full)
    with pytest.raises(
        FailureError, match=r"cannot write .*out: No space left on device; free space or give"
    ):
        export(vae, tmp_path / "out", "pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(FailureError, match=r"cannot write .*out: Permission denied"):
        export(VAE.build(shape=(4,), hidden=[4]), tmp_path / "out", "pt2")


def test_an_export_that_fails_leaves_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vae = VAE.build(shape=(4,), hidden=[4])
    export(vae, tmp_path / "out", "pt2")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    monkeypatch.setattr(torch.export, "save", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(vae, tmp_path / "out", "pt2", overwrite=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_null_character_is_no_place(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="null character"):
        export(VAE.build(shape=(4,), hidden=[4]), f"{tmp_path}/a\0b", "pt2")


def test_lacking_packages_are_named_with_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(UsageError, match=r"to = 'onnx' needs onnxscript; run pip install 'elboroom\[onnx\]'"):
        export(VAE.build(shape=(4,), hidden=[4]), tmp_path / "out")


def test_weights_above_the_limit_of_the_format_are_in_a_file_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ort = pytest.importorskip("onnxruntime", reason="onnxruntime, which runs ONNX files, is not here")
    monkeypatch.setattr(onnx_files, "MOST_BYTES", 1000)
    torch.manual_seed(0)
    vae = VAE.build(shape=(4,), hidden=[500], scale=1.0)
    network = networks_of(vae).encoder
    with vae.at_rest():
        onnx_files.write_onnx(network, tmp_path, "{}")
    assert {path.name for path in tmp_path.iterdir()} == {"encoder.onnx", "encoder.onnx.data"}
    graph, weights = ((tmp_path / f"encoder.onnx{end}").stat().st_size for end in ("", ".data"))
    assert graph < 4_000 < weights
    moved = tmp_path / "elsewhere"  # the file beside is found by its name
    moved.mkdir()
    for name in ("encoder.onnx", "encoder.onnx.data"):
        (tmp_path / name).rename(moved / name)
    x = np.random.default_rng(0).random((3, 4), np.float32)
    mean, _ = ort.InferenceSession(moved / "encoder.onnx").run(None, {"x": x})
    np.testing.assert_allclose(mean, vae.embed(x), rtol=0, atol=1e-5)


def test_the_help_needs_no_pytorch() -> None:
    code = (
        "import sys\nfrom elboroom.cli.main import main\n"
        "try:\n    main(['export', '--help'])\nexcept SystemExit:\n    pass\n"
        "print('torch' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.endswith("False\n")
    assert "--pixels" in said
