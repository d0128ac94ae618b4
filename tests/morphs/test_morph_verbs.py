"""``morph``, ``neighbours`` and ``report`` from the command line."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elboroom.cli.inputs.endpoints import EndpointFinder
from elboroom.cli.main import main
from elboroom.errors import UsageError
from elboroom.runs.run import Run


@pytest.fixture
def elboroom(run: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a line in which ``RUN`` stands for the run."""

    def command(line: str) -> SimpleNamespace:
        capsys.readouterr()
        code = main([str(run) if word == "RUN" else word for word in line.split()])
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return command


def photo(name: str = "anna.png") -> None:
    Image.fromarray(np.full((12, 12), 90, np.uint8)).save(name)


@pytest.mark.parametrize(
    "line",
    [
        ":0 :1",
        ":0 dog:random",
        ":0 dog:nearest --path spherical",
        "person:mean dog:mean --path dense",
        "dog:nearest :0 --path data",
        ":0 --toward dog --strength 1.5",
        ":0 :2 --toward dog --away person",
        "anna.png :0 :2 dog:nearest",
        "anna.png dog:random --refine 3",
        "person:random person:random dog:random",
    ],
)
@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_morphs(line: str, suffix: str, elboroom: Any) -> None:
    photo()
    result = elboroom(f"morph RUN {line} --steps 4 --out m{suffix}")
    assert result.code == 0, result.err
    with Image.open(f"m{suffix}") as image:
        image.load()
        assert getattr(image, "n_frames", 1) == (6 if suffix == ".gif" else 1)
    assert {path.name for path in Path.cwd().iterdir()} == {"anna.png", f"m{suffix}"}


def test_random_members_follow_the_seed(elboroom: Any) -> None:
    said = [
        re.findall(
            r"random: chose example :(\d+)",
            elboroom(f"morph RUN person:random person:random dog:random {more} --out m.gif --overwrite").err,
        )
        for more in ("", "", "--seed 1")
    ]
    assert said[0] == said[1] != said[2]
    assert [int(row) % 2 for row in said[0]] == [1, 0, 0]  # the end that all share comes first
    assert said[0][1] != said[0][2]


def test_the_nearest_member_is_the_nearest_of_each(elboroom: Any) -> None:
    itself = elboroom("morph RUN :1 :7 dog:nearest --out m.gif")
    assert re.findall(r"nearest: chose example :(\d+)", itself.err) == ["1", "7"]
    assert (
        "dog:nearest: chose example :1\n" in elboroom("morph RUN dog:nearest :1 --out m.gif --overwrite").err
    )


def test_a_file_that_is_called_like_a_class_wins(elboroom: Any) -> None:
    photo()
    shutil.copy("anna.png", "dog:random")
    result = elboroom("morph RUN dog:random anna.png --steps 3 --out m.gif")
    assert (result.code, "random: chose" in result.err) == (0, False)


def test_a_numeric_attribute(elboroom: Any) -> None:
    ages = np.where(np.arange(60) % 5 == 0, np.nan, np.arange(60) % 2).astype(float)
    np.save("age.npy", ages)
    assert elboroom("morph RUN :0 --toward age.npy --out m.png").code == 0
    np.save("age.npy", ages[:9])
    result = elboroom("morph RUN :0 --toward age.npy --out n.png")
    assert (result.code, Path("n.png").exists()) == (2, False)
    assert re.search(r"age\.npy has shape \(9,\); give one number per example .*\(60,\)", result.err)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("morph RUN", "A is missing; give two or more images"),
        ("morph RUN :0", "B is missing; give two or more images"),
        ("morph RUN --toward dog", "A is missing"),
        ("morph RUN :0 :1 --away dog", "--away dog needs --toward LABEL"),
        ("morph RUN :0 dgo:random", "no label 'dgo' in toy.npz; did you mean 'dog'"),
        ("morph RUN :0 dog:randm", "dog:randm: .*did you mean 'random'"),
        ("morph RUN :0 --toward dgo", "no label 'dgo'"),
        ("morph RUN :0 --toward dog --away prson", "no label 'prson' in toy.npz; did you mean 'person'"),
        ("morph RUN :0 --toward no.npy", "no.npy: cannot be read as numbers"),
        ("morph RUN :0 --toward dog --strength inf", "--strength inf: must be a finite number"),
        ("morph RUN dog:nearest dog:nearest", "one of the two must be an image"),
        ("morph RUN :0 :1 --refine -1", "--refine -1: must be at least 0"),
        ("morph RUN :0 :1 --seed -1", "--seed -1: must be at least 0"),
        ("morph RUN :0 :1 --path danse", "--path danse: did you mean 'dense'"),
        ("morph RUN :0 :1 --out m.avi", "cannot write a .avi"),
        ("neighbours RUN", "no images given: name some, or give --samples 8"),
        ("neighbours RUN :0 --n 0", "--n 0: must be at least 1"),
        ("neighbours RUN :0 --frames 5", "--frames 5 takes two images"),
        ("neighbours RUN :0 :1 --frames 1", "--frames 1: must be at least 2"),
        ("report RUN --split validation", "toy.npz has no validation examples"),
    ],
)
def test_wrong_lines(line: str, words: str, elboroom: Any) -> None:
    result = elboroom(line)
    assert (result.code, result.out, len(result.err.splitlines())) == (2, "", 1)
    assert re.search(words, result.err), result.err
    assert list(Path.cwd().iterdir()) == []


def test_a_film_without_ffmpeg(elboroom: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    result = elboroom("morph RUN :0 :1 --out m.mp4")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "films need ffmpeg" in result.err


def test_neighbours(elboroom: Any) -> None:
    result = elboroom("neighbours RUN :3 --samples 2 --n 4 --out n.png")
    assert result.code == 0
    assert re.search(
        r":3: nearest training image is #3 at distance 0 \(typical there: .*: a copy or nearly one\.",
        result.out,
    )
    assert (
        len(
            re.findall(
                r"^Sample \d: nearest training image is #\d+ at distance [\d.]+ \(typical there: [\d.]+\)",
                result.out,
                re.MULTILINE,
            )
        )
        == 2
    )
    assert re.search(r"^#N is example N of .*\. Distances are", result.out, re.MULTILINE)
    assert (
        elboroom("neighbours RUN :0 dog:random --frames 3 --space codes --out f.png").out.count("Frame ") == 3
    )
    assert {path.name for path in Path.cwd().iterdir()} == {"n.png", "f.png"}


def test_report(elboroom: Any) -> None:
    result = elboroom("report RUN")
    assert result.code == 0
    assert re.search(
        r"^ +examples +distortion +rate +mse +ssim +originals +reconstructions +codes$",
        result.out,
        re.MULTILINE,
    )
    assert re.search(
        r"^  dog +10 +[\d.]+ ± [\d.]+ +[\d.]+ +0\.\d+ +-?\d\.\d+ +100% +\d+% +\d+%$", result.out, re.MULTILINE
    )
    found = json.loads(elboroom("report RUN --json").out)
    assert found["classes"] == ["person", "dog"]
    assert found["seen_as"]["originals"] == [[1, 0], [0, 1]]


def test_one_of_a_folder_called_dogs_is_a_dog(run: Path, data: Any, vae: Any) -> None:
    """Labels of photo folders are plural, and people ask for dog:random."""
    plural = replace(data, label_names=("people", "dogs"))
    examples = EndpointFinder(Run(run), vae)
    examples.__dict__["data"] = plural
    assert examples.label_of("dog") == examples.label_of("dogs") == 1
    with pytest.raises(UsageError, match="did you mean 'dogs'"):
        examples.label_of("dgos")
