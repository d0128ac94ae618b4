"""The sources of the page; ``tests/web`` compares what they give with the page that is shipped."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parents[2] / "web"


def test_the_sources_pass_the_type_check() -> None:
    if shutil.which("node") is None:
        pytest.skip("Node.js is not installed")
    if not (WEB / "node_modules" / "typescript").exists():
        pytest.skip("the build tools are not installed: run 'npm ci' in web")
    command = ["node", "node_modules/typescript/bin/tsc", "-p", "explorer"]
    subprocess.run(command, cwd=WEB, check=True)


def test_source_files_stay_small() -> None:
    for path in (WEB / "explorer").rglob("*.ts"):
        assert len(path.read_text("utf-8").splitlines()) <= 300, path
