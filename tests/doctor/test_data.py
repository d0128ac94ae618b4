"""Diseases of data: each is planted in a small set, named, and gone once the option is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elboroom import Dataset, load_data
from elboroom.cli.main import main
from elboroom.config import Config
from elboroom.data.copies import copies_in, without_copies
from elboroom.doctor import DATA_DISEASES, Diagnosis, examine_data

RNG = np.random.default_rng(0)
SPLIT = np.repeat([0, 1], [320, 80])


def _names(found: Diagnosis) -> list[str]:
    return [finding.disease for finding in found.findings]


def _rows(x: Any, **more: Any) -> Dataset:
    return Dataset("rows", np.asarray(x, np.float32), split=SPLIT, published_split=True, **more)


def _pictures(channels: int = 1) -> np.ndarray[Any, Any]:
    return RNG.integers(0, 256, (400, 6, 6, channels), dtype=np.uint8)


def _set(x: Any, **more: Any) -> Dataset:
    return Dataset("set", x, **{"split": SPLIT, "scale": 255.0, "published_split": True, **more})


def _table(**columns: Any) -> Dataset:
    n = 400
    return load_data({"height": RNG.normal(170, 10, n), "weight": RNG.normal(70, 8, n), **columns})


def _leaked() -> Dataset:
    x = _pictures()
    x[330:390] = x[:60]
    return _set(x)


def _nearly_leaked() -> Dataset:
    """A level more or less in a few pixels, as when a file is written anew."""
    x = _pictures()
    x[330:390] = np.clip(x[:60].astype(int) + (RNG.random((60, 6, 6, 1)) < 0.1), 0, 255)
    return _set(x)


def _repeated() -> Dataset:
    x = _pictures()
    x[:100] = x[100:200]
    return _set(x)


def _with_outliers() -> np.ndarray[Any, Any]:
    x = RNG.normal(size=400)
    x[[3, 200]] = 1e4, -1e4
    return x


def _half_empty() -> np.ndarray[Any, Any]:
    return np.where(np.arange(400) % 50 == 0, RNG.normal(size=400), np.nan)


SICK: dict[str, tuple[Callable[[], Dataset], dict[str, Any]]] = {
    "values out of range, 8-bit pixels as floats": (
        lambda: _set(_pictures().astype(np.float32), scale=1.0),
        {},
    ),
    "values out of range, negative pixels": (lambda: _set(_pictures() / 127.5 - 1, scale=1.0), {}),
    "values out of range, rows": (lambda: _rows(RNG.normal(size=(400, 5))), {}),
    "values out of range, counts": (lambda: _rows(RNG.poisson(3.0, (400, 5))), {}),
    "unscaled data": (lambda: _rows(RNG.normal(size=(400, 3)) * [1, 1, 1000]), {"likelihood": "gaussian"}),
    "counts under a density": (lambda: _rows(RNG.poisson(3.0, (400, 5))), {"likelihood": "gaussian"}),
    "empty columns": (lambda: _table(note=_half_empty()), {}),
    "outliers": (lambda: _table(dose=_with_outliers()), {}),
    "outliers, rows": (
        lambda: _rows(np.stack([_with_outliers(), RNG.normal(size=400)], 1)),
        {"likelihood": "gaussian", "standardize": True},
    ),
    "repeated examples": (_repeated, {}),
    "leaked examples": (_leaked, {}),
    "leaked examples, nearly equal": (_nearly_leaked, {}),
    "few examples": (lambda: _set(_pictures()[:40], split=np.repeat([0, 1], [30, 10])), {}),
    "rare classes": (lambda: _set(_pictures(), labels=(np.arange(400) % 40 == 0).astype(int)), {}),
}


@pytest.mark.parametrize("case", SICK)
def test_a_disease_is_named_and_gone_with_the_option(case: str) -> None:
    name, (make, asked) = case.split(",")[0], SICK[case]
    data, config = make(), Config().updated(**asked)
    found = examine_data(data, config)
    assert _names(found) == [name]
    (finding,) = found.findings
    assert any(character.isdigit() for character in finding.evidence)
    again = config.updated(**finding.change)
    if "kinds" in finding.change:  # of which loading knows
        assert finding.change["kinds"].keys() <= {column.name for column in data.columns}
        columns = {column.name: data.x[:, i] for i, column in enumerate(data.columns)}
        data = load_data(columns, kinds=finding.change["kinds"])
    assert _names(examine_data(data, again)) == []


def _write_files(folder: Path, sizes: list[tuple[int, int]], modes: list[str]) -> Path:
    folder.mkdir()
    for i in range(24):
        width, height = sizes[i % len(sizes)]
        pixels = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(modes[i % len(modes)]).save(folder / f"{i}.png")
    return folder


@pytest.mark.parametrize(
    ("name", "sizes", "modes", "option"),
    [
        ("pictures of several sizes", [(20, 20), (20, 24)], ["RGB"], {"size": 20}),
        ("grey and coloured pictures", [(20, 20)], ["RGB", "RGB", "L"], {"channels": 3}),
    ],
)
def test_picture_files_of_several_kinds(
    tmp_path: Path, name: str, sizes: list[tuple[int, int]], modes: list[str], option: dict[str, int]
) -> None:
    folder = _write_files(tmp_path / "pictures", sizes, modes)
    found = examine_data(load_data(folder), folder=folder)
    assert _names(found) == [name, "few examples"]
    assert found.findings[0].change == option
    cured = examine_data(load_data(folder, **option), Config().updated(**option), folder=folder)
    assert _names(cured) == ["few examples"]


def test_grey_pictures_in_three_channels() -> None:
    data = _set(np.repeat(_pictures(), 3, axis=-1))
    (finding,) = examine_data(data).findings
    assert (finding.disease, finding.change) == ("grey pictures in colour", {"channels": 1})


def test_examples_that_are_all_equal() -> None:
    for data in (_rows(np.ones((400, 5))), _set(np.full((400, 8, 8, 1), 128, np.uint8))):
        (finding,) = examine_data(data).findings
        assert finding.disease == "equal examples"
        assert finding.evidence.startswith("all ")
    nearly = np.ones((400, 5))
    nearly[7, 2] = 0
    assert "equal examples" not in _names(examine_data(_rows(nearly)))


def test_flat_pictures_of_floats_are_pixels() -> None:
    pixels = RNG.integers(0, 256, (400, 64)).astype(np.float64)
    pixels[0, :2] = 0, 255
    (finding,) = examine_data(_rows(pixels)).findings
    assert finding.change == {"pixel_scale": 255.0}
    (finding,) = examine_data(_rows(pixels[:, :5])).findings  # five numbers are no picture
    assert "pixel_scale" not in finding.change


def test_inputs_that_are_left_out(tmp_path: Path) -> None:
    folder = _write_files(tmp_path / "pictures", [(20, 20)], ["RGB"])
    for i in range(10):
        (folder / f"broken-{i}.png").write_bytes(b"\x89PNG")
    found = examine_data(load_data(folder), folder=folder)
    assert _names(found) == ["inputs left out", "few examples"]
    assert found.findings[0].numbers == {"left_out": 10}


def test_every_disease_of_the_table_is_planted() -> None:
    planted = {case.split(",")[0] for case in SICK}
    others = {"pictures of several sizes", "grey and coloured pictures", "grey pictures in colour"}
    assert {disease.name for disease in DATA_DISEASES} == planted | others | {
        "inputs left out",
        "equal examples",
    }


def _binary() -> Dataset:
    """Eight rows of three bits: equal examples are no copies."""
    return _rows(RNG.integers(0, 2, (400, 3)))


def _plane() -> Dataset:
    return _rows(RNG.random((400, 2)))


@pytest.mark.parametrize(
    "make", [lambda: load_data("digits"), _binary, _plane, _table, lambda: _set(_pictures())]
)
def test_no_alarm_on_healthy_data(make: Callable[[], Dataset]) -> None:
    assert _names(examine_data(make())) == []


def test_copies_are_those_of_brute_force() -> None:
    x = RNG.integers(0, 2, (60, 3)).astype(np.float32)
    split = RNG.integers(0, 3, 60)
    split[0] = 0
    expected = [
        any((x[i] == x[j]).all() and split[j] == 0 and (split[i] != 0 or j < i) for j in range(60))
        for i in range(60)
    ]
    data = Dataset("x", x, split=split, labels=np.arange(60), vectors=x)
    assert copies_in(data).exact.tolist() == expected
    cut = without_copies(data)
    kept = np.flatnonzero(~np.array(expected))
    np.testing.assert_array_equal(cut.labels, kept)
    np.testing.assert_array_equal(cut.rows, kept)
    np.testing.assert_array_equal(cut.vectors, x[kept])
    np.testing.assert_array_equal(cut.split, split[kept])


def test_near_copies_are_those_that_were_planted() -> None:
    data = _nearly_leaked()
    found = copies_in(data)
    changed = np.flatnonzero(found.near)
    assert set(changed) | set(np.flatnonzero(found.exact)) == set(range(330, 390))


def test_the_command_examines_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "rows.npy", RNG.normal(size=(400, 5)).astype(np.float32))
    assert main(["doctor", str(tmp_path / "rows.npy")]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("values out of range: values range from -")
    assert out.endswith(
        "--likelihood gaussian and --standardize would take any numbers, brought to mean 0 and standard "
        "deviation 1.\n"
    )
    assert err == ""
    assert main(["doctor", "digits"]) == 0
    assert capsys.readouterr().out == "digits: nothing found.\n"


def test_training_leaves_copies_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elboroom.cli.training_run._draw", lambda *_: None)  # takes longer than all the rest
    data = _leaked()
    np.savez(tmp_path / "set.npz", images=data.x, split=data.split)
    words = "--hidden 8 --epochs 1 --validation 0 --duplicates drop --quiet --figures-every 0"
    assert main(["train", str(tmp_path / "set.npz"), *words.split(), "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run"), "--num-samples", "0"]) == 0
    assert "on 20 test examples" in capsys.readouterr().out
