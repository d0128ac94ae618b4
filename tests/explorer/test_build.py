"""The page that is shipped is the one that its sources make."""

from __future__ import annotations

import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "web" / "explorer"


def _need(*paths: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    missing = [path for path in paths if not path.exists()]
    if missing:
        pytest.skip(f"no {missing[0]}; 'npm ci' in web/explorer installs it")


def test_the_shipped_page_is_built_from_its_sources(tmp_path: Path) -> None:
    _need(SOURCES / "node_modules" / "esbuild")
    subprocess.run(["node", "build.mjs", str(tmp_path / "page.html")], cwd=SOURCES, check=True)
    built, shipped = (
        (tmp_path / "page.html").read_bytes(),
        (files("elboroom.explorer") / "page.html").read_bytes(),
    )
    assert built == shipped, "run 'make page' and commit src/elboroom/explorer/page.html"


def test_the_sources_pass_the_type_check() -> None:
    _need(SOURCES / "node_modules" / "typescript")
    subprocess.run(["node", "node_modules/typescript/bin/tsc", "--noEmit"], cwd=SOURCES, check=True)


def test_source_files_stay_small() -> None:
    for path in (SOURCES / "src").rglob("*.ts"):
        assert len(path.read_text("utf-8").splitlines()) <= 300, path
