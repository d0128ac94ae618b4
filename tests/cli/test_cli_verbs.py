"""What each verb leaves: files, numbers, and what it prints."""

from __future__ import annotations

import csv
import inspect
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from elboroom.cli.commands.train import Train
from elboroom.cli.verbs import VERBS
from elboroom.config import Config, preset_names, read_preset
from elboroom.data import load_data
from elboroom.runs.run import Run, load

from .conftest import SMALL, Command, World

KEYS = """
elbo elbo_stderr distortion distortion_stderr rate rate_stderr
likelihood_of
nll nll_stderr nll_estimator nll_num_samples nll_bias nll_ess nll_pareto_k nll_unreliable nll_verdict
bits_per_dim bits_per_dim_of bits_per_dim_reason active_units examples split data source limit seed precision
"""


def files(folder: str | Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def pixels(path: str | Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        return np.asarray(image)


def is_picture(path: str | Path, kind: str = "PNG") -> bool:
    with Image.open(path) as image:
        image.load()
        return image.format == kind and min(image.size) > 0


# train


def test_training_on_digits_leaves_a_run_with_all_its_pictures(elboroom: Command) -> None:
    result = elboroom("train", "digits", *SMALL[:-3], "--figures-every", 1, "--validation", 0)
    assert result.code == 0
    assert "digits: 1,617 train, 180 test, 8×8×1 uint8, 10 labels" in result.err
    # 1e-0 in units of a mean over 64 pixels, and over a batch of 16 besides.
    assert "the binary cross-entropy averaged over batch and dimensions, the same weight" in result.err
    assert "is 0.0156, or 0.000977 if the KL is summed over the batch." in result.err
    assert "2 epochs of 102 steps into runs/digits" in result.err
    (names,) = re.findall(r"^pictures +runs/digits/figures: (.*)$", result.err, re.MULTILINE)
    assert sorted(names.split(", ")) == [name for name in files("runs/digits/figures") if "/" not in name]
    drawn = {f"runs/digits/figures/{name}" for name in names.split(", ")}
    assert {Path(name).stem for name in drawn} >= {
        "loss", "reconstructions", "latent", "manifold", "morph", "traversals", "samples", "loss_histogram",
    }  # fmt: skip
    assert all(is_picture(name, Path(name).suffix[1:].upper()) for name in drawn)
    assert "progress/epoch_0001.png" in files("runs/digits/figures")
    run = Run("runs/digits")
    assert [row["step"] for row in run.history] == [102, 204]
    assert run.metrics["split"] == "test"
    assert run.metrics["nll"] is None
    assert result.out.splitlines() == [
        f"test       ELBO {run.metrics['elbo']:.2f} ± {run.metrics['elbo_stderr']:.2f} "
        f"= -(distortion {run.metrics['distortion']:.2f} + rate {run.metrics['rate']:.2f}) nats",
        "latent     2 of 2 dimensions active",
        "weights    from epoch 2, the last; there are no validation examples to select by",
        "run        runs/digits",
    ]
    assert run.status.state == "finished"
    assert run.environment["command"]
    assert [path.name for path in Path("runs").rglob(".*")] == [".lock"]  # which stays, free


def test_what_is_held_out_by_default_is_held_out_once(elboroom: Command, undrawn: None) -> None:
    result = elboroom("train", "digits", "--out", "run", *SMALL[:-1])
    announced = result.lines[0]
    assert "1,455 train, 162 validation, 180 test" in announced
    run = Run("run")
    assert run.environment["data"] == announced
    assert f"epochs of {run.history[0]['step']} steps" in result.err
    assert elboroom("evaluate", "run", "--num-samples", 1).code == 0
    assert elboroom("resume", "run", "--epochs", 3, "--quiet").code == 0


def test_folders_are_numbered_unless_named(elboroom: Command, world: World, undrawn: None) -> None:
    for _ in range(3):
        assert elboroom("train", world.images, *SMALL).code == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["images", "images-2", "images-3"]


@pytest.mark.parametrize("where", [".", ".."])
def test_a_folder_named_by_dots_gets_a_run_below_runs(
    where: str, elboroom: Command, world: World, undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(world.photos, "here/there", dirs_exist_ok=True)
    shutil.copytree(world.photos, "here", dirs_exist_ok=True)
    monkeypatch.chdir("here/there")
    assert elboroom("train", where, *SMALL).code == 0
    (found,) = Path().rglob("config.json")
    assert found.parent.parent == Path("runs")


def test_overwriting(elboroom: Command, world: World, undrawn: None) -> None:
    shutil.copytree(world.run, "run")
    Path("run/notes.md").write_text("mine")
    assert elboroom("train", world.images, "--out", "run", "--overwrite", *SMALL, "--beta", 4).code == 0
    assert Run("run").config.objective.beta == 4
    assert Path("run/notes.md").read_text() == "mine"


def test_other_kinds_of_data(world: World) -> None:
    table, photos = Run(world.table_run), Run(world.photo_run)
    assert table.config.model.shape == (3,)
    assert table.config.model.likelihood == "gaussian"
    assert photos.config.model.shape == (8, 10, 3)
    assert photos.config.model.scale == 255
    assert "2 labels" in table.environment["data"]
    assert "2 labels" in photos.environment["data"]


def test_quiet_prints_results_and_nothing_else(elboroom: Command, world: World, undrawn: None) -> None:
    loud = elboroom("train", world.images, "--out", "a", *SMALL[:-1])
    quiet = elboroom("train", world.images, "--out", "b", *SMALL)
    assert "epoch 2/2  loss" in loud.err
    assert quiet.err == ""
    assert quiet.out.splitlines()[:-1] == loud.out.splitlines()[:-1]
    assert [line.split()[0] for line in quiet.out.splitlines()] == ["test", "latent", "weights", "run"]


def test_the_epoch_whose_weights_were_kept_is_named(elboroom: Command, undrawn: None) -> None:
    # At this learning rate the first epoch is the best.
    result = elboroom("train", "digits", "--out", "run", "--lr", 0.5, "--ema", 0.5, "--seed", 1, *SMALL)
    rows = Run("run").history
    best = max(rows, key=lambda row: row["val_elbo"])
    kept = f"weights    from epoch {best['epoch']} of 2, which has the best validation ELBO"
    assert f"{kept}, {best['val_elbo']:.2f}; averaged with --ema 0.5\n" in result.out


# Where settings come from.


@pytest.fixture
def settings(elboroom: Command, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Parse a command line of train and return the configuration it would train with."""

    def parse(*argv: Any) -> Config:
        found: list[Config] = []
        monkeypatch.setattr(Train, "__call__", lambda train: found.append(train.configuration))
        result = elboroom("train", *argv)
        assert result.code == 0, result.err
        return found[0]

    return parse


def test_the_command_line_goes_before_the_file_and_that_before_the_preset(settings: Any) -> None:
    Path("c.toml").write_text("[training]\nbatch_size = 7\nepochs = 8\n[objective]\nbeta = 3\n")
    given = ("digits", "--preset", "haskell-mnist", "--config", "c.toml", "--epochs", 9)
    for order in (given, (*given[3:], *given[:3])):
        config = settings(*order)
        assert config.data.source == "digits"  # the preset says mnist
        assert (config.training.epochs, config.training.batch_size, config.objective.beta) == (9, 7, 3)
        assert config.training.batches_per_epoch == 100  # of the preset
        assert config.optimizer.optimizer_options == {"eps": 1e-6}  # of the mean over pixels, as is beta_unit
    assert settings("--preset=haskell-mnist", "--config=c.toml").training.epochs == 8


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_is_taken_as_it_is(name: str, settings: Any) -> None:
    assert settings("--preset", name) == read_preset(name)


def test_every_field_is_an_option(settings: Any) -> None:
    config = settings(
        "digits",
        "--hidden",
        10,
        20,
        "--model.decoder-hidden",
        5,
        "--model.learn-scale",
        "shared",
        "--likelihood",
        "gaussian",
        "--optimizer-options",
        "betas=[0.8, 0.9], amsgrad=true",
        "--clip",
        2,
        "--binarize",
        "threshold",
        "--data.size",
        8,
        "--data.channels",
        1,
        "--model.init",
        "xavier",
        "--patience",
        3,
    )
    assert (config.model.hidden, config.model.decoder_hidden) == ((10, 20), (5,))
    assert config.model.learn_scale == "shared"
    assert config.optimizer.optimizer_options == {"betas": [0.8, 0.9], "amsgrad": True}
    assert (config.optimizer.clip, config.data.binarize, config.training.patience) == (2, "threshold", 3)


# --help


def _options(verb: str) -> list[str]:
    """Spell the options of a verb from its signature, or from the configuration's fields."""
    if verb not in ("train", "compare"):
        parameters = inspect.signature(VERBS[verb]).parameters.values()
        names = [p.name for p in parameters if "CallableType" not in str(p.annotation)]
        return [name.replace("_", "-") for name in names]
    fields = [
        name for section in Config.model_fields for name in type(getattr(Config(), section)).model_fields
    ]
    hidden = {"source", "shape", "scale", "condition_dim", "condition_names", "condition_ids", "columns"}
    hidden |= {"critic_start_epochs", "critic_wakes_epochs"}
    own = ["recipe", "devices"] if verb == "train" else ["recipes", "seeds", "nll-samples"]
    settings = [name.replace("_", "-") for name in fields if name not in hidden]
    return ["out", "preset", "config", *own, *settings]


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_every_option(verb: str, elboroom: Command) -> None:
    result = elboroom(*verb.split(), "--help-all")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"usage: elboroom {verb} ")
    positional = {
        "run",
        "images",
        "a",
        "b",
        "source",
        "sources",
        "base",
        "folder",
        "folders",
        "name",
        "shell",
        "target",
    } | ({"data"} if verb in ("embed", "score", "impute") else set())
    for option in set(_options(verb)) - positional:
        assert re.search(rf"--(no-)?([a-z]+\.)?{option}\b", result.out), option


@pytest.mark.parametrize("argv", [(), ("--help",), ("-h",), ("help",)])
def test_the_overview_names_every_verb(argv: tuple[str, ...], elboroom: Command) -> None:
    result = elboroom(*argv)
    assert (result.code, result.err) == (0, "")
    for verb in VERBS:
        assert re.search(rf"^  {verb} +\S", result.out, re.MULTILINE)


def test_versions_and_the_verbs_of_data(elboroom: Command) -> None:
    assert re.fullmatch(r"elboroom \d+\.\d+\.\d+\n", elboroom("--version").out)
    assert all(name in elboroom("data").out for name in ("list", "show", "import-haskell"))


# evaluate


@pytest.mark.parametrize(
    ("options", "num_samples", "examples", "split"),
    [
        (("--num-samples", 50), 50, 12, "test"),
        (("--num-samples", 0), 0, 12, "test"),
        (("--num-samples", 3, "--split", "train", "--limit", 7), 3, 7, "train"),
        (("--num-samples", 2, "--split", "all"), 2, 60, "all"),
        (("--num-samples", 2, "--split", "validation"), 2, 8, "validation"),
    ],
)
def test_evaluate_prints_one_object_and_keeps_it(
    options: tuple[Any, ...], num_samples: int, examples: int, split: str, elboroom: Command, world: World
) -> None:
    shutil.copytree(world.run, "run")
    result = elboroom("evaluate", "run", "--json", *options)
    assert result.code == 0
    found = json.loads(result.out)
    assert result.out.count("\n") == 1
    assert sorted(found) == sorted(KEYS.split())
    assert (found["nll_num_samples"], found["examples"], found["split"]) == (num_samples, examples, split)
    assert found["elbo"] == -(found["distortion"] + found["rate"])
    if num_samples:
        # Of the same draws, but for the rate, which is exact.
        assert found["nll"] <= -found["elbo"] + 5 * found["elbo_stderr"]
    else:
        assert found["nll"] is found["nll_stderr"] is None
    kept = Run("run").metrics
    if options[2:] == ():  # of all test examples
        assert kept == found
    else:
        assert kept["others"] == [found]


def test_evaluate_prints_a_table_of_the_same_numbers(elboroom: Command, world: World) -> None:
    shutil.copytree(world.run, "run")
    found = json.loads(elboroom("evaluate", "run", "--json", "--num-samples", 5).out)
    again = elboroom("evaluate", "run", "--num-samples", 5)
    assert again.code == 0
    for name in ("elbo", "distortion", "rate", "nll", "nll_stderr"):
        assert f"{found[name]:.3f}" in again.out
    assert "12 test examples, nats per example" in again.out
    other = json.loads(elboroom("evaluate", "run", "--json", "--num-samples", 5, "--seed", 1).out)
    assert (other["rate"], other["active_units"]) == (found["rate"], found["active_units"])
    assert other["nll"] != found["nll"]


def test_evaluate_on_other_data(elboroom: Command, world: World) -> None:
    shutil.copytree(world.run, "run")
    np.savez("other.npz", images=np.full((20, 6, 6), 128, dtype=np.uint8))
    result = elboroom("evaluate", "run", "--json", "--data", "other.npz", "--num-samples", 2)
    assert result.code == 0, result.err
    assert (json.loads(result.out)["data"], json.loads(result.out)["examples"]) == ("other.npz", 2)


# Pictures.


def test_figures_by_name(elboroom: Command, world: World) -> None:
    Image.new("L", (6, 6), 99).save("friend.png")
    result = elboroom(
        "figures", world.run, "--only", "loss_histogram", "latent", "--mark", "friend.png", ":3", "--out", "f"
    )
    assert result.code == 0, result.err
    assert files("f") == ["latent.png", "loss_histogram.png"]
    assert all(is_picture(f"f/{name}") for name in files("f"))


def test_reconstructions_are_the_models(elboroom: Command, world: World) -> None:
    data, vae = load_data(str(world.images)), load(world.run)
    Image.fromarray(np.asarray(data.x[4])[..., 0]).save("four.png")
    result = elboroom("reconstruct", world.run, "four.png", ":test:2", "--out", "r")
    assert result.code == 0, result.err
    made = [name for name in files("r") if name != "reconstruct.png"]
    assert len(made) == 2
    assert is_picture("r/reconstruct.png")
    third = data.indices("test")[2]
    for name, row in (
        (next(n for n in made if "four" in n), 4),
        (next(n for n in made if "four" not in n), third),
    ):
        expected = vae.reconstruct(data.values(np.array([row])))[0, ..., 0].numpy() * 255
        # Brought to whole numbers, by whatever rounding.
        assert np.abs(pixels(f"r/{name}").astype(float) - expected).max() <= 1
    error = np.square(vae.reconstruct(data.values(np.array([4]))).numpy() - data.values(np.array([4]))).mean()
    assert f"mean squared error {error:.5f}" in result.out


def test_an_image_of_another_size_is_resized(elboroom: Command, world: World) -> None:
    photo = world.photos / "a" / "00.png"
    assert elboroom("reconstruct", world.run, photo, "--out", "r").code == 0
    assert files("r") == ["00-reconstruction.png", "reconstruct.png"]
    assert pixels("r/00-reconstruction.png").shape == (6, 6)


def test_no_reconstruction_lands_on_another_or_outside_of_the_folder(elboroom: Command, world: World) -> None:
    for name in ("x/a.png", "y/a.png", "a-2.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.new("L", (6, 6), len(name)).save(name)
    shutil.copy(world.images, "images.npz")
    before = set(files("."))
    named = ["x/a.png", "y/a.png", "a-2.png", f"{Path('images.npz').resolve()}:3", "x/../images.npz:4"]
    result = elboroom("reconstruct", world.run, *named, "--out", "r")
    assert result.code == 0, result.err
    assert {name for name in set(files(".")) - before if not name.startswith("r/")} == set()
    assert len(files("r")) == len(named) + 1


def test_samples(elboroom: Command, world: World) -> None:
    for name in ("a.npy", "b.npy"):
        assert elboroom("sample", world.run, "--n", 5, "--seed", 3, "--out", name).code == 0
    assert Path("a.npy").read_bytes() == Path("b.npy").read_bytes()
    means, vae = np.load("a.npy"), load(world.run)
    torch.manual_seed(3)
    np.testing.assert_array_equal(means, vae.sample(5).numpy())
    assert elboroom("sample", world.run, "--n", 5, "--seed", 3, "--observe", "--out", "o.npy").code == 0
    assert set(np.unique(np.load("o.npy"))) == {0, 1}
    assert elboroom("sample", world.run, "--n", 5, "--seed", 4, "--out", "b.npy", "--overwrite").code == 0
    assert not np.array_equal(means, np.load("b.npy"))
    for options in ((), ("--observe", "--overwrite")):
        assert elboroom("sample", world.run, "--n", 5, "--out", "new/s.png", *options).code == 0
        assert is_picture("new/s.png")


def test_morphs(elboroom: Command, world: World) -> None:
    shutil.copytree(world.run, "run")
    assert elboroom("morph", "run", ":0", ":1", "--steps", 5, "--milliseconds", 40).code == 0
    with Image.open("run/figures/morph.gif") as animation:
        assert (animation.format, animation.n_frames) == ("GIF", 8)  # there and back, the ends once
        animation.seek(1)
        assert animation.info["duration"] == 40
    assert elboroom("morph", "run", ":0", ":1", "--steps", 5, "--out", "m.png").code == 0
    assert is_picture("m.png")


def test_traversals(elboroom: Command, world: World) -> None:
    assert elboroom("traverse", world.photo_run, "--out", "t.png", "--dims", 2, 0, "--steps", 4).code == 0
    assert is_picture("t.png")
    line = ("traverse", world.photo_run, "--at", ":test:0", "--out", "at.png", "--steps", 4, "--span", 1.5)
    assert elboroom(*line).code == 0
    assert Path("at.png").read_bytes() != Path("t.png").read_bytes()


def test_rows_of_numbers_can_be_drawn_too(elboroom: Command, world: World) -> None:
    for line in ("reconstruct {} :0 :1 --out r", "sample {} --out s.png", "traverse {} --out t.png",
                 "morph {} :0 :1 --out m.png", "figures {} --only latent samples --out f"):  # fmt: skip
        result = elboroom(*line.format(world.table_run).split())
        assert result.code == 0, result.err
    assert files("r") == ["reconstruct.png"]
    assert elboroom("sample", world.table_run, "--n", 3, "--out", "s.npy").code == 0
    assert np.load("s.npy").shape == (3, 3)


# embed


def test_codes_are_those_of_embed(elboroom: Command, world: World) -> None:
    data = load_data(str(world.images))
    expected = load(world.run).embed(data.values(np.arange(60))).numpy()
    for suffix in ("npy", "npz", "csv"):
        result = elboroom("embed", world.run, "--out", f"z.{suffix}")
        assert result.code == 0
        assert "60 codes of 2 numbers" in result.err
    np.testing.assert_array_equal(np.load("z.npy"), expected)
    with np.load("z.npz") as archive:
        np.testing.assert_array_equal(archive["z"], expected)
        np.testing.assert_array_equal(archive["labels"], data.labels)
        np.testing.assert_array_equal(archive["split"], data.split)
    with Path("z.csv").open() as file:
        header, *lines = csv.reader(file)
    assert header == ["row", "z0", "z1", "label"]
    assert [line[0] for line in lines] == [str(row) for row in range(60)]
    assert [line[3] for line in lines] == [str(label) for label in data.labels]
    # Seven digits are written.
    np.testing.assert_allclose(np.array(lines)[:, 1:3].astype(float), expected, rtol=1e-6)


def test_codes_say_which_row_they_are_of(elboroom: Command, world: World) -> None:
    Path("t.csv").write_text(",a,b,c,label\nx,1,2,3,cat\ny,,2,3,cat\nz,4,5,6,dog\nw,7,8,9,dog\n")
    for suffix in ("csv", "npz", "npy"):
        result = elboroom("embed", world.table_run, "t.csv", "--out", f"z.{suffix}")
        assert result.code == 0
        place = result.lines.index("warning: 1 of 4 (25%) are left out")
        assert "line 3 has nothing in column 'a'" in result.lines[place + 1]
    rows = [line.split(",")[:2] for line in Path("z.csv").read_text().splitlines()]
    assert rows == [["row", "name"], ["0", "x"], ["2", "z"], ["3", "w"]]
    assert Path("z.rows.csv").read_text() == "row,name,label\n0,x,cat\n2,z,dog\n3,w,dog\n"
    with np.load("z.npz") as archive:
        assert archive["row"].tolist() == [0, 2, 3]
        assert archive["name"].tolist() == ["x", "z", "w"]
        np.testing.assert_array_equal(archive["z"], np.load("z.npy"))


def test_codes_of_photos_say_which_file_they_are_of(elboroom: Command, world: World) -> None:
    shutil.copytree(world.photos, "photos")
    Path("photos/a/02.png").write_bytes(b"no image")
    names = sorted(f"{path.parent.name}/{path.name}" for path in Path("photos").rglob("*.png"))
    names.remove("a/02.png")
    for _ in range(2):  # the second time from the cache
        assert elboroom("embed", world.photo_run, "photos", "--out", "z.csv", "--overwrite").code == 0
        lines = [line.split(",")[1] for line in Path("z.csv").read_text().splitlines()]
        assert lines == ["name", *names]


def test_codes_of_other_data_and_their_labels(elboroom: Command, world: World) -> None:
    assert elboroom("embed", world.table_run, "--out", "z.csv").code == 0
    lines = Path("z.csv").read_text().splitlines()
    truth = [line.rsplit(",", 1)[1] for line in world.table.read_text().splitlines()[1:]]
    assert [line.rsplit(",", 1)[1] for line in lines[1:]] == truth
    np.save("other.npy", np.zeros((3, 6, 6), dtype=np.uint8))
    assert elboroom("embed", world.run, "other.npy", "--out", "z.npy").code == 0
    assert np.load("z.npy").shape == (3, 2)


@pytest.mark.parametrize(
    ("line", "start"),
    [
        ("embed {} --out z.NPY", b"\x93NUMPY"),
        ("embed {} --out z.NPZ", b"PK"),
        ("sample {} --n 2 --out s.NPY", b"\x93NUMPY"),
        ("morph {} :0 :1 --steps 3 --out m.PNG", b"\x89PNG"),
        ("morph {} :0 :1 --steps 3 --out m.GIF", b"GIF"),
    ],
)
def test_a_suffix_in_capitals_means_the_same(
    line: str, start: bytes, elboroom: Command, world: World
) -> None:
    words = line.format(world.run).split()
    assert elboroom(*words).code == 0
    assert Path(words[-1]).read_bytes().startswith(start)


# resume and data


def test_resuming_goes_on_to_the_epoch_named(elboroom: Command, world: World, undrawn: None) -> None:
    shutil.copytree(world.run, "run")
    result = elboroom("resume", "run", "--epochs", 4)
    assert result.code == 0
    assert [line.split()[1] for line in result.lines if line.startswith("epoch")] == ["3/4", "4/4"]
    assert len(Run("run").history) == Run("run").config.training.epochs == 4
    assert elboroom("train", world.images, "--out", "whole", *SMALL, "--epochs", 4).code == 0
    assert Path("run/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()
    assert Run("run").metrics == Run("whole").metrics


def test_a_run_works_from_another_folder(
    elboroom: Command, world: World, undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(world.images, "images.npz")
    assert elboroom("train", "images.npz", "--out", "run", *SMALL).code == 0
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert elboroom("evaluate", "../run", "--num-samples", 1).code == 0


def test_data_list_and_show(elboroom: Command, world: World) -> None:
    listed = elboroom("data", "list")
    assert (listed.code, listed.err) == (0, "")
    assert [line.split()[0] for line in listed.out.splitlines() if re.match(r"\S", line)] == [
        "digits", "mnist-5k", "mnist", "fashion-mnist", "kmnist", "binarized-mnist", "dsprites", "rooms",
    ]  # fmt: skip
    for source, words in (
        ("digits", ["1,617 train, 180 test", "0 178, 1 182", "values  0 to 16; the model sees 16 as 1"]),
        (world.photos, ["8×10×3 uint8, 2 labels", "a 10, b 10"]),
        (world.table, ["18 train, 2 test, 3 float32, 2 labels", "cat ", "dog "]),
    ):
        result = elboroom("data", "show", source)
        assert result.code == 0
        assert all(word in result.out for word in words), result.out


def test_data_show_tells_what_was_skipped_or_stops_there(elboroom: Command, world: World) -> None:
    shutil.copytree(world.photos, "photos")
    Path("photos/a/00.png").write_bytes(b"no image")
    result = elboroom("data", "show", "photos")
    assert result.code == 0
    assert re.search(r"^skipped .*a/00\.png: ", result.out, re.MULTILINE)
    strict = elboroom("data", "show", "photos", "--strict")
    assert (strict.code, len(strict.lines)) == (2, 1)


@pytest.mark.parametrize("first", [-3, 2**40])
def test_data_show_of_labels_that_do_not_count_from_zero(first: int, elboroom: Command) -> None:
    np.savez("x.npz", x=np.random.default_rng(0).random((6, 2)), labels=[first, first, 7, 7, 7, 8])
    result = elboroom("data", "show", "x.npz")
    assert result.code == 0, result.err
    assert f"{first} 2" in result.out
    assert "7 3" in result.out


def test_eight_bit_pixels_are_not_taken_for_floats_of_another_range(elboroom: Command, undrawn: None) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    np.save("bytes.npy", pixels)
    np.save("floats.npy", (pixels / 127.5 - 1).astype(np.float32))
    assert elboroom("train", "floats.npy", "--likelihood", "gaussian", "--out", "r", *SMALL).code == 0
    for verb in (("evaluate", "r", "--data", "bytes.npy"), ("embed", "r", "bytes.npy")):
        result = elboroom(*verb)
        assert result.code == 2
        assert (
            "trained on floats from -1 (black) to 1 (white); convert each pixel p to -1 + p / 255 * 2"
            in result.err
        )
    # Mapped as the message says, they are what the model was trained on.
    np.save("mapped.npy", (-1 + pixels / 255 * 2).astype(np.float32))
    other = elboroom(
        "evaluate", "r", "--data", "mapped.npy", "--num-samples", "9", "--split", "all", "--json"
    )
    own = elboroom("evaluate", "r", "--num-samples", "9", "--split", "all", "--json")
    assert (other.code, own.code) == (0, 0)
    assert json.loads(other.out)["elbo"] == pytest.approx(json.loads(own.out)["elbo"], rel=1e-4)
