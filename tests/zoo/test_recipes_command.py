"""``elboroom recipes`` and ``--recipe``."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from elboroom.cli.main import main
from elboroom.config import read_toml
from elboroom.objectives import RECIPES, recipe
from elboroom.runs.run import Run

from .small import images


def test_all_are_listed_with_a_line_and_a_reference_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines())
    entries = [" ".join(entry.split()) for entry in re.split(r"\n(?=\S)", out)]
    for entry, (name, one) in zip(entries, RECIPES.items(), strict=False):
        assert entry.split()[0] == name
        assert one.summary in entry
        assert f"arXiv:{one.arxiv[0]}" in entry


@pytest.mark.parametrize("name", RECIPES)
def test_one_is_shown_as_the_config_that_it_is(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recipes", name]) == 0
    text = capsys.readouterr().out
    assert tomllib.loads(text)
    (tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
    assert read_toml(tmp_path / "recipe.toml") == recipe(name)


def test_a_typo_is_an_error_with_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "beta-tcva"]) == 2
    assert main(["train", "digits", "--recipe", "iwea"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert errors == [
        "elboroom: unknown recipe 'beta-tcva'; did you mean 'beta-tcvae'?",
        "elboroom: unknown recipe 'iwea'; did you mean 'iwae'?",
    ]


def test_a_meaningless_combination_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "digits", "--recipe", "vq-vae", "--bound", "iwae", "--num-samples", "5"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--posterior vq gives one code and no density" in line


def test_a_recipe_is_trained_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", images(30))
    (tmp_path / "over.toml").write_text("[model]\nhidden = [8]\n[objective]\nbeta = 3.0\n")
    command = ["train", "images.npy", "--recipe", "beta-tcvae", "--config", "over.toml", "--out", "run"]
    options = ["--epochs", "1", "--batch-size", "10", "--penalties", "total_correlation=2", "--quiet"]
    assert main([*command, *options]) == 0, capsys.readouterr().err
    config = Run("run").config
    # the recipe lies under the file, and the file under the command line
    assert (config.objective.beta, config.model.hidden) == (3.0, (8,))
    assert config.objective.penalties == {"total_correlation": 2.0}
