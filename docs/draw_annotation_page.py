"""Draw docs/pictures/annotate.png: the page of 'elboroom data annotate' (needs elboroom[browser])."""

from __future__ import annotations

import importlib.util
import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from elboroom.annotation import Marks, routes
from elboroom.serving import Server

ROOT = Path(__file__).parents[1]
PLACES = ((0.39, 0.457), (0.61, 0.457), (0.5, 0.625))  # eyes and nose in fractions of the drawn photo


def main() -> None:
    """Mark three parts of a face, aim at the mouth, and take a picture of the page."""
    spec = importlib.util.spec_from_file_location("drawn", ROOT / "tests" / "faces" / "drawn.py")
    assert spec is not None
    assert spec.loader is not None
    drawn = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawn)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        for name in ("ann.jpg", "bob.jpg", "eve.jpg"):
            drawn.portrait(800).save(Path(folder, name))
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        with Server(routes(Marks(Path(folder)))) as server:
            page = browser.new_page(viewport={"width": 960, "height": 600})
            page.goto(server.address)
            page.locator("#message", has_text="Loading").wait_for(state="hidden")
            box = page.locator("#canvas").bounding_box()
            assert box is not None
            side = min(box["width"], box["height"])
            left, top = box["x"] + (box["width"] - side) / 2, box["y"] + (box["height"] - side) / 2
            for across, down in PLACES:
                page.mouse.click(left + across * side, top + down * side)
            page.mouse.move(left + 0.5 * side, top + 0.72 * side)
            page.locator("#crop").wait_for(state="visible")
            shot = Image.open(io.BytesIO(page.screenshot()))
        browser.close()
    shot.convert("RGB").quantize(255).save(ROOT / "docs" / "pictures" / "annotate.png", optimize=True)


if __name__ == "__main__":
    main()
