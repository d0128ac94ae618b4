"""The page in a real browser: its decoder against PyTorch, and that it keeps to itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tests.explorer.conftest import Opened

from elboroom.data import load_data
from elboroom.runs.run import Run

Open = Callable[..., Opened]
_ONE = 1 / 255


def test_the_page_decodes_as_pytorch(digits: Path, open_page: Open) -> None:
    vae, opened = Run(digits).model(), open_page(digits / "explorer.html")
    for code in np.random.default_rng(0).normal(size=(5, 2)):
        exact = vae.decode(code[None]).mean[0].flatten().numpy()
        assert np.abs(opened.decode(code) - exact).mean() <= _ONE


def test_the_picture_follows_the_pointer(digits: Path, open_page: Open) -> None:
    """Where the pointer is over the map of two-dimensional codes, that code is shown."""
    vae, opened = Run(digits).model(), open_page(digits / "explorer.html")
    box = opened.page.locator(".board").bounding_box()
    before = opened.shown()
    for share in (0.2, 0.8):
        opened.page.mouse.move(box["x"] + share * box["width"], box["y"] + 0.4 * box["height"])
        opened.settle()
        code = np.array(opened.js("() => Array.from(explorer.store.shown.code)"))
        exact = vae.decode(code[None]).mean[0].numpy()
        assert np.abs(opened.shown()[..., :1] / 255 - exact).mean() <= _ONE
    assert (opened.shown() != before).any()
    assert abs(code[0]) > 0.1


def test_a_point_shows_its_example_and_its_code(digits: Path, open_page: Open) -> None:
    opened = open_page(digits / "explorer.html")
    run = """() => { const { map, points } = explorer; const view = map["viewport"];
        return view.toScreen(points.codes[0], points.codes[1]) }"""
    x, y = opened.js(run)
    box = opened.page.locator(".board").bounding_box()
    opened.page.mouse.move(box["x"] + x, box["y"] + y)
    opened.settle()
    assert opened.page.locator(".tooltip").is_visible()
    opened.page.mouse.click(box["x"] + x, box["y"] + y)
    opened.settle()
    point = opened.js("() => explorer.store.kept.point")
    assert point is not None
    vae, data_row = Run(digits).model(), opened.js("(p) => explorer.points.rows[p]", point)
    data = load_data("digits")
    code = vae.embed(data.values([data_row]))[0].numpy()
    np.testing.assert_allclose(opened.js("() => Array.from(explorer.store.kept.code)"), code, atol=1e-5)


def test_the_page_measures_its_own_error(digits: Path, open_page: Open) -> None:
    opened = open_page(digits / "explorer.html")
    found = opened.js("() => explorer.model.agreement()")
    assert 0 < found["mean"] <= _ONE
    assert found["mean"] <= found["most"] < 0.1


def test_the_encoder_gives_pytorch_codes(digits: Path, open_page: Open) -> None:
    vae, opened = Run(digits).model(), open_page(digits / "explorer.html")
    x = load_data("digits").values([3, 17])
    run = "(x) => Array.from(explorer.model.encode(new Float32Array(x)))"
    found = np.array([opened.js(run, one.ravel().tolist()) for one in x])
    exact = vae.embed(torch.from_numpy(x)).numpy()
    # Weights of the encoder have about two digits too.
    assert np.abs(found - exact).max() < 0.05 * np.abs(exact).max()
