"""What docs/compare.md shows runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from .conftest import Command

PAGE = (Path(__file__).parents[2] / "docs" / "compare.md").read_text(encoding="utf-8")


def test_the_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "compare.md", "exec"), {})
    assert capsys.readouterr().out.startswith("recipe ")
    assert Path("comparison.png").exists()


def test_the_command_runs(elboroom: Command) -> None:
    (line,) = re.findall(r"```console\nelboroom (.*?)\n```", PAGE)
    smaller = re.sub(r"--(seeds|epochs) \d+", r"--\1 1", line).replace("iwae,beta-tcvae,", "")
    code, out, err = elboroom(*shlex.split(smaller), "--quiet", "--nll-samples", "2")
    assert code == 0, err
    shown = next(one for one in PAGE.splitlines() if one.startswith("| recipe"))
    assert out.split("\n")[0].split() == shown.replace("|", " ").split()
