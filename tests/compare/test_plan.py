"""Names, refusals before anything is trained, and what may be added to a comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elboroom import compare
from elboroom.comparison.plan import FILE, names_of, sift
from elboroom.comparison.variants import split_variant
from elboroom.data import load_data
from elboroom.errors import UsageError
from elboroom.objectives.recipes import RECIPES
from elboroom.runs.run import Run

from .conftest import numbers, small


def test_names() -> None:
    assert names_of("all") == list(RECIPES)
    assert names_of("vae, iwae,vae,") == ["vae", "iwae"]
    with pytest.raises(UsageError, match="unknown recipe 'beta-va'; did you mean 'beta-vae'"):
        names_of("vae,beta-va")
    with pytest.raises(UsageError, match="no recipes given"):
        names_of(" , ")


def _refuse(*names: str) -> Any:
    def attempt(name: str) -> str:
        if name in names:
            raise UsageError(f"no {name}")
        return name.upper()

    return attempt


def test_sift() -> None:
    assert sift(["a", "b"], _refuse(), leave_out=False) == ({"a": "A", "b": "B"}, {})
    assert sift(["a", "b"], _refuse("b"), leave_out=True) == ({"a": "A"}, {"b": "no b"})
    with pytest.raises(UsageError, match=r"recipe b is refused: no b; or leave it out"):
        sift(["a", "b"], _refuse("b"), leave_out=False)
    with pytest.raises(UsageError, match=r"recipe a is refused: no a \(also refused: b\)"):
        sift(["a", "b"], _refuse("a", "b"), leave_out=True)


def test_what_holds_for_all_recipes_is_said_once() -> None:
    with pytest.raises(UsageError, match=r"^unknown option 'epoch'; did you mean 'epochs'"):
        small("vae,iwae", epoch=3)


def test_a_refused_recipe_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(UsageError, match="recipe vq-vae is refused: latent_dim = 5 requires posterior"):
        small("vae,vq-vae", latent_dim=5)
    assert not Path("cmp").exists()


def test_a_recipe_that_does_not_fit_the_data_is_refused_too() -> None:
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    np.save("x.npy", x)
    with pytest.raises(UsageError, match=r"recipe vae is refused: .* outside"):
        compare("x.npy", "sigma-vae,vae", out="cmp", seeds=1, epochs=1, hidden=[4], quiet=True)
    assert not Path("cmp").exists()
    found = compare(
        "x.npy", "all", out="cmp", seeds=1, epochs=1, hidden=[4], posterior="deterministic", beta=0
    )
    trained = {one.recipe for one in found.summaries if one.rows}
    assert trained == {"wae-mmd", "rae-l2", "rae-gp", "rae-sn", "sigma-vae"}
    assert {one.recipe for one in found.summaries if one.left_out} == set(RECIPES) - trained
    assert "vae was not trained: " in found.markdown()


@pytest.mark.parametrize(
    ("recipes", "options", "message"),
    [
        ("vae", {"epochs": 2}, "epochs = 2, but cmp was started with 1"),
        ("iwae", {"epochs": 2}, "epochs = 2, but cmp was started with 1"),
        ("vae", {"beta": 2.0}, "beta = 2.0, but cmp was started with 1.0"),
        ("iwae", {"hidden": [9]}, r"hidden = \(9,\), but cmp was started with \(8,\)"),
        ("vae", {"nll_samples": 6}, "nll_samples = 6, but cmp was started with 5"),
        ("vae", {"data": "other.npy"}, "data = '.*other.npy', but cmp was started with 'digits'"),
    ],
)
def test_what_all_have_in_common_cannot_change(recipes: str, options: dict[str, Any], message: str) -> None:
    small("vae", seeds=1)
    before = sorted(str(path) for path in Path("cmp").rglob("*"))
    np.save("other.npy", load_data("digits").x)
    data = options.pop("data", "digits")
    given: dict[str, Any] = {"seeds": 1, "epochs": 1, "nll_samples": 5, "quiet": True, "hidden": [8]}
    given |= {"batch_size": 200, "device": "cpu", "precision": "fp32", **options}
    with pytest.raises(UsageError, match=message):
        compare(data, recipes, out="cmp", **given)
    assert sorted(str(path) for path in Path("cmp").rglob("*")) == before


def test_recipes_and_seeds_are_added() -> None:
    first = small("vae", seeds=1)
    stamp = Path("cmp/vae/seed-0/model.safetensors").stat().st_mtime_ns
    small("beta-vae", seeds=1)
    found = small("beta-vae,vae", seeds=2)
    assert [(row["recipe"], row["seed"]) for row in found.rows] == [
        *(("vae", 0), ("vae", 1)),
        *(("beta-vae", 0), ("beta-vae", 1)),
    ]
    assert numbers(first)[0] == numbers(found)[0]
    assert Path("cmp/vae/seed-0/model.safetensors").stat().st_mtime_ns == stamp
    assert numbers(found) == numbers(small("vae,beta-vae", "at-once"))


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}', '{"format": 99}'])
def test_a_damaged_or_newer_plan_is_refused(content: str) -> None:
    Path("cmp").mkdir()
    Path("cmp", FILE).write_text(content)
    with pytest.raises(UsageError, match="damaged" if "99" not in content else "upgrade elboroom"):
        small("vae")


def test_a_folder_with_other_files_is_refused() -> None:
    Path("cmp").mkdir()
    Path("cmp/thesis.tex").write_text("all of it")
    with pytest.raises(UsageError, match="cmp contains files but no comparison"):
        small("vae")
    Path("file").write_text("")
    with pytest.raises(UsageError, match="file is a file"):
        small("vae", "file")


def test_a_damaged_result_is_named() -> None:
    small("vae", seeds=1)
    Path("cmp/vae/seed-0/comparison.json").write_text("{")
    with pytest.raises(UsageError, match=r"comparison.json is damaged; remove it"):
        small("vae", seeds=1)


def test_the_plan_holds_each_recipes_settings() -> None:
    small("vae,beta-vae", seeds=1)
    plan = json.loads(Path("cmp", FILE).read_text())
    assert {name: one["objective"]["beta"] for name, one in plan["recipes"].items()} == {
        "vae": 1,
        "beta-vae": 4,
    }
    assert "seed" not in plan["recipes"]["vae"]["training"]


def test_a_recipe_with_values_of_its_own() -> None:
    assert split_variant("vae") == ("vae", {})
    assert split_variant("beta-vae:beta=0.5:latent-dim=3:hidden=8 4") == (
        "beta-vae",
        {"beta": 0.5, "latent_dim": 3, "hidden": (8, 4)},
    )
    found = small("beta-vae,beta-vae:beta=2:hidden=4 4", seeds=1, beta=5.0)
    assert [row["recipe"] for row in found.rows] == ["beta-vae", "beta-vae:beta=2:hidden=4 4"]
    run = Run("cmp/beta-vae,beta=2,hidden=4+4/seed-0")
    assert (run.config.objective.beta, run.config.model.hidden) == (2.0, (4, 4))
    assert Run("cmp/beta-vae/seed-0").config.objective.beta == 5.0
    alone = small("beta-vae", "alone", seeds=1, beta=2.0, hidden=[4, 4])
    measured = [{**row, "recipe": ""} for row in (numbers(alone)[0], numbers(found)[1])]
    assert measured[0] == measured[1]
    assert numbers(small("beta-vae:beta=2:hidden=4 4", seeds=1, beta=5.0)) == numbers(found)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bta-vae:beta=2", "unknown recipe 'bta-vae'; did you mean 'beta-vae'"),
        ("vae:beta", "a colon must be followed by FIELD=VALUE, as in vae:latent-dim=5"),
        ("vae:beta=", "a colon must be followed by FIELD=VALUE"),
        ("vae:beta=../x", "a colon must be followed by FIELD=VALUE"),
        ("vae:beta=2:beta=3", "beta is given twice; give it once"),
        ("vae:seed=3", "seed must be the same for all recipes"),
        ("vae:binarize=sample", "binarize must be the same for all recipes"),
        ("vae:bta=3", "unknown option 'bta'; did you mean 'beta'"),
        ("vae:beta=x", "beta = 'x'"),
    ],
)
def test_values_that_are_none(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        small(f"{name},vae")
    assert "\n" not in str(refused.value)
    assert not Path("cmp").exists()
