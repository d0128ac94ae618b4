"""The lowest versions are read from the ranges themselves, and every range can be read."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from . import lowest

PROJECT = """
[build-system]
requires = ["hatchling>=1.27"]
[project]
dependencies = ["torch>=2.6", "pydantic >= 2.10, <3"]
[project.optional-dependencies]
faces = ["OpenCV_Python.headless[all]>=4.10.0.84,<5; python_version < '4'"]
bench = ["pythae==0.1.2", "torch>=2.6"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "constraints.txt").write_text("# Pins.\ntorch==2.13.0\n\npydantic==2.14.3  # newest\n")
    return tmp_path


def test_every_dependency_is_at_its_lower_bound(project: Path) -> None:
    expected = ["hatchling==1.27", "opencv-python-headless==4.10.0.84", "pydantic==2.10", "pythae==0.1.2"]
    assert lowest.constraints(root=project) == [*expected, "torch==2.6"]


def test_one_that_is_kept_is_at_its_pin(project: Path) -> None:
    assert "torch==2.13.0" in lowest.constraints(["torch"], root=project)
    with pytest.raises(KeyError, match="numpy"):
        lowest.constraints(["numpy"], root=project)


@pytest.mark.parametrize("requirement", ["torch", "torch<3", "torch<3,>=2.6", "torch~=2.6", "torch>2.6"])
def test_a_requirement_without_a_lower_bound_in_front_is_refused(requirement: str) -> None:
    with pytest.raises(ValueError, match="does not begin with a lower bound"):
        lowest.lowest([requirement])


def test_two_lower_bounds_of_one_package_are_refused() -> None:
    with pytest.raises(ValueError, match=r"torch has two lower bounds, 2\.6 and 2\.7"):
        lowest.lowest(["torch>=2.6", "Torch>=2.7"])


def test_the_projects_own_ranges_can_be_read_and_lie_below_their_pins() -> None:
    """Every dependency and extra of the project itself, with a pin that is not below its range."""
    parsed = tomllib.loads((lowest.ROOT / "pyproject.toml").read_text("utf-8"))
    bounds = lowest.lowest(lowest.requirements(parsed))
    pins = lowest.pinned((lowest.ROOT / "constraints.txt").read_text("utf-8"))
    unpinned = bounds.keys() - pins.keys()
    assert unpinned <= {"umap-learn"}, "pin it in constraints.txt"
    for name in bounds.keys() & pins.keys():
        bound, pin = ([int(part) for part in version.split(".")] for version in (bounds[name], pins[name]))
        assert bound <= pin, name


def test_the_command_prints_a_constraint_a_line() -> None:
    command = [sys.executable, str(Path(lowest.__file__)), "--keep", "torch"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines == lowest.constraints(["torch"])
    assert lines == sorted(lines)
    assert all(line.count("==") == 1 for line in lines)
