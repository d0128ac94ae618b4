"""What the panels of the page do, against the command line and against Pillow."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.explorer.conftest import Opened, trained

from elboroom.cli.inputs.photos import read_photo
from elboroom.cli.inputs.run_data import run_data
from elboroom.cli.main import main
from elboroom.data.images import decode
from elboroom.figures.grids import resized
from elboroom.latent.targets import attribute_vector
from elboroom.runs.run import Run

Open = Callable[..., Opened]
_PICK = """(rows) => { const { points, morph } = explorer;
    for (const row of rows) morph.add(points.view(points.rows.indexOf(row))) }"""


def _download(opened: Opened, button: str) -> bytes:
    with opened.page.expect_download() as waiting:
        opened.page.get_by_role("button", name=button).click()
    return Path(waiting.value.path()).read_bytes()


def _gif(content: bytes) -> np.ndarray:
    frames = []
    with Image.open(io.BytesIO(content)) as image:
        for i in range(image.n_frames):
            image.seek(i)
            frames.append(np.asarray(image.convert("L"), np.float64))
    return np.array(frames)


def test_a_morph_has_the_frames_of_the_command(digits: Path, open_page: Open, tmp_path: Path) -> None:
    gif = tmp_path / "morph.gif"
    assert main(["morph", str(digits), "digits:3", "digits:17", "--steps", "7", "--out", str(gif)]) == 0
    opened = open_page(digits / "explorer.html")
    opened.page.get_by_role("tab", name="Morph").click()
    opened.js(_PICK, [3, 17])
    opened.page.get_by_label("Frames from point to point").fill("7")
    opened.page.keyboard.press("Tab")
    vae, data = Run(digits).model(), run_data(Run(digits))
    exact = vae.interpolate(*data.values([3, 17]), steps=7)[..., 0].numpy()
    decode = "() => explorer.morph.frames.map(({ code }) => Array.from(explorer.model.decode(code)))"
    frames = np.array(opened.js(decode)).reshape(7, 8, 8)
    assert np.abs(frames - exact).mean() <= 1 / 255
    assert np.abs(frames[0] - frames[-1]).mean() > 0.05
    own, command = _gif(_download(opened, "Save GIF")), _gif(gif.read_bytes())
    assert own.shape == command[:7].shape == (7, 256, 256)
    own = own[:, 16::32, 16::32]
    assert np.abs(own - 255 * exact).mean() <= 1
    enlarged = 255 * resized(own[..., None] / 255, 256, 256)[..., 0]  # as the command enlarges pictures
    assert np.abs(enlarged - command[:7]).mean() <= 1
    strip = np.asarray(Image.open(io.BytesIO(_download(opened, "Save strip"))).convert("L"))
    assert strip.shape == (8, 56)
    assert np.abs(strip[:, 8:16] - 255 * exact[1]).mean() <= 1.5


def test_attributes_move_by_the_difference_of_mean_codes(digits: Path, open_page: Open) -> None:
    opened = open_page(digits / "explorer.html")
    opened.page.get_by_role("tab", name="Attributes").click()
    before = np.array(opened.js("() => Array.from(explorer.store.kept.code)"))
    opened.page.get_by_label("Toward").select_option(label="3")
    vae, data = Run(digits).model(), run_data(Run(digits))
    train = data.indices("train")
    codes = vae.embed(data.values(train))
    for away, name in ((None, "all others"), (8, "8")):
        opened.page.get_by_label("Away from").select_option(label=name)
        move = "() => { const s = document.querySelector('[aria-label=Strength]'); s.value = 1.5;"
        opened.js(move + " s.dispatchEvent(new Event('input')) }")
        moved = np.array(opened.js("() => Array.from(explorer.store.kept.code)"))
        exact = 1.5 * attribute_vector(codes, data.labels[train], 3, away).numpy()
        np.testing.assert_allclose(moved - before, exact, atol=1e-5)


def test_neighbours_are_those_with_the_nearest_codes(digits: Path, open_page: Open) -> None:
    opened = open_page(digits / "explorer.html")
    codes = np.array(opened.js("() => Array.from(explorer.points.codes)")).reshape(-1, 2)
    found = opened.js("() => explorer.points.nearest(explorer.points.code(5), 9, 5)")
    distances = np.linalg.norm(codes - codes[5], axis=1)
    distances[5] = np.inf
    assert [each["point"] for each in found] == np.argsort(distances, kind="stable")[:9].tolist()
    assert [each["distance"] for each in found] == pytest.approx(np.sort(distances)[:9], rel=1e-5)


@pytest.mark.parametrize("size", [(31, 20), (8, 8), (5, 40), (3, 4)])
def test_a_picture_is_prepared_as_in_training(
    size: tuple[int, int], digits: Path, open_page: Open, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "own.png")
    opened = open_page(digits / "explorer.html")
    opened.page.get_by_role("tab", name="Picture").click()
    opened.page.locator("input[type=file]").set_input_files(str(tmp_path / "own.png"))
    opened.page.wait_for_function("() => explorer.store.kept.origin === 'own.png'")
    read = """() => { const seen = document.querySelector(".before-after canvas");
        const copy = new OffscreenCanvas(8, 8).getContext("2d", { willReadFrequently: true });
        copy.drawImage(seen, 0, 0);
        return Array.from(copy.getImageData(0, 0, 8, 8).data).filter((_, i) => i % 4 === 0) }"""
    found = np.array(opened.js(read)).reshape(8, 8)
    exact = decode(tmp_path / "own.png", (8, 8, 1))[..., 0]
    assert np.abs(found - exact.astype(int)).max() <= 1  # Pillow's weights are rounded
    code = Run(digits).model().embed(exact[None, ..., None] / np.float32(255))[0].numpy()
    np.testing.assert_allclose(opened.js("() => Array.from(explorer.store.kept.code)"), code, atol=0.15)


def test_a_picture_for_a_model_of_random_crops_is_the_centre_of_a_larger_one(
    open_page: Open, tmp_path: Path
) -> None:
    """Of 13 rows, 2 above and 3 below are left out, unless the picture has the size of a crop already."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "set.npy", rng.integers(0, 256, (40, 13, 9, 1), dtype=np.uint8))
    run = trained(
        tmp_path / "run",
        str(tmp_path / "set.npy"),
        "--random-crop",
        "8x6",
        "--hidden",
        "8",
        "--binarize",
        "none",
    )
    opened = open_page(run / "explorer.html")
    opened.page.get_by_role("tab", name="Picture").click()
    opened.page.get_by_text("9 × 13, of which the model sees the centre 6 × 8").wait_for()
    for size in ((31, 40), (8, 6)):
        path = tmp_path / f"{size[0]}.png"
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(path)
        opened.page.locator("input[type=file]").set_input_files(str(path))
        opened.page.wait_for_function(f"() => explorer.store.kept.origin === '{path.name}'")
        read = """() => { const seen = document.querySelector(".before-after canvas");
            const copy = new OffscreenCanvas(6, 8).getContext("2d", { willReadFrequently: true });
            copy.drawImage(seen, 0, 0);
            return Array.from(copy.getImageData(0, 0, 6, 8).data).filter((_, i) => i % 4 === 0) }"""
        found = np.array(opened.js(read)).reshape(8, 6)
        exact = read_photo(path, (8, 6, 1), Run(run)).pixels[..., 0]
        larger = decode(path, (13, 9, 1))[2:10, 1:7, 0]
        np.testing.assert_array_equal(exact, larger if size != (8, 6) else decode(path, (8, 6, 1))[..., 0])
        assert np.abs(found - exact.astype(int)).max() <= 1


def test_a_file_that_is_no_picture_is_refused_in_words(digits: Path, open_page: Open, tmp_path: Path) -> None:
    (tmp_path / "own.png").write_text("nothing")
    opened = open_page(digits / "explorer.html")
    opened.page.get_by_role("tab", name="Picture").click()
    opened.page.locator("input[type=file]").set_input_files(str(tmp_path / "own.png"))
    opened.page.get_by_text("is not a picture that this browser can read").wait_for()


def test_the_search_and_the_labels_leave_some_points_bright(digits: Path, open_page: Open) -> None:
    opened = open_page(digits / "explorer.html")
    search = opened.page.get_by_label("Search")
    opened.page.get_by_role("button", name="7", exact=True).click()
    count = int((run_data(Run(digits)).labels == 7).sum())
    assert opened.page.locator(".found").inner_text() == f"{count} of 1,797"
    row = np.flatnonzero(run_data(Run(digits)).labels == 7)[-1]
    search.fill(f"example {row:,}")
    search.press("Enter")
    assert opened.js("() => explorer.store.kept.origin") == f"example {row:,}"
    assert opened.js("() => explorer.points.label(explorer.store.kept.point)") == "7"


def test_sliders_are_sorted_by_rate_and_move_the_picture(digits: Path, open_page: Open) -> None:
    opened = open_page(digits / "explorer.html")
    before = opened.shown()
    assert opened.page.locator(".slider .about").first.inner_text().split(" nats")[0] != ""
    dims = [each["dim"] for each in opened.js("() => explorer.facts.dims")]
    assert opened.page.locator(".slider label").all_inner_texts() == [f"z{dim}" for dim in dims]
    slider = opened.page.locator(".slider input").first
    slider.focus()
    slider.press("End")
    opened.settle()
    code = opened.js("() => Array.from(explorer.store.kept.code)")
    assert code[dims[0]] == pytest.approx(float(slider.get_attribute("max")), rel=1e-3)
    assert (opened.shown() != before).any()


def _labelled(tmp_path: Path, names: list[str]) -> Path:
    x = np.random.default_rng(0).integers(0, 256, (40, 6, 6), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", images=x, labels=np.arange(40) % len(names), label_names=np.array(names))
    return tmp_path / "own.npz"


def test_a_label_that_looks_like_html_is_shown_as_text(tmp_path: Path, open_page: Open) -> None:
    names = ['<img src=x onerror="document.title=1">', "</script><script>document.title=2</script>", "plain"]
    run = trained(tmp_path / "<b>run", str(_labelled(tmp_path, names)), "--hidden", "8")
    opened: Any = open_page(run / "explorer.html")
    for tab in ("Morph", "Attributes", "Neighbours", "Picture", "Run"):
        opened.page.get_by_role("tab", name=tab).click()
        opened.settle()
    assert opened.page.locator(".chip").all_inner_texts() == names
    assert opened.page.locator("img, b").count() == 0
    assert opened.page.title() == "<b>run – elboroom explorer"


def test_a_narrow_screen_has_no_text_beyond_its_edge(digits: Path, open_page: Open) -> None:
    opened = open_page(digits / "explorer.html", viewport={"width": 360, "height": 700}, has_touch=True)
    for tab in ("Sliders", "Morph", "Attributes", "Neighbours", "Picture", "Run"):
        opened.page.get_by_role("tab", name=tab).click()
        opened.settle()
        assert opened.js("() => document.documentElement.scrollWidth") <= 360
    box = opened.page.locator(".board").bounding_box()
    opened.page.touchscreen.tap(box["x"] + 90, box["y"] + 120)
    opened.settle()
    assert opened.js("() => explorer.store.kept.origin") != "the middle of the codes"


def test_a_long_name_beside_the_pointer_is_not_cut_off_by_the_edge(digits: Path, open_page: Open) -> None:
    opened = open_page(digits / "explorer.html", viewport={"width": 390, "height": 700})
    opened.js("() => { explorer.points.label = () => 'a name without an end '.repeat(9) }")
    board = opened.page.locator(".board").bounding_box()
    inside = opened.page.locator(".tooltip")
    seen = 0
    for height in np.linspace(0.3, 0.98, 30):
        opened.page.mouse.move(board["x"] + board["width"] / 2, board["y"] + height * board["height"])
        opened.settle()
        if inside.is_visible():
            seen += 1
            box = inside.bounding_box()
            assert board["y"] <= box["y"]
            assert box["y"] + box["height"] <= board["y"] + board["height"]
    assert seen > 2
