"""Marks made by hand arrive in the file that 'data faces' reads, and nothing else in it changes."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elboroom.annotation import Marks, routes
from elboroom.annotation.marks import CROP
from elboroom.annotation.rows import name_problem, set_row
from elboroom.data.faces.geometry import placed
from elboroom.data.faces.landmarks import Landmarks, read_table
from elboroom.data.faces.prepare import load_prepared, prepare_faces
from elboroom.errors import FailureError, UsageError
from elboroom.serving import Request

from .drawn import dots, dotted, turned

HEADER = "file,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y,mouth_x,mouth_y\n"
EYES = {"left_eye": (10.0, 20.0), "right_eye": (40.04, 20.26)}


def save_photo(path: Path, points=None, **options) -> dict[str, tuple[float, float]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    points = points or turned(8, 1.5, (150, 130))
    dotted(points, **options).save(path)
    return points


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, name in enumerate(("a.png", "b.png", "sub/a.png")):
        save_photo(tmp_path / "dogs" / name, background=(60 + index, 90, 90))
    return tmp_path / "dogs"


def states(marks: Marks) -> dict[str, str]:
    return {photo["name"]: photo["status"] for photo in marks.tree()["photos"]}


def number_of(marks: Marks, name: str) -> int:
    return next(photo["id"] for photo in marks.tree()["photos"] if photo["name"] == name)


def test_rows_are_written_with_a_tenth_of_a_pixel(tmp_path: Path) -> None:
    file = tmp_path / "landmarks.csv"
    set_row(file, ["a.png"], EYES)
    assert file.read_text() == HEADER + "a.png,10,20,40,20.3,,,,\n"
    set_row(file, ["b.png"], {})
    set_row(file, ["a.png"], {**EYES, "nose": (123456.78, 0.04)})
    assert file.read_text() == HEADER + "a.png,10,20,40,20.3,123456.8,0,,\nb.png,,,,,,,,\n"
    set_row(file, ["a.png"], None)
    set_row(file, ["c.png"], None)
    assert file.read_text() == HEADER + "b.png,,,,,,,,\n"


def test_all_else_in_the_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "landmarks.csv"
    before = (
        "\ufeffage, right_eye_x,right_eye_y,file,left_eye_x,left_eye_y,note\n"
        '3,1,2,gone.jpg,3,4,"two\nlines, one cell"\n'
        "4,1,2,a.png,3,4,kept\n"
        "5,1,2,a.png,3,4,said twice\n"
        "6,x\n"
    )
    file.write_bytes(before.encode())
    set_row(file, ["a.png", "dogs/a.png"], EYES)
    assert file.read_bytes().decode() == (
        "\ufeffage,right_eye_x,right_eye_y,file,left_eye_x,left_eye_y,note,nose_x,nose_y,mouth_x,mouth_y\n"
        '3,1,2,gone.jpg,3,4,"two\nlines, one cell",,,,\n'
        "4,40,20.3,a.png,10,20,kept,,,,\n"
        "6,x,,,,,,,,,\n"
    )


def test_a_row_under_another_name_of_the_photo_is_changed_in_place(tmp_path: Path) -> None:
    file = tmp_path / "landmarks.csv"
    file.write_text(HEADER + "dogs\\sub\\a.png,1,2,3,4,,,,\na.png,5,6,7,8,,,,\n")
    set_row(file, ["sub/a.png", "dogs/sub/a.png", "a.png"], EYES)
    assert file.read_text() == HEADER + "dogs\\sub\\a.png,10,20,40,20.3,,,,\na.png,5,6,7,8,,,,\n"


@pytest.mark.parametrize(
    "name",
    ["a,b.png", 'say "hello".png', "<img src=x onerror=alert(1)>.png", "=1+1.png", "café/é.png", "'.png"],
)  # fmt: skip
def test_names_survive_the_file(tmp_path: Path, name: str) -> None:
    assert name_problem(name) is None
    set_row(tmp_path / "landmarks.csv", ["first.png"], EYES)
    set_row(tmp_path / "landmarks.csv", [name], EYES)
    found = read_table(tmp_path / "landmarks.csv").get(name)
    assert isinstance(found, Landmarks)
    assert found.points == {"left_eye": (10, 20), "right_eye": (40, 20.3)}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such names")
@pytest.mark.parametrize("name", [" a.png", "a\nb.png", "a\\b.png", "a\u2028.png", b"a\xff.png"])
def test_names_that_the_file_cannot_hold_are_said_and_refused(tmp_path: Path, name: str | bytes) -> None:
    save_photo(tmp_path / "good.png")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + os.fsencode(name))).write_bytes(
        (tmp_path / "good.png").read_bytes()
    )
    marks = Marks(tmp_path)
    odd = next(photo for photo in marks.tree()["photos"] if photo["name"] != "good.png")
    assert "rename it" in odd["note"]
    json.dumps(odd).encode()
    with pytest.raises(UsageError, match="rename it"):
        marks.save(odd["id"], EYES)
    assert not (tmp_path / "landmarks.csv").exists()


@pytest.mark.parametrize("template", ["person", "dog"])
def test_what_is_marked_is_what_data_faces_cuts(tmp_path: Path, template: str) -> None:
    folder = tmp_path / "dogs"
    for index in range(6):
        save_photo(folder / f"{index:02d}.png", turned(15 * index, 1.5, (150, 130), template))
    marks = Marks(folder)
    crops = []
    for index in range(6):
        points = turned(15 * index, 1.5, (150, 130), template)
        marks.save(number_of(marks, f"{index:02d}.png"), points)
    assert marks.template == template
    for index in range(6):
        points = turned(15 * index, 1.5, (150, 130), template)
        png = marks.crop(
            number_of(marks, f"{index:02d}.png"), {k: [*map(float, p)] for k, p in points.items()}
        )
        crops.append(np.asarray(Image.open(io.BytesIO(png))))
    prepare_faces([folder], tmp_path / "faces", size=CROP, channels=3, align="landmarks", detector="none")
    faces = np.asarray(load_prepared(tmp_path / "faces").x)
    # The file holds tenths of a pixel, of which a steep edge makes some grey values.
    assert np.abs(faces.astype(int) - np.array(crops)).max() <= 24
    assert np.abs(faces.astype(int) - np.array(crops)).mean() < 0.2
    found, wanted = dots(faces[5]), placed(template, (CROP, CROP))
    for part in wanted:
        assert np.allclose(found[part], wanted[part], atol=0.5), part


def test_coordinates_are_those_of_the_upright_photo(tmp_path: Path) -> None:
    points = {"left_eye": (100, 120), "right_eye": (200, 120), "nose": (150, 180)}
    upright = dotted(points, size=(300, 400))
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "dogs").mkdir()
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "dogs" / "a.jpg", exif=exif, quality=95)
    marks = Marks(tmp_path / "dogs")
    assert marks.size(0) == (300, 400)
    picture = np.asarray(Image.open(io.BytesIO(marks.picture(0, 2048))))
    assert picture.shape == (400, 300, 3)
    for part, place in dots(picture).items():
        assert np.allclose(place, points[part], atol=1), part
    marks.save(0, points)
    assert (tmp_path / "dogs" / "landmarks.csv").read_text() == HEADER + "a.jpg,100,120,200,120,150,180,,\n"


def test_photos_of_iphones_are_marked_too(tmp_path: Path) -> None:
    pytest.importorskip(
        "pillow_heif", reason="pillow-heif is not installed: elboroom[heic]"
    ).register_heif_opener()
    points = {"left_eye": (100, 120), "right_eye": (200, 120), "nose": (150, 180)}
    dotted(points, size=(300, 400)).save(tmp_path / "a.HEIC", quality=95)
    marks = Marks(tmp_path)
    assert marks.size(0) == (300, 400)
    picture = Image.open(io.BytesIO(marks.picture(0, 1024)))
    assert (picture.format, picture.size) == ("JPEG", (300, 400))
    for part, place in dots(np.asarray(picture)).items():
        assert np.allclose(place, points[part], atol=1), part


def test_large_photos_are_shown_smaller(tmp_path: Path) -> None:
    points = {"left_eye": (500, 600), "right_eye": (1000, 600)}
    (tmp_path / "dogs").mkdir()
    dotted(points, (1500, 1001), radius=30).save(tmp_path / "dogs" / "a.jpg", quality=95)
    marks = Marks(tmp_path / "dogs")
    picture = Image.open(io.BytesIO(marks.picture(0, 1024)))
    assert picture.size == (1024, 683)
    assert marks.size(0) == (1500, 1001)
    for part, place in dots(np.asarray(picture)).items():
        assert np.allclose(np.array(place) * 1500 / 1024, points[part], atol=1.5), part


def test_skipped_photos_are_left_out_and_stay_so(folder: Path, tmp_path: Path) -> None:
    marks = Marks(folder)
    points = turned(8, 1.5, (150, 130))
    marks.save(number_of(marks, "b.png"), {})
    marks.save(number_of(marks, "a.png"), points)
    again = Marks(folder)
    assert states(again) == {"a.png": "marked", "b.png": "skipped", "sub/a.png": "todo"}
    assert (again.counts.photos, again.counts.marked, again.counts.skipped, again.counts.todo) == (3, 1, 1, 1)
    made = prepare_faces([folder], tmp_path / "faces", detector="none", align="landmarks")
    assert made.kept == {"dogs": 1}
    reasons = {skip.path: skip.reason for skip in made.rejected}
    assert reasons["dogs/b.png"] == "landmarks.csv line 2: has no left_eye and no right_eye"
    assert reasons["dogs/sub/a.png"] == "has no landmarks"  # those of a.png are not its own
    again.save(number_of(again, "b.png"), None)
    assert states(Marks(folder))["b.png"] == "todo"


def test_photos_come_and_go(folder: Path) -> None:
    marks = Marks(folder)
    before = {photo["name"]: photo["id"] for photo in marks.tree()["photos"]}
    marks.save(before["b.png"], EYES)
    (folder / "b.png").unlink()
    save_photo(folder / "aa.png")
    with pytest.raises(UsageError, match="cannot be read"):
        marks.picture(before["b.png"], 1024)
    marks.rescan()
    after = {photo["name"]: photo["id"] for photo in marks.tree()["photos"]}
    assert list(after) == ["a.png", "aa.png", "sub/a.png"]
    assert {name: after[name] for name in ("a.png", "sub/a.png")} == {
        name: before[name] for name in ("a.png", "sub/a.png")
    }
    assert after["aa.png"] not in before.values()
    with pytest.raises(UsageError, match="no longer in the folder"):
        marks.save(before["b.png"], EYES)
    assert "b.png,10,20" in marks.file.read_text()  # it may come back
    save_photo(folder / "b.png")
    assert states(Marks(folder))["b.png"] == "marked"


def test_several_at_work_lose_nothing(folder: Path) -> None:
    one, other = Marks(folder), Marks(folder)
    one.save(number_of(one, "a.png"), EYES)
    other.save(number_of(other, "b.png"), EYES)
    assert states(Marks(folder)) == {"a.png": "marked", "b.png": "marked", "sub/a.png": "todo"}
    threads = [
        threading.Thread(target=one.save, args=(photo["id"], EYES if k % 2 else {}))
        for k in range(4)
        for photo in one.tree()["photos"]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len((folder / "landmarks.csv").read_text().splitlines()) == 4


def test_landmarks_of_a_json_file_are_taken_over(folder: Path) -> None:
    (folder / "landmarks.json").write_text(
        '{"b.png": {"left_eye": [1, 2], "right_eye": [30, 4.5], "mouth": [5, 60]}}'
    )
    marks = Marks(folder)
    assert marks.takes_over == folder / "landmarks.json"
    assert states(marks)["b.png"] == "marked"
    marks.save(number_of(marks, "a.png"), EYES)
    assert (folder / "landmarks.csv").read_text() == (
        HEADER + "b.png,1,2,30,4.5,,,5,60\na.png,10,20,40,20.3,,,,\n"
    )
    assert marks.takes_over is None
    assert states(Marks(folder))["b.png"] == "marked"


def test_a_json_file_with_a_mistake_is_refused_before_work(folder: Path) -> None:
    (folder / "landmarks.json").write_text('{"b.png": {"left_eye": [1, 2]}}')
    with pytest.raises(UsageError, match=r"landmarks\.json: b\.png: .* has no right_eye; correct it"):
        Marks(folder)


def test_annotations_of_columbia_are_shown_as_marks(folder: Path) -> None:
    rows = ["30 40", "10 40", "20 60", *["1 1"] * 5]
    (folder / "b.txt").write_text("\n".join(rows))
    marks = Marks(folder)
    photo = next(photo for photo in marks.tree()["photos"] if photo["name"] == "b.png")
    assert photo["status"] == "marked"
    assert photo["points"]["left_eye"] == [30, 40]
    marks.save(photo["id"], None)
    assert states(marks)["b.png"] == "marked"  # the annotation is still there


def test_a_bad_row_is_told_and_can_be_corrected(folder: Path) -> None:
    (folder / "landmarks.csv").write_text(HEADER + "a.png,1,x,3,4,,,,\n")
    marks = Marks(folder)
    photo = marks.tree()["photos"][0]
    assert photo["status"] == "todo"
    assert photo["note"] == "landmarks.csv line 2: left_eye is ('1', 'x'), not two numbers"
    assert marks.save(photo["id"], EYES)["status"] == "marked"


def test_swapped_eyes_are_told(folder: Path) -> None:
    marks = Marks(folder)
    swapped = {"left_eye": [200, 100], "right_eye": [100, 100], "nose": [150, 150]}
    assert "left and right eye may be swapped" in marks.save(0, swapped)["note"]
    with pytest.raises(UsageError, match="may be swapped"):
        marks.crop(0, swapped)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({"left_eye": [10, 20]}, "right eye is missing"),
        ({"nose": [10, 20]}, "left eye is missing"),
        ({**EYES, "ear": [1, 1]}, "'ear' is no part of a face"),
        ({**EYES, "<b>": [1, 1]}, "is no part of a face"),
        ({**EYES, "nose": [301, 1]}, "nose is outside of the photo (300×260)"),
        ({**EYES, "nose": [1, -0.1]}, "nose is outside of the photo (300×260)"),
        ({**EYES, "nose": [1e999, 1]}, "nose is outside of the photo (300×260)"),
        ({**EYES, "nose": [float("nan"), 1]}, "nose is outside of the photo (300×260)"),
        ({**EYES, "nose": [1]}, "nose is not two numbers"),
        ({**EYES, "nose": "12"}, "nose is not two numbers"),
        ({**EYES, "nose": [True, False]}, "nose is not two numbers"),
        ({**EYES, "nose": None}, "nose is not two numbers"),
    ],
)
def test_impossible_marks_are_refused_and_nothing_is_written(
    folder: Path, points: dict[str, object], message: str
) -> None:
    marks = Marks(folder)
    for act in (marks.save, marks.crop):
        with pytest.raises(UsageError) as error:
            act(0, points)
        assert message in str(error.value)
    assert not (folder / "landmarks.csv").exists()


def test_the_edges_of_a_photo_can_be_marked(folder: Path) -> None:
    assert Marks(folder).save(0, {"left_eye": [0, 0], "right_eye": [300, 260]})["status"] == "marked"


def test_photos_are_refused_by_their_size_before_they_are_decoded(tmp_path: Path) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9999)))
    (tmp_path / "bomb.png").write_bytes(bomb)
    (tmp_path / "text.jpg").write_text("no photo")
    (tmp_path / "script.svg").write_text("<svg onload=alert(1)>")
    marks = Marks(tmp_path)
    assert list(states(marks)) == ["bomb.png", "text.jpg"]
    for call in (
        marks.size,
        lambda number: marks.picture(number, 1024),
        lambda number: marks.save(number, EYES),
    ):
        with pytest.raises(UsageError, match="is 12000×12000; images of more than 100 million pixels"):
            call(0)
        with pytest.raises(UsageError, match="is not an image"):
            call(1)


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="contains no photos"):
        Marks(tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        Marks(tmp_path / "x")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused_before_work(folder: Path) -> None:
    folder.chmod(0o500)
    try:
        with pytest.raises(FailureError, match="read-only"):
            Marks(folder)
    finally:
        folder.chmod(0o700)


def test_routes_take_what_the_page_sends(folder: Path) -> None:
    table = routes(Marks(folder))
    state = json.loads(table["GET /state"](Request()).body)
    assert [photo["name"] for photo in state["photos"]] == ["a.png", "b.png", "sub/a.png"]
    assert json.loads(table["GET /size"](Request({"photo": "0"})).body) == [300, 260]
    picture = table["GET /photo"](Request({"photo": "0", "side": "1024"}))
    assert picture.kind == "image/jpeg"
    asked = {"photo": 1, "points": {"left_eye": [100, 100], "right_eye": [180, 100]}}
    crop = table["POST /crop"](Request(body=json.dumps(asked).encode()))
    assert Image.open(io.BytesIO(crop.body)).size == (CROP, CROP)
    saved = json.loads(table["POST /save"](Request(body=json.dumps(asked).encode())).body)
    assert (saved["name"], saved["status"], saved["template"]) == ("b.png", "marked", "person")


@pytest.mark.parametrize(
    "body",
    ["[]", "1", "{}", '{"photo": "0", "points": {}}', '{"photo": 0}', '{"photo": 0, "points": []}',
     '{"photo": true, "points": {}}', '{"photo": 0.5, "points": {}}', '{"photo": 99, "points": {}}',
     '{"photo": -1, "points": {}}', '{"photo": 0, "points": {"left_eye": [NaN, 1]}}'],
)  # fmt: skip
def test_routes_refuse_all_else(folder: Path, body: str) -> None:
    table = routes(Marks(folder))
    for name in ("POST /save", "POST /crop"):
        with pytest.raises(UsageError):
            table[name](Request(body=body.encode()))
    for query in ({}, {"photo": "0"}, {"photo": "0", "side": "1"}, {"photo": "../a.png", "side": "1024"}):
        with pytest.raises(UsageError):
            table["GET /photo"](Request(query))
    assert not (folder / "landmarks.csv").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of a console differ there")
def test_the_command_serves_until_control_c(
    folder: Path, usual_signals: None, popen: type[subprocess.Popen[str]]
) -> None:
    command = [sys.executable, "-m", "elboroom", "data", "annotate", str(folder), "--template", "dog"]
    with popen(command, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[-1]
        process.stdout.readline()
        _, _, host, token, _ = address.split("/")
        connection = http.client.HTTPConnection(host, timeout=20)
        connection.request("GET", f"/{token}/state")
        state = json.loads(connection.getresponse().read())
        assert state["parts"] == ["left_eye", "right_eye", "nose"]
        body = json.dumps({"photo": 0, "points": EYES})
        connection.request("POST", f"/{token}/save", body, {"Origin": f"http://{host}"})
        assert connection.getresponse().status == 200
        connection.close()
        os.kill(process.pid, signal.SIGINT)
        out, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == f"1 marked, 0 skipped, 2 to do; {folder}/landmarks.csv\n"
    assert errors.splitlines() == [
        f"3 photos in {folder}: 0 marked, 0 skipped, 3 to do",
        f"next: elboroom data faces {folder} --align landmarks --out faces",
    ]
