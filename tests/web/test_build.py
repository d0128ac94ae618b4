"""The pages that are shipped are those that their sources give, and they need nothing from elsewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from elboroom.serving import policy

ROOT = Path(__file__).parents[2]
WEB = ROOT / "web"
PAGES = dict(re.findall(r"^  (\w+): \"\.\./(src/.*\.html)\",", (WEB / "build.mjs").read_text(), re.MULTILINE))


def test_every_page_with_sources_is_built() -> None:
    assert set(PAGES) == {path.parent.name for path in WEB.glob("*/page.html")}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_one_file_that_fetches_nothing_from_elsewhere(name: str) -> None:
    text = (ROOT / PAGES[name]).read_text(encoding="utf-8")
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"(?!data:)", text)
    assert not re.findall(r"@import|url\((?!['\"]?data:)", text)
    assert not re.findall(r"<[^>]* (?:style|on\w+)=", text)  # the policy would refuse them
    sources = policy(text)
    assert sources.count("sha256-") == 2
    assert "unsafe" not in sources


@pytest.mark.parametrize("name", PAGES)
def test_rebuilding_changes_nothing(name: str, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is not installed")
    if not (WEB / "node_modules" / "esbuild").exists():
        pytest.skip("the build tools are not installed: run 'npm ci' in web")
    command = [node, "build.mjs", "--out", str(tmp_path), name]
    subprocess.run(command, cwd=WEB, check=True, capture_output=True, env=os.environ)
    assert (tmp_path / f"{name}.html").read_bytes() == (ROOT / PAGES[name]).read_bytes(), (
        "the page is not what its sources give; run 'make page'"
    )


def test_build_tools_are_pinned() -> None:
    wanted = json.loads((WEB / "package.json").read_text())["devDependencies"]
    locked = json.loads((WEB / "package-lock.json").read_text())["packages"]
    for name, version in wanted.items():
        assert re.fullmatch(r"[\d.]+", version)
        assert locked[f"node_modules/{name}"]["version"] == version
        assert locked[f"node_modules/{name}"]["integrity"].startswith("sha512-")
