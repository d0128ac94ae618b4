"""Small runs with their pages, and a Chromium to look at them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elboroom.cli.main import main

SMALL = ["--epochs", "8", "--batch-size", "32", "--lr", "0.003", "--figures-every", "0", "--quiet"]


@dataclass
class Opened:
    """A page in the browser, with everything that it asked for and complained of."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def js(self, expression: str, given: Any = None) -> Any:
        """Evaluate an expression, or a function of what is given, in the page."""
        return self.page.evaluate(expression, given)

    def decode(self, code: Any, condition: Any = None) -> np.ndarray:
        """Decode a code by the page's own interpreter."""
        run = """([z, c]) => Array.from(
            explorer.model.decode(new Float32Array(z), c && new Float32Array(c)))"""
        given = None if condition is None else np.asarray(condition, float).tolist()
        return np.array(self.js(run, [np.asarray(code, float).tolist(), given]), np.float32)

    def shown(self) -> np.ndarray:
        """Pixels of the picture, (h, w, 3)."""
        run = """() => { const { width, height } = picture;
            const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
            copy.drawImage(picture, 0, 0);
            return [height, width, Array.from(copy.getImageData(0, 0, width, height).data)] }"""
        height, width, data = self.js(run)
        return np.array(data, np.uint8).reshape(height, width, 4)[..., :3]

    def settle(self) -> None:
        """Wait until everything that waits for a frame has happened."""
        self.js(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
        )


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Opened]]:
    """Open a page from its file; in the end nothing else may have been fetched, and nothing gone wrong."""
    opened: list[tuple[Opened, str]] = []

    def open_it(path: Path, **options: Any) -> Opened:
        page = chromium.new_page(**options)
        found, address = Opened(page), path.resolve().as_uri()
        page.on("request", lambda request: found.requests.append(request.url))
        page.on("console", lambda message: found.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        opened.append((found, address))
        page.goto(address)
        page.wait_for_function("() => window.explorer !== undefined")
        found.settle()
        return found

    yield open_it
    for found, address in opened:
        found.page.close()
        fetched = [url for url in found.requests if not url.startswith(("blob:", "data:"))]
        assert fetched == [address]
        assert found.complaints == []


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on small digits with two latent dimensions, and its page."""
    return trained(tmp_path_factory.mktemp("digits") / "run", "digits", "--hidden", "64", "32")


def trained(run: Path, *words: str, page: bool = True) -> Path:
    """Train a small run and write its page, run/explorer.html."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("elboroom.cli.training_run.draw_all", lambda *_, **__: [])
        assert main(["train", *words, *SMALL, "--out", str(run)]) == 0
    if page:
        assert main(["explore", str(run), "--export", str(run / "explorer.html")]) == 0
    return run


def facts_of(page: Path) -> dict[str, Any]:
    """The JSON object in a page."""
    found = re.search(r'<script type="application/json" id="facts">(.*?)</script>', page.read_text("utf-8"))
    assert found is not None
    return json.loads(found[1])
