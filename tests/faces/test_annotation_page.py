"""The page for marking faces, in a real Chromium: clicks become pixels of the original photo in the file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elboroom.annotation import Marks, routes
from elboroom.data.faces.geometry import placed
from elboroom.data.faces.prepare import load_prepared, prepare_faces
from elboroom.serving import Server

from .drawn import dots, dotted, turned

ODD = "<img src=x onerror=alert(1)>.png"
PARTS = ("left_eye", "right_eye", "nose", "mouth")
SIZE = (1200, 900)  # of the photos, which are shown smaller
EVIL = "window.evil = true"


class Desk:
    """The page before a folder of photos, and a hand at the mouse."""

    def __init__(self, browser: Any, folder: Path, **context: Any):
        self.folder = folder
        self.marks = Marks(folder)
        self.server = Server(routes(self.marks)).__enter__()
        self.context = browser.new_context(**{"viewport": {"width": 1100, "height": 700}, **context})
        self.page = self.context.new_page()
        self.faults: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.faults.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.faults.append("a dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(self.server.address)
        self.wait()

    def close(self) -> None:
        self.context.close()
        self.server.__exit__()
        assert self.faults == []
        own = (self.server.address, f"blob:http://127.0.0.1:{self.server.port}/", "data:,")
        assert [url for url in self.asked if not url.startswith(own)] == []

    def wait(self) -> None:
        """Until the photo is shown."""
        self.page.locator("#message", has_text="Loading").wait_for(state="hidden")

    def _place(self) -> tuple[float, float, float]:
        """Left, top and scale of a photo of `SIZE` that is shown whole."""
        box = self.page.locator("#canvas").bounding_box()
        scale = min(box["width"] / SIZE[0], box["height"] / SIZE[1])
        left, top = box["width"] - SIZE[0] * scale, box["height"] - SIZE[1] * scale
        return box["x"] + left / 2, box["y"] + top / 2, scale

    def at(self, x: float, y: float) -> tuple[int, int]:
        """The pixel of the page that shows a place of the photo."""
        left, top, scale = self._place()
        return round(left + x * scale), round(top + y * scale)

    def hit(self, points: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        """Where in the photo clicks at these places truly go."""
        left, top, scale = self._place()
        pixels = {part: self.at(*point) for part, point in points.items()}
        return {part: ((x - left) / scale, (y - top) / scale) for part, (x, y) in pixels.items()}

    def click(self, *points: tuple[float, float]) -> None:
        for point in points:
            self.page.mouse.click(*self.at(*point))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.wait()

    def text(self, place: str) -> str:
        return self.page.locator(place).inner_text()

    def until(self, place: str, text: str) -> None:
        self.page.locator(place, has_text=text).wait_for(timeout=10_000)

    def saves(self, points: dict[str, tuple[float, float]], name: str = ODD) -> None:
        """Check that the file holds these marks of a photo, or will within seconds, to a tenth of a pixel."""
        expected = {part: pytest.approx(point, abs=0.0501) for part, point in points.items()}
        for _ in range(100):
            if (self.folder / "landmarks.csv").exists() and in_file(self.rows().get(name, {})) == expected:
                break
            self.page.wait_for_timeout(50)
        assert in_file(self.rows().get(name, {})) == expected

    def rows(self) -> dict[str, dict[str, str]]:
        with (self.folder / "landmarks.csv").open(newline="", encoding="utf-8") as file:
            return {row["file"]: row for row in csv.DictReader(file)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "dogs").mkdir()
    for index, name in enumerate((ODD, "a.png", "b.png")):
        dotted(face(index), SIZE, radius=24, background=(60 + index, 90, 90)).save(tmp_path / "dogs" / name)
    return tmp_path / "dogs"


@pytest.fixture
def desk(chromium: Any, folder: Path) -> Iterator[Desk]:
    desk = Desk(chromium, folder)
    yield desk
    desk.close()


def face(index: int) -> dict[str, tuple[float, float]]:
    return turned(10 * index - 5, 6.0, (600 + 40 * index, 450))


def in_file(row: dict[str, str]) -> dict[str, tuple[float, float]]:
    return {
        part: (float(row[f"{part}_x"]), float(row[f"{part}_y"])) for part in PARTS if row.get(f"{part}_x")
    }


def first_two(points: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    return {part: points[part] for part in PARTS[:2]}


def test_clicks_become_a_data_set(desk: Desk, folder: Path, tmp_path: Path) -> None:
    assert desk.text("#name") == ODD
    assert desk.page.locator("h1 img").count() == 0
    for index, key in enumerate(("Enter", " ", "Enter")):
        desk.click(*face(index).values())
        desk.page.locator("#crop").wait_for(state="visible")
        desk.press(key)
    desk.until("#status", "3 of 3 marked")
    desk.until("#message", "All photos are done")
    for index, name in enumerate((ODD, "a.png", "b.png")):
        desk.saves(desk.hit(face(index)), name)
    assert list(desk.rows()) == [ODD, "a.png", "b.png"]
    prepare_faces([folder], tmp_path / "faces", channels=3, align="landmarks", detector="none")
    wanted = placed("person", (64, 64))
    for crop in np.asarray(load_prepared(tmp_path / "faces").x):
        for part, place in dots(crop).items():
            assert np.allclose(place, wanted[part], atol=0.6), part


def test_the_preview_is_the_face_that_will_be_cut(desk: Desk) -> None:
    desk.click(*list(face(0).values())[:2])
    image = desk.page.locator("#crop")
    image.wait_for(state="visible")
    desk.until("#crop-note", "aligned as a person's face")
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 192
    pixels = image.evaluate(
        """async image => {
            await image.decode();
            const canvas = new OffscreenCanvas(192, 192), context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            return [...context.getImageData(0, 0, 192, 192).data];
        }"""
    )
    shown = np.array(pixels, dtype=np.uint8).reshape(192, 192, 4)[..., :3]
    wanted = placed("person", (192, 192))
    for part, place in dots(shown).items():
        assert np.allclose(place, wanted[part], atol=1.5), part


def test_undo_takes_back_mark_after_mark_and_then_the_photo_before(desk: Desk) -> None:
    points = list(face(0).values())
    desk.click(points[0], points[2])
    desk.page.locator("#parts li.set").nth(1).wait_for()
    assert desk.page.locator("#parts li.set").count() == 2
    desk.press("z")
    assert desk.page.locator("#parts li.current").inner_text() == "right eye"
    desk.click(*points[1:])
    desk.press("Enter")
    assert desk.text("#name") == "a.png"
    desk.press("Backspace")
    assert desk.text("#name") == ODD
    assert desk.page.locator("#parts li.set").count() == 4
    desk.press("Backspace", "Backspace", "ArrowRight")  # leaving saves what is still marked
    desk.until("#status", "1 of 3 marked")
    desk.saves(desk.hit(first_two(face(0))))


def test_one_eye_is_not_enough(desk: Desk) -> None:
    desk.click(next(iter(face(0).values())))
    desk.press("Enter")
    assert desk.text("#name") == ODD
    assert "Mark both eyes" in desk.text("#message")
    desk.press("ArrowRight", "ArrowLeft")
    assert desk.page.locator("#parts li.set").count() == 1  # it is kept meanwhile
    assert not (desk.folder / "landmarks.csv").exists()


def test_skipping_and_undoing_it(desk: Desk) -> None:
    desk.press("s")
    desk.until("#status", "1 skipped")
    desk.press("s")
    desk.until("#status", "2 skipped")
    assert desk.text("#name") == "b.png"
    desk.press("z")
    assert desk.text("#name") == "a.png"
    desk.until("#status", "1 skipped")
    desk.saves({})
    for _ in range(100):
        if list(desk.rows()) == [ODD]:
            break
        desk.page.wait_for_timeout(50)
    assert list(desk.rows()) == [ODD]
    assert set(desk.rows()[ODD].values()) == {ODD, ""}


def test_starting_again_goes_on(chromium: Any, folder: Path) -> None:
    first = Desk(chromium, folder)
    first.click(*face(0).values())
    first.press("Enter")
    first.click(next(iter(face(1).values())))  # not enough, and lost
    first.saves(first.hit(face(0)))
    first.close()
    again = Desk(chromium, folder)
    assert again.text("#name") == "a.png"
    assert again.text("#status") == "1 of 3 marked"
    again.press("ArrowLeft")
    assert again.page.locator("#parts li.set").count() == 4
    again.close()


def test_marks_can_be_moved_swapped_and_nudged(desk: Desk) -> None:
    left, right, *_ = face(0).values()
    desk.click(right, left)
    desk.press("x")
    mouse, target = desk.page.mouse, (left[0] + 50, left[1] - 40)
    mouse.move(*desk.at(*left))
    mouse.down()
    mouse.move(*desk.at(*target), steps=4)
    mouse.up()
    desk.press("Shift+ArrowRight", "Enter")
    desk.until("#status", "1 of 3 marked")
    hit = desk.hit({"left_eye": target, "right_eye": right})
    pixel = 1 / desk._place()[2]  # of the screen, in those of the photo
    hit["right_eye"] = (hit["right_eye"][0] + pixel, hit["right_eye"][1])
    desk.saves(hit)


def test_clicks_on_a_zoomed_photo_are_as_true(desk: Desk) -> None:
    mouse = desk.page.mouse
    for point in first_two(face(0)).values():
        mouse.move(*desk.at(*point))
        for _ in range(4):
            mouse.wheel(0, -200)
        desk.page.wait_for_timeout(100)
        mouse.click(*desk.at(*point))  # zooming about the pointer leaves its place where it is
        desk.press("0")
    mouse.move(*desk.at(*face(0)["nose"]))
    mouse.wheel(0, -400)
    mouse.down(button="right")
    mouse.move(*desk.at(*face(0)["mouth"]))
    mouse.up(button="right")
    desk.page.wait_for_timeout(100)
    mouse.click(*desk.at(*face(0)["mouth"]))  # the photo was moved by the right button
    desk.press("Enter")
    desk.until("#status", "1 of 3 marked")
    hit = desk.hit(face(0))
    desk.saves({part: hit[part] for part in PARTS[:3]})


def test_swapped_eyes_are_told_before_and_after(desk: Desk) -> None:
    left, right, nose, _ = face(0).values()
    desk.click(right, left, nose)
    desk.until("#crop-note", "left and right eye may be swapped")
    desk.press("Enter")
    desk.until("#alert", "will be left out")
    desk.press("ArrowLeft")
    desk.until("#message", "Will be left out")
    desk.press("x", "Enter")
    desk.until("#status", "1 of 3 marked")


def test_the_last_click_may_go_on(desk: Desk) -> None:
    desk.press("a")
    desk.click(*face(0).values())
    desk.until("#name", "a.png")
    desk.until("#status", "1 of 3 marked")


def test_a_stopped_program_is_told_and_nothing_is_forgotten(chromium: Any, folder: Path) -> None:
    desk = Desk(chromium, folder)
    table = dict(desk.server.routes)
    desk.server.routes["POST /save"] = lambda _: 1 / 0
    desk.click(*face(0).values())
    desk.press("Enter")
    desk.until("#alert", "is not saved")
    desk.server.routes.update(table)
    desk.page.locator("#retry").click()
    desk.page.locator("#alert").wait_for(state="hidden", timeout=10_000)
    assert list(desk.rows()) == [ODD]
    assert desk.faults == [
        "error: Failed to load resource: the server responded with a status of 500 (Internal Server Error)"
    ]
    desk.faults.clear()
    desk.close()


def test_photos_that_cannot_be_seen_say_why(chromium: Any, folder: Path) -> None:
    (folder / "0.jpg").write_text("no photo")
    desk = Desk(chromium, folder)
    desk.until("#message", "is not an image that can be read")
    desk.click((600, 450))
    desk.press("Enter")
    assert desk.text("#name") == ODD
    desk.close()


def test_fingers_place_marks_on_a_narrow_screen(chromium: Any, folder: Path) -> None:
    small = {"viewport": {"width": 380, "height": 700}, "has_touch": True, "color_scheme": "dark"}
    desk = Desk(chromium, folder, **small, device_scale_factor=2)
    assert desk.page.evaluate("document.documentElement.scrollWidth") <= 380
    before = desk.page.locator("#canvas").bounding_box()
    for point in face(0).values():
        desk.page.touchscreen.tap(*desk.at(*point))
    desk.page.locator("#crop").wait_for(state="visible")
    assert desk.page.locator("#canvas").bounding_box() == before  # the photo stays under the finger
    desk.page.locator("#next").tap()
    desk.until("#status", "1 of 3 marked")
    desk.saves(desk.hit(face(0)))
    desk.close()


def test_a_finger_aims_and_two_zoom_without_marking(chromium: Any, folder: Path) -> None:
    desk = Desk(chromium, folder, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    touch = desk.context.new_cdp_session(desk.page)

    def send(kind: str, *fingers: tuple[float, float]) -> None:
        points = [{"x": x, "y": y, "id": k} for k, (x, y) in enumerate(fingers)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    x, y = desk.at(*face(0)["nose"])
    send("touchStart", (x - 20, y))
    send("touchStart", (x - 20, y), (x + 20, y))
    for k in range(1, 6):
        send("touchMove", (x - 20 - 10 * k, y), (x + 20 + 10 * k, y))
    send("touchEnd")
    assert desk.page.locator("#parts li.set").count() == 0
    desk.page.keyboard.press("0")
    left, right = (desk.at(*point) for point in first_two(face(0)).values())
    send("touchStart", (left[0] - 30, left[1] + 10))
    send("touchMove", left)
    send("touchEnd")
    send("touchStart", right)
    send("touchEnd")
    desk.press("Enter")
    desk.saves(desk.hit(first_two(face(0))))
    assert desk.page.evaluate("visualViewport.scale") == 1  # the page itself was not zoomed
    desk.close()


def test_the_next_photo_is_there_before_it_is_asked_for(desk: Desk) -> None:
    numbers = {photo["name"]: photo["id"] for photo in desk.marks.tree()["photos"]}
    for _ in range(100):
        fetched = [url.rpartition("/")[2] for url in desk.asked if "/photo?" in url]
        if len(fetched) > 1:
            break
        desk.page.wait_for_timeout(50)
    assert fetched[0].startswith(f"photo?photo={numbers[ODD]}&")
    assert any(url.startswith(f"photo?photo={numbers['a.png']}&") for url in fetched)
    desk.asked.clear()
    desk.press("s")
    assert not any(f"/photo?photo={numbers['a.png']}&" in url for url in desk.asked)


def test_keys_on_buttons_press_the_buttons_only(desk: Desk) -> None:
    desk.page.locator("#following").click()
    assert desk.text("#name") == "a.png"
    desk.page.keyboard.press(" ")  # the canvas has the focus again: "next", which wants marks
    assert desk.text("#name") == "a.png"
    desk.page.locator("#previous").focus()
    desk.page.keyboard.press("Enter")
    assert desk.text("#name") == ODD


def test_scripts_put_into_the_page_do_not_run(desk: Desk) -> None:
    desk.page.evaluate(
        f"""() => {{
            const script = document.createElement("script");
            script.textContent = "{EVIL}";
            document.body.append(script);
            document.body.insertAdjacentHTML("beforeend", '<img src=x: onerror="{EVIL}">');
        }}"""
    )
    for _ in range(100):
        if sum("Content Security Policy" in fault for fault in desk.faults) >= 2:  # both were stopped
            break
        desk.page.wait_for_timeout(50)
    assert desk.page.evaluate("window.evil") is None
    assert sum("Content Security Policy" in fault for fault in desk.faults) >= 2
    desk.faults.clear()
    desk.asked.clear()
