"""docs/recipes.md tells of everything there is, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from elboroom.cli.arguments import arguments
from elboroom.cli.commands.train import Train
from elboroom.cli.verbs import VERBS
from elboroom.config import Config
from elboroom.config.bounds import BOUNDS
from elboroom.config.columns import FAMILIES
from elboroom.config.model import LikelihoodName, PosteriorName, PriorName
from elboroom.config.penalties import PENALTIES
from elboroom.config.posteriors import POSTERIORS
from elboroom.config.priors import priors_for
from elboroom.objectives import RECIPES

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([a-z0-9_*-]+)`", PAGE))
KINDS = {
    "likelihoods": get_args(LikelihoodName),
    "posteriors": get_args(PosteriorName),
    "priors": get_args(PriorName),
    "bounds": tuple(BOUNDS),
    "penalties": tuple(PENALTIES),
}


def test_every_recipe_stands_in_a_table_with_its_reference() -> None:
    for name, one in RECIPES.items():
        rows = [line for line in PAGE.splitlines() if line.startswith("|") and f"`{name}`" in line]
        told = {number for row in rows for number in re.findall(r"arxiv.org/abs/([\d.]+)", row)}
        assert set(one.arxiv) <= told, name


@pytest.mark.parametrize("kind", KINDS)
def test_every_part_is_named(kind: str) -> None:
    assert set(KINDS[kind]) - NAMED == set()


def test_what_is_named_is_there() -> None:
    sections = [type(getattr(Config(), name)) for name in Config.model_fields]
    fields = {field for section in sections for field in section.model_fields}
    parts = {name for names in (*KINDS.values(), *FAMILIES.values()) for name in names}
    options = {flag for argument in arguments(Train) for flag in argument.flags}
    words = {"optimal", "rae-*", "log_prob", "sample", "decode", "spatial"}
    assert NAMED - {*RECIPES, *fields, *parts, *options, *VERBS, *words} == set()


def test_the_table_of_pairs_is_the_programs() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ((?:`\w+`(?:, )?)+) \|$", PAGE, re.MULTILINE)
    told = {q: tuple(re.findall(r"\w+", priors)) for qs, priors in rows for q in re.findall(r"\w+", qs)}
    assert told == {posterior: priors_for(posterior) for posterior in POSTERIORS}


def test_the_python_on_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "recipes.md", "exec"), {})
    assert (tmp_path / "runs" / "tc" / "config.json").exists()
