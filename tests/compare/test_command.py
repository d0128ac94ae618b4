"""The verb: what it prints, its exit codes, and that other verbs agree with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from elboroom.comparison.runs import Job, Row, carry_out
from elboroom.errors import FailureError
from elboroom.objectives.recipes import RECIPES
from elboroom.runs.run import Run

from .conftest import OPTIONS, Command

BASE = ("compare", "digits", "--epochs", "1", "--nll-samples", "5", *OPTIONS)


@pytest.mark.usefixtures("drawn")
def test_a_table_comes_out(elboroom: Command) -> None:
    asked = ("--recipes", "vae,ae", "--seeds", "2", "--out", "cmp")
    code, out, err = elboroom(*BASE[:-1], *asked)
    assert code == 0, err
    assert elboroom(*BASE, *asked) == (0, out, "")  # with --quiet the results and nothing else
    assert [line.split()[0] for line in out.splitlines()[:3]] == ["recipe", "vae", "ae"]
    assert "picture  cmp/table.png" in err
    assert Path("cmp/table.png").stat().st_size > 10_000
    assert {path.name for path in Path("cmp").iterdir()} >= {
        "table.csv",
        "summary.csv",
        "table.md",
        "vae",
        "ae",
    }


def test_evaluate_finds_the_same_numbers(elboroom: Command) -> None:
    assert elboroom(*BASE, "--recipes", "vae,iaf,vq-vae", "--seeds", "1", "--out", "cmp")[0] == 0
    for name, samples in (("vae", 5), ("iaf", 5), ("vq-vae", 0)):
        run = f"cmp/{name}/seed-0"
        ours = json.loads(Path(run, "comparison.json").read_text())
        code, out, err = elboroom("evaluate", run, "--num-samples", samples, "--json", "--device", "cpu")
        assert code == 0, err
        theirs = json.loads(out)
        shared = set(ours) & set(theirs) - {"data"}
        assert {"elbo", "nll", "nll_stderr", "distortion", "rate", "active_units"} <= shared
        assert {key: ours[key] for key in shared} == {key: theirs[key] for key in shared}


def test_options_go_before_the_recipe_and_a_file_between(elboroom: Command) -> None:
    Path("more.toml").write_text("[objective]\nbeta = 7.0\n[training]\nepochs = 9\n")
    code, _, err = elboroom(
        *BASE, "--recipes", "vae,beta-vae", "--seeds", "1", "--config", "more.toml", "--latent-dim", "3"
    )
    assert code == 0, err
    for name in ("vae", "beta-vae"):
        config = Run(f"comparisons/digits/{name}/seed-0").config
        assert (config.objective.beta, config.training.epochs, config.model.latent_dim) == (7.0, 1, 3)


def test_a_recipe_with_values_of_its_own(elboroom: Command) -> None:
    recipes = "vae:network=conv:conv-width=4,vae:latent-dim=4,vae"
    base = [word for word in BASE if word not in ("--hidden", "8")]
    code, out, err = elboroom(*base, "--recipes", recipes, "--seeds", "1", "--latent-dim", "3")
    assert code == 0, err
    assert "vae:network=conv:conv-width=4" in out
    folders = [
        Run(f"comparisons/digits/{name}/seed-0").config.model
        for name in ("vae,network=conv,conv-width=4", "vae,latent-dim=4", "vae")
    ]
    assert [(model.network, model.latent_dim) for model in folders] == [("conv", 3), ("mlp", 4), ("mlp", 3)]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--recipes", "vae,bta-vae"), "unknown recipe 'bta-vae'; did you mean 'beta-vae'?"),
        ((), "no recipes given; add --recipes vae,beta-vae,iwae, or --recipes all"),
        (("--recipes", "vae", "--epoch", "1"), "unknown option --epoch; did you mean --epochs?"),
        (("--recipes", "vae,iwae", "--epochs", "x"), "--epochs x: must be a whole number"),
        (("--recipes", "vae,svae", "--prior", "normal"), "recipe svae is refused: "),
        (("--recipes", "vae", "--seeds", "0"), "--seeds 0: must be at least 1"),
        (("--recipes",), "--recipes"),
    ],
)
def test_wrong_usage_is_exit_2_and_one_line(argv: tuple[str, ...], message: str, elboroom: Command) -> None:
    code, out, err = elboroom(*BASE, *argv, "--out", "cmp")
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not Path("cmp").exists()


def test_a_failed_run_is_exit_1_after_all_others(elboroom: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(job: Job, *args: Any) -> Row:
        if job.recipe == "vae":
            raise FailureError("the disk is full")
        return carry_out(job, *args)

    monkeypatch.setattr("elboroom.comparison.comparing.carry_out", fail)
    code, out, err = elboroom(*BASE, "--recipes", "vae,beta-vae", "--seeds", "1", "--out", "cmp")
    assert code == 1
    assert "1 of 2 runs failed" in err
    assert "vae, seed 0 failed: the disk is full" in out
    assert Path("cmp/beta-vae/seed-0/comparison.json").exists()


def test_all_that_fit_are_taken_and_the_others_told(
    elboroom: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: RECIPES[name] for name in ("vae", "beta-vae", "fsq")}  # the command line is read for each
    monkeypatch.setattr("elboroom.comparison.plan.RECIPES", few)
    code, out, err = elboroom(*BASE, "--recipes", "all", "--seeds", "1", "--out", "cmp", "--latent-dim", "3")
    assert code == 0, err
    assert "fsq was not trained: latent_dim = 3 requires posterior = " in " ".join(out.split())
    assert {path.name for path in Path("cmp").iterdir() if path.is_dir()} == {"vae", "beta-vae"}


def test_help(elboroom: Command) -> None:
    code, out, _ = elboroom("compare", "--help")
    assert code == 0
    assert all(option in out for option in ("--recipes", "--seeds", "--nll-samples", "--latent-dim", "--out"))


def test_lines_tell_which_run_and_how_long(elboroom: Command) -> None:
    argv = [word for word in BASE if word != "--quiet"]
    code, _, err = elboroom(*argv, "--recipes", "vae", "--seeds", "2", "--out", "cmp")
    assert code == 0
    lines = [line for line in err.splitlines() if line.startswith("run ")]
    assert [line[:10] for line in lines] == ["run 1 of 2", "run 2 of 2"]
    assert "left" in lines[0]
    assert "left" not in lines[1]
