"""What the wheel is tried with: an environment of its requirements, and facts that several files state."""

from __future__ import annotations

import re
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import elboroom

from . import wheel

PROJECT = tomllib.loads((wheel.ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_requirements_of_requirements_are_found_once() -> None:
    found = wheel.required(["pandas", "matplotlib>=3.10"])
    assert {"pandas", "numpy", "python-dateutil", "six", "matplotlib", "pillow"} - found.keys() <= {"six"}
    assert not {"pytest", "torch"} & found.keys()


def test_requirements_for_other_systems_are_left_out() -> None:
    assert wheel.required(["numpy; python_version < '3'"]) == {}
    with pytest.raises(metadata.PackageNotFoundError, match="no-such-package"):
        wheel.required(["no-such-package>=1"])


def test_what_a_distribution_puts_into_an_environment() -> None:
    distribution = metadata.distribution("numpy")
    names = {path.name for path in wheel.tops(distribution)}
    assert {"numpy", f"numpy-{distribution.version}.dist-info"} <= names
    assert not {"bin", "..", "__pycache__"} & names
    assert all(path.exists() for path in wheel.tops(distribution) if path.name == "numpy")


def test_requirements_of_a_wheel_are_read_without_its_extras(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as held:
        lines = ["Name: a", "Requires-Dist: torch>=2.8", "Requires-Dist: b>=1; extra == 'c'"]
        held.writestr("a-1.dist-info/METADATA", "\n".join([*lines, "", "Requires-Dist: in the text"]))
    assert wheel.requirements_of(tmp_path / "a.whl") == ["torch>=2.8"]


def test_the_version_is_one() -> None:
    assert PROJECT["version"] == elboroom.__version__
    citation = (wheel.ROOT / "CITATION.cff").read_text("utf-8")
    assert re.findall(r"^version: (\S+)$", citation, re.MULTILINE) == [elboroom.__version__]
    recipe = (wheel.ROOT / "recipe" / "recipe.yaml").read_text("utf-8")
    assert re.findall(r"^  version: \"(\S+)\"$", recipe, re.MULTILINE) == [elboroom.__version__]


def test_addresses_agree() -> None:
    home = PROJECT["urls"]["Repository"]
    assert re.fullmatch(r"https://[\w./-]+[^/]", home)
    assert all(address.startswith(home) for address in PROJECT["urls"].values())
    for name in ("CITATION.cff", "recipe/recipe.yaml", "README.md"):
        assert home in (wheel.ROOT / name).read_text("utf-8"), name


def test_the_recipe_for_conda_names_all_dependencies_with_their_ranges() -> None:
    recipe = (wheel.ROOT / "recipe" / "recipe.yaml").read_text("utf-8")
    run = recipe.partition("\n  run:\n")[2].partition("\n\n")[0]
    found = sorted(line.strip().removeprefix("- ").replace(" ", "") for line in run.splitlines())
    names = {"torch": "pytorch", "matplotlib": "matplotlib-base"}  # as conda-forge calls them
    wanted = [
        re.sub(r"^[\w-]+", lambda name: names.get(name[0], name[0]), one) for one in PROJECT["dependencies"]
    ]
    assert found == sorted([*wanted, f"python{PROJECT['requires-python']}"])
