"""Every error is one line that says what to do, with its exit code, and leaves nothing half-done."""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from elboroom.io.tensors import write_tensors

from .conftest import SMALL, Command, Result, World


def assert_one_line(result: Result, code: int, words: str) -> None:
    assert len(result.lines) == 1, result.err
    assert result.lines[0].startswith("elboroom: ")
    assert re.search(words, result.err), result.err
    for never in ("Traceback", "unexpected", "(a bug"):
        assert never not in result.err
    assert result.code == code
    assert result.out == ""


def below(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if ".cache" not in path.parts}


# (options of train on images.npz, what the line says)
WRONG_OPTIONS = [
    ("--latent-dim 0", r"--latent-dim 0: must be at least 1"),
    ("--latent-dim 2.5", r"--latent-dim 2.5: must be a whole number"),
    ("--latent-dim", r"--latent-dim needs a value"),
    ("--beta -1", r"--beta -1: must be at least 0"),
    ("--lr nan", r"--lr nan: must be a finite number"),
    ("--lr 0", r"--lr 0: must be above 0"),
    ("--lr ten", r"--lr ten: must be a number"),
    ("--hidden 0", r"--hidden 0: must be at least 1"),
    ("--hidden 16 x", r"--hidden x: must be a whole number"),
    ("--batch-size 0", r"--batch-size 0: must be at least 1"),
    ("--epochs 0", r"--epochs 0: must be at least 1"),
    ("--seed -1", r"--seed -1: must be at least 0"),
    ("--seed 99999999999999999999999", r"--seed 9+: must be below"),
    ("--validation 1", r"--validation 1: must be below 1"),
    ("--betta 3", r"unknown option --betta; did you mean --beta\?"),
    ("--optimizer.lrr 3", r"unknown option --optimizer\.lrr"),
    ("--xyzzy", r"unknown option --xyzzy"),
    ("extra", r"too many arguments: 'extra'"),
    ("--likelihood gausian", r"--likelihood gausian: did you mean 'gaussian'"),
    ("--activation tan", r"--activation tan: did you mean 'tanh'"),
    ("--data.channels 2", r"--data\.channels 2"),
    ("--preset demoo", r"unknown preset 'demoo'; did you mean 'demo'\?"),
    ("--preset", r"--preset needs a value"),
    ("--config none.toml", r"cannot read the config none\.toml"),
    ("--device cuda:99", r"--device cuda:99 is not available; this machine has cpu"),
    ("--device gpu", r"--device gpu is not available; this machine has cpu"),
    ("--optimizer Adan", r"--optimizer Adan is not one of torch's; did you mean 'Adam'\?"),
    ("--optimizer LBFGS", r"--optimizer LBFGS is not one of torch's"),
    ("--optimizer-options momentum=0.9", r"Adam has no option 'momentum'"),
    ("--optimizer-options betas=[2,0]", r"Adam does not take --optimizer-options"),
    ("--optimizer-options betas=[0.9]", r"Adam does not take --optimizer-options"),
    ("--optimizer-options momentum", r"--optimizer-options momentum: must be 'key=value"),
    ("--lr-schedule CosineAnealingLR", r"--lr-schedule CosineAnealingLR.*did you mean 'CosineAnnealingLR'"),
    ("--lr-schedule StepLR", r"StepLR does not take --lr-schedule-options none: .*step_size"),
    ("--lr-schedule StepLR --lr-schedule-options step_size=0", r"StepLR does not take"),
    ("--lr-schedule CosineAnnealingLR --lr-schedule-options T_max=0", r"CosineAnnealingLR"),
    ("--beta-schedule cyclical --beta-ramp 30", r"--beta-ramp 30 epochs does not fit in --beta-period 20"),
    ("--data.pixel-scale 100", r"from 0 to 2\.5\d? lie outside \[0, 1\], .*train with --likelihood gaussian"),
    ("--model.normalization batch --batch-size 1", r"batch"),
]


@pytest.mark.parametrize(("options", "words"), WRONG_OPTIONS, ids=[options for options, _ in WRONG_OPTIONS])
def test_wrong_options(options: str, words: str, elboroom: Command, world: World, tmp_path: Path) -> None:
    result = elboroom("train", world.images, *SMALL, "--out", "out", *options.split())
    assert_one_line(result, 2, words)
    assert below(tmp_path) == set()


def test_patience_without_validation(elboroom: Command, tmp_path: Path) -> None:
    np.save("x.npy", np.zeros((9, 4), dtype=np.float32))
    result = elboroom("train", "x.npy", "--patience", "2", "--validation", "0", "--out", "out", *SMALL)
    assert_one_line(result, 2, r"--patience 2 needs validation examples; .*--validation 0\.1")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[trainin]\nepochs = 3", r"c\.toml: unknown section \[trainin\]; did you mean 'training'"),
        ("[training]\nepoch = 3", r"c\.toml: unknown option 'epoch' in .*did you mean 'epochs'"),
        ("[training]\nepochs = 'x'", r"c\.toml: epochs = 'x': must be a whole number"),
        ("epochs = 3", r"c\.toml: unknown section \[epochs\]"),
        ("epochs 3", r"c\.toml is not a TOML file"),
    ],
)
def test_wrong_config_files(content: str, words: str, elboroom: Command, world: World) -> None:
    Path("c.toml").write_text(content)
    assert_one_line(elboroom("train", world.images, "--config", "c.toml", "--out", "out"), 2, words)
    assert not Path("out").exists()


def _write_data(kind: str) -> str:
    rng = np.random.default_rng(0)
    Path("empty").mkdir()
    Path("words.txt").write_text("hello")
    np.savez("objects.npz", x=np.array([{}, []], dtype=object))
    x = rng.random((20, 4)).astype(np.float32)
    np.save("large.npy", x * 9 - 3)
    x[3, 1] = np.nan
    np.save("nan.npy", x)
    Path("cut.npz").write_bytes(Path("objects.npz").read_bytes()[:99])
    return {"missing": "nowhere/x.npy", "typing error": "digitz", "no name": ""}.get(kind, kind)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", r"no data set or path 'nowhere/x\.npy'"),
        ("typing error", r"no data set or path 'digitz': .*; did you mean 'digits'"),
        ("no name", r"no data set or path ''"),
        ("empty", r"empty: contains no images .*give a folder that does"),
        ("words.txt", r"words\.txt: a file ending in '\.txt' cannot be loaded"),
        (
            "objects.npz",
            r"objects\.npz: entry 'x': contains arrays of Python objects, which are never unpickled",
        ),
        ("cut.npz", r"cut\.npz: is damaged"),
        ("nan.npy", r"nan\.npy: 1 value\(s\) in 1 row\(s\) are nan.* row 3 .*remove or fill"),
        (
            "large.npy",
            r"large\.npy: values from -\d.* to \d.* lie outside \[0, 1\], .*train with --likelihood gaussian",
        ),
    ],
)
def test_wrong_data(kind: str, words: str, elboroom: Command) -> None:
    result = elboroom("train", _write_data(kind), "--out", "out", *SMALL)
    assert_one_line(result, 2, words)
    assert not Path("out").exists()


def test_no_data_named(elboroom: Command) -> None:
    assert_one_line(elboroom("train"), 2, "no data given: .*elboroom train mnist")


def test_a_local_file_cut_short(elboroom: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mnist").mkdir()
    for part in ("train", "t10k"):
        for kind in ("images-idx3", "labels-idx1"):
            whole = gzip.compress(os.urandom(5000))
            Path("mnist", f"{part}-{kind}-ubyte.gz").write_bytes(whole[: len(whole) // 2])
    monkeypatch.setenv("ELBOROOM_DATA", str(Path.cwd()))
    result = elboroom("train", "mnist", "--out", "out", *SMALL)
    assert_one_line(result, 2, r"-ubyte\.gz")
    assert not Path("out").exists()


# (command line, code, words); {run} and the like are paths of the world, and out is where it would write.
WRONG_COMMANDS = [
    ("trian mnist", r"unknown command 'trian'; did you mean 'train'\?"),
    ("xyzzy", r"unknown command 'xyzzy'; known: compare, completion, data"),
    ("data shwo x", r"unknown command 'data shwo'; did you mean 'show'\?"),
    ("resume", r"RUN is missing; see 'elboroom resume --help'"),
    ("resume nowhere", r"no run at nowhere: there is no such folder"),
    ("resume {folder}", r"no run at .*no config\.json"),
    ("resume {run} --epochs x", r"--epochs x: must be a whole number"),
    ("resume {run}", r"--epochs 2, and .* has 2 epochs already; give --epochs 3"),
    ("resume {run} --epochs 1", r"give --epochs 3 or higher"),
    ("resume {run} --epochs 5 --device cuda:99", r"--device cuda:99 is not available"),
    ("resume {run} --lr 3", r"unknown option --lr"),
    ("evaluate nowhere", r"no run at nowhere"),
    ("evaluate {run} --split tset", r"--split tset: did you mean 'test'"),
    ("evaluate {run} --num-samples -1", r"--num-samples -1: must be at least 0"),
    ("evaluate {run} --limit 0", r"--limit 0: must be at least 1"),
    ("evaluate {run} --data digits", r"examples of shape \(8, 8, 1\); the model takes \(6, 6, 1\)"),
    ("evaluate {run} --data nowhere", r"no data set or path 'nowhere'"),
    ("evaluate {photo_run} --split validation", r"has no validation examples; --split can be train, test"),
    ("evaluate {run} --device cuda:99", r"--device cuda:99 is not available"),
    ("figures {run} --only latnt --out out", r"unknown figure 'latnt'; did you mean 'latent'"),
    ("figures {run} --mark nowhere.png --out out", r"no image at nowhere\.png"),
    ("reconstruct {run} --out out", r"IMAGE|no image given"),
    ("reconstruct {run} nowhere.png --out out", r"no image at nowhere\.png"),
    ("reconstruct {run} {images}:60 --out out", r"images\.npz:60: .*has 60 examples; the index is 0 to 59"),
    ("reconstruct {run} :-1 --out out", r":-1: .*the index is 0 to 59"),
    ("reconstruct {run} :test:12 --out out", r"has 12 test examples; the index is 0 to 11"),
    ("reconstruct {run} digits:99999 --out out", r"digits|1,797"),
    ("reconstruct {run} digits:3 --out out", r"digits has examples of shape \(8, 8, 1\)"),
    ("reconstruct {run} {photos}/a/00.png --prepare none --out o", r"10×8 and the model takes 6×6; .*none"),
    ("reconstruct {run} {table} --out out", r"table\.csv"),
    ("reconstruct {table_run} {photos}/a/00.png --out out", r"rows of 3 numbers, not images; .*SET:INDEX"),
    ("sample {run} --n 0", r"--n 0: must be at least 1"),
    ("sample {run} --out s.jpg", r"--out s\.jpg: cannot write a \.jpg"),
    ("sample {run} --out s", r"--out s: cannot write a file without suffix; known: \.png, \.npy"),
    ("sample {table_run} --observe --out out.png", r"--observe needs images"),
    ("morph {run} :0", r"B is missing"),
    ("morph {run} :0 digits:1 --out m.gif", r"digits has examples of shape \(8, 8, 1\); the model takes"),
    ("morph {run} :0 :1 --steps 1 --out m.gif", r"--steps 1: must be at least 2"),
    ("morph {run} :0 :1 --milliseconds 0 --out m.gif", r"--milliseconds 0: must be at least 1"),
    ("morph {run} :0 :1 --out m.avi", r"cannot write a \.avi"),
    ("traverse {run} --dims 2 --out t.png", r"--dims 2: the model has latent dimensions 0 to 1"),
    ("traverse {run} --dims x --out t.png", r"--dims x: must be a whole number"),
    ("traverse {run} --span 0 --out t.png", r"--span 0.*: must be above 0"),
    ("traverse {run} --span nan --out t.png", r"--span nan: must be above 0"),
    ("traverse {run} --span 1e300 --out t.png", r"--span 1e\+300: must be above 0 and at most 1e\+06"),
    ("morph {run} 0:mean --toward 1 --strength -1e300 --out m.gif", r"-1e\+300: must be a finite number"),
    ("morph {run} :0 :1 --milliseconds 65536 --out m.gif", r"--milliseconds 65536: must be at most 65535"),
    ("morph {run} :0 :1 --seed 99999999999999999999 --out m.gif", r"--seed 9+: must be below"),
    ("sample {run} --seed 99999999999999999999", r"--seed 9+: must be below"),
    ("sample {run} --seed -1", r"--seed -1: must be at least 0"),
    ("neighbours {run} :0 --seed 99999999999999999999", r"--seed 9+: must be below"),
    ("sample {run} --label -0.5,1 --out s.npy", r"--label -0.5,1: this run's model is not conditional"),
    ("sample {run} -- --n 3", r"--n comes after '--', which ends the options; put it before"),
    ("traverse {run} --out t.gif", r"cannot write a \.gif"),
    ("embed {run} --out z.txt", r"--out z\.txt: cannot write a \.txt"),
    ("embed {run} digits --out z.npy", r"digits has examples of shape \(8, 8, 1\); the model takes"),
    ("data show nowhere", r"no data set or path 'nowhere'"),
    ("data import-haskell nowhere --out out", r"cannot read nowhere_front_nn_info\.txt"),
    ("data import-haskell nowhere", r"--out is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "words"), WRONG_COMMANDS, ids=[line for line, _ in WRONG_COMMANDS])
def test_wrong_commands(line: str, words: str, elboroom: Command, world: World, tmp_path: Path) -> None:
    before = below(world.folder)
    names = re.findall(r"{(\w+)}", line)
    paths = {name: world.folder if name == "folder" else getattr(world, name) for name in names}
    assert_one_line(elboroom(*(word.format(**paths) for word in line.split())), 2, words)
    assert below(tmp_path) == set()
    assert below(world.folder) == before


def test_an_output_that_is_in_the_way(elboroom: Command, world: World) -> None:
    before = {path: path.read_bytes() for path in world.run.rglob("*") if path.is_file()}
    taken = elboroom("train", world.images, "--out", world.run)
    assert_one_line(taken, 2, r"already contains a run; .*elboroom resume .*--overwrite")
    assert {path: path.read_bytes() for path in world.run.rglob("*") if path.is_file()} == before
    Path("file").write_text("mine")
    assert_one_line(
        elboroom("train", world.images, "--out", "file"), 2, "file is a file; give a folder as --out"
    )
    assert Path("file").read_text() == "mine"
    Path("full").mkdir()
    Path("full/notes").write_text("mine")
    full = elboroom("train", world.images, "--out", "full", "--overwrite")
    assert_one_line(full, 2, "full contains files but no run")
    assert below(Path("full")) == {"full/notes"}
    for line in ("sample {} --out file/s.png", "embed {} --out file/z.npy", "reconstruct {} :0 --out file"):
        assert_one_line(elboroom(*line.format(world.run).split()), 1, "file")


def _newer(run: Path) -> None:
    content = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**content, "format": 99}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_newer, r"has format 99, and elboroom .* reads formats up to 1; upgrade elboroom"),
        (lambda run: (run / "config.json").write_text("{"), r"config\.json is damaged"),
        (
            lambda run: os.truncate(run / "model.safetensors", 500),
            r"model\.safetensors is damaged or cut short",
        ),
        (
            lambda run: write_tensors(run / "model.safetensors", {"a": torch.zeros(1)}),
            r"model\.safetensors does not fit the model",
        ),
        (lambda run: (run / "model.safetensors").unlink(), r"model\.safetensors is missing"),
        (lambda run: (run / "environment.json").write_text("?"), r"environment\.json is damaged"),
    ],
    ids=["newer", "config", "cut", "other weights", "no weights", "environment"],
)
def test_damaged_runs(damage: Any, words: str, elboroom: Command, world: World) -> None:
    shutil.copytree(world.run, "run")
    damage(Path("run"))
    assert_one_line(elboroom("evaluate", "run", "--num-samples", "2"), 2, words)


@pytest.mark.parametrize(
    ("which", "what"), [("last", "continuing from last-1, of"), ("best", "resuming does not need it")]
)
@pytest.mark.parametrize("left", [0, 700])
def test_damaged_checkpoints(
    which: str, what: str, left: int, elboroom: Command, world: World, undrawn: None
) -> None:
    shutil.copytree(world.run, "run")
    os.truncate(f"run/checkpoints/{which}/state.safetensors", left)
    result = elboroom("resume", "run", "--epochs", "4", "--quiet")
    notes = [line for line in result.lines if line.startswith("elboroom: ")]
    assert len(notes) == 1
    assert re.search(rf"checkpoints/{which}/state\.safetensors is damaged or cut short \(.*{what}", notes[0])
    assert result.code == 0


def test_a_damaged_history(elboroom: Command, world: World) -> None:
    shutil.copytree(world.run, "run")
    Path("run/history.jsonl").write_text('{"epoch": 1, "lo')
    assert_one_line(elboroom("figures", "run", "--only", "loss"), 2, r"history\.jsonl")


def test_data_that_changed(elboroom: Command, world: World, undrawn: None) -> None:
    np.save("x.npy", np.random.default_rng(0).random((30, 4)))
    assert elboroom("train", "x.npy", "--out", "run", "--validation", "0", *SMALL).code == 0
    np.save("x.npy", np.random.default_rng(1).random((30, 4)))
    assert_one_line(elboroom("resume", "run", "--epochs", "3"), 2, "is not what run was trained on")
    assert_one_line(elboroom("evaluate", "run"), 2, "has changed since run was trained: restore the old data")
    np.save("x.npy", np.random.default_rng(1).random((30, 5)))
    assert_one_line(elboroom("resume", "run", "--epochs", "3"), 2, r"\(5,\)")
    Path("x.npy").unlink()
    assert_one_line(
        elboroom("resume", "run", "--epochs", "3"),
        2,
        r"the data of run are not at .*x\.npy; if they have moved",
    )


def test_a_disk_that_is_full_from_the_start(
    elboroom: Command, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = elboroom("train", world.images, "--out", "out", *SMALL)
    assert result.code == 1
    words = (
        "elboroom: cannot write out/config.json: No space left on device; free space or give another folder"
    )
    assert result.lines[-1] == words
    assert [path for path in below(Path.cwd()) if Path(path).is_file()] == []


def test_a_file_too_large_for_the_disk_leaves_the_old_one(elboroom: Command, world: World) -> None:
    # A real refusal of the system's: 4 images fit below the limit and 64 do not.
    assert elboroom("sample", world.run, "--n", "4", "--out", "s.npy").code == 0
    before = Path("s.npy").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
        result = elboroom("sample", world.run, "--n", "64", "--out", "s.npy", "--overwrite")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_one_line(result, 1, r"cannot write s\.npy: File too large; free space")
    assert Path("s.npy").read_bytes() == before
    assert below(Path.cwd()) == {str(Path.cwd() / "s.npy")}


def test_divergence(elboroom: Command, world: World) -> None:
    result = elboroom("train", world.images, "--lr", "1e30", "--out", "out", *SMALL)
    assert result.code == 1
    assert re.match(
        r"elboroom: .*training has diverged, .*lower --lr\. out has a checkpoint of step 0",
        result.lines[-1],
    )


def test_an_image_that_is_none(elboroom: Command, world: World) -> None:
    Path("x.png").write_bytes(b"not an image")
    Image.new("L", (6, 6)).save("good.png")
    whole = Path("good.png").read_bytes()
    Path("cut.png").write_bytes(whole[: len(whole) // 2])
    for name in ("x.png", "cut.png"):
        assert_one_line(
            elboroom("reconstruct", world.run, name, "--out", "out"), 2, f"{name}: .*save it again"
        )
    assert not Path("out").exists()


def test_a_fault_of_ours_is_one_line_too_and_can_be_traced(
    elboroom: Command, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("elboroom.cli.inputs.run_data.run_data", broken)
    result = elboroom("evaluate", world.run)
    assert (result.code, len(result.lines)) == (1, 1)
    assert (
        "unexpected ZeroDivisionError: two lines (a bug; ELBOROOM_TRACEBACK=1 shows the traceback)"
        in result.err
    )
    monkeypatch.setenv("ELBOROOM_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        elboroom("evaluate", world.run)


def test_results_in_an_encoding_without_their_signs_are_escaped(world: World) -> None:
    plain = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "elboroom", "evaluate", str(world.run), "--num-samples", "3"]
    done = subprocess.run([*command, "--out", "m.json"], env=plain, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "\\xb1" in done.stdout
