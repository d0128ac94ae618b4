"""What docs/conditions.md shows runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from elboroom.cli.help import help_text
from elboroom.cli.verbs import VERBS

PAGE = (Path(__file__).parents[2] / "docs" / "conditions.md").read_text(encoding="utf-8")


def test_the_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    found: dict[str, object] = {}
    exec(compile(code.replace("epochs=2", "epochs=1, quiet=True"), "conditions.md", "exec"), found)
    assert found["eights"].shape == (5, 8, 8, 1)  # type: ignore[attr-defined]


def test_the_commands_and_options_exist() -> None:
    (block,) = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    commands = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert len(commands) == 7
    for _, verb, *rest in commands:
        words = help_text(VERBS[verb], f"elboroom {verb}", everything=True)
        assert all(option in words for option in rest if option.startswith("--"))
