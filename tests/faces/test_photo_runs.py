"""Photos of every kind beside a run that was trained on faces: prepared as its examples were."""

import importlib.util

import numpy as np
import pytest
from PIL import Image

from elboroom.cli.inputs.examples import read_example
from elboroom.cli.inputs.photos import read_photo
from elboroom.cli.inputs.run_data import run_data
from elboroom.cli.main import main
from elboroom.data import load_data
from elboroom.data.alike import load_alike
from elboroom.data.faces import detect, prepared_photo
from elboroom.data.faces.geometry import placed
from elboroom.data.faces.prepare import prepare_faces
from elboroom.data.formats import Options
from elboroom.data.preparation import PhotoSteps, Preparation
from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.runs.run import Run
from elboroom.training import fit

from .drawn import dots
from .test_prepared_photo import Dots, group

SHAPE = (64, 64, 3)


@pytest.fixture(autouse=True)
def detector(monkeypatch):
    monkeypatch.setattr(prepared_photo, "_finder", lambda _: ("dots", detect.search(Dots())))


def made_with(tmp_path, preparation, shape=SHAPE, **options):
    """A run whose examples were made in this way."""
    x = np.random.default_rng(0).integers(0, 256, (30, *shape), dtype=np.uint8)
    np.save(tmp_path / "x.npy", x)
    data = load_data(tmp_path / "x.npy")
    object.__setattr__(data, "preparation", preparation)
    vae = VAE.build(shape=shape, hidden=[4], likelihood="gaussian")
    out = tmp_path / f"run-{len(list(tmp_path.iterdir()))}"
    fit(vae, data, out=out, epochs=1, batch_size=30, quiet=True, source=str(tmp_path / "x.npy"), **options)
    return Run(out)


def faces(**labels):
    return Preparation(
        "faces",
        tuple((label, PhotoSteps(align, (64, 64), 3, "person", "dots")) for label, align in labels.items()),
    )


def check_places(pixels):
    wanted, found = placed("person", (64, 64)), dots(pixels)
    assert found.keys() == wanted.keys()
    for part, place in wanted.items():
        assert found[part] == pytest.approx(place, abs=0.6), part


def test_a_photo_of_the_folder_becomes_the_example_that_was_trained_on(tmp_path, photos):
    """Landmarks beside the photo, made larger than the run's examples and resized as they were."""
    folder = photos("people", 24)
    prepare_faces([folder], tmp_path / "faces", channels=3)
    data = load_data(tmp_path / "faces", size=40, channels=1)
    vae = VAE.build(shape=(40, 40, 1), hidden=[4])
    source = {"source": str(tmp_path / "faces"), "size": 40, "channels": 1}
    fit(vae, data, out=tmp_path / "run", epochs=1, quiet=True, **source)
    run = Run(tmp_path / "run")
    for row in (0, 7, 23):
        example = read_example(str(folder / f"{row:03}.png"), run.model(), run)
        np.testing.assert_array_equal(example, data.values(np.array([row]))[0])


@pytest.mark.parametrize(
    "save",
    [
        lambda image, path: image.save(path / "a.jpg", quality=95),
        lambda image, path: image.convert("CMYK").save(path / "a.jpg", quality=95),
        lambda image, path: image.save(path / "a.webp", quality=95),
        lambda image, path: image.convert("RGBA").save(path / "a.png"),
        lambda image, path: image.rotate(90, expand=True).save(path / "a.png"),
        lambda image, path: image.rotate(90, expand=True).save(path / "a.jpg", exif=exif(6), quality=95),
        lambda image, path: image.save(path / "a.tiff"),
    ],
    ids=["jpeg", "cmyk", "webp", "alpha", "turned", "exif", "tiff"],
)
def test_a_face_in_a_larger_photo_of_any_format(tmp_path, save):
    run = made_with(tmp_path, faces(people="detect"))
    (tmp_path / "saved").mkdir()
    with Image.open(group(tmp_path, ((1, 0), 5, 2.0))) as image:
        save(image, tmp_path / "saved")
    [path] = (tmp_path / "saved").iterdir()
    photo = read_photo(path, SHAPE, run)
    assert photo.how.startswith("face found by dots")
    check_places(photo.pixels)


def exif(orientation):
    marks = Image.Exif()
    marks[0x0112] = orientation
    return marks


@pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is None, reason="pillow_heif is not installed")
def test_a_heic_photo(tmp_path):
    from pillow_heif import from_pillow

    run = made_with(tmp_path, faces(people="detect"))
    with Image.open(group(tmp_path, ((1, 0), 5, 2.0))) as image:
        from_pillow(image).save(tmp_path / "a.heic", quality=95)
    check_places(read_photo(tmp_path / "a.heic", SHAPE, run).pixels)


def test_a_16_bit_photo_is_cropped_as_the_8_bit_one(tmp_path):
    run = made_with(tmp_path, faces(dogs="crop"))
    grey = np.random.default_rng(0).integers(0, 256, (90, 120), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "16.png")
    eight, deep = (read_photo(tmp_path / name, SHAPE, run) for name in ("8.png", "16.png"))
    np.testing.assert_array_equal(eight.pixels, deep.pixels)
    assert deep.how == "the middle was cropped and resized to 64×64, as the dogs of the run were"


def test_of_a_group_the_largest_is_taken_and_the_others_are_offered(tmp_path, capsys):
    run = made_with(tmp_path, faces(people="detect", dogs="crop"))
    path = group(tmp_path, ((0, 0), 0, 1.0), ((1, 1), 5, 2.5), ((1, 0), -5, 1.5))
    vae = run.model()
    largest = read_example(str(path), vae, run)
    said = capsys.readouterr().err
    assert "group.png: face found by dots; the largest of 3 faces; the others are group.png:2 at (" in said
    assert "), group.png:3 at (" in said
    third = read_example(f"{path}:3", vae, run)
    check_places((third * 255).round().astype(np.uint8))
    assert np.abs(third - largest).max() > 0.1
    np.testing.assert_array_equal(read_example(f"{path}:1", vae, run), largest)
    missing = "group.png:4: 3 faces found in this photo, numbered from 1"
    for wrong, words in ((4, missing), (0, "numbered from 1")):
        with pytest.raises(UsageError, match=words):
            read_example(f"{path}:{wrong}", vae, run)


def no_face(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 90, (300, 200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    return tmp_path / "grey.png"


def test_without_a_face_the_way_of_the_label_that_was_cropped_is_taken_and_said(tmp_path):
    path = no_face(tmp_path)
    photo = read_photo(path, SHAPE, made_with(tmp_path, faces(people="detect", dogs="crop")))
    assert photo.how == (
        "no face found by dots; the middle was cropped and resized to 64×64, as the dogs of the run were"
    )
    with Image.open(path) as image:
        middle = image.crop((0, 50, 200, 250)).resize((64, 64), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(photo.pixels, np.asarray(middle))


def test_without_a_face_a_run_of_faces_alone_refuses_the_photo(tmp_path):
    path, run = no_face(tmp_path), made_with(tmp_path, faces(people="detect"))
    with pytest.raises(UsageError, match=r"grey\.png: no face found by dots; .*--prepare crop"):
        read_photo(path, SHAPE, run)
    assert "the middle was cropped" in read_photo(path, SHAPE, run, "crop").how
    with pytest.raises(UsageError, match=r"grey\.png:1 asks for a face, but --prepare crop"):
        read_photo(path, SHAPE, run, "crop", 0)


def test_an_array_of_faces_says_so_in_its_configuration_or_on_the_command_line(tmp_path):
    """As the presets dogpeople and haskell-dogpeople do."""
    path = group(tmp_path, ((1, 0), 10, 2.0))
    plain, told = made_with(tmp_path, None), made_with(tmp_path, None, prepare="faces")
    assert (
        "does not record how its examples were prepared (--prepare faces"
        in read_photo(path, SHAPE, plain).how
    )
    check_places(read_photo(path, SHAPE, told).pixels)
    check_places(read_photo(path, SHAPE, plain, "faces").pixels)
    check_places(read_photo(path, SHAPE, plain, face=0).pixels)


def test_every_verb_takes_such_photos_and_shows_them_as_the_model_gets_them(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = made_with(tmp_path, faces(people="detect", dogs="crop"))
    path = group(tmp_path, ((1, 0), 10, 2.0), ((0, 1), 0, 1.0))
    rebuilt = ["group-2-reconstruction", "group-reconstruction", "reconstruct"]
    for line, pictures in (
        ("reconstruct {} {} {}:2 --out r", [f"{name}.png" for name in rebuilt]),
        ("morph {} {} {}:2 --steps 2 --out r/m.gif", ["m-ends.png", "m.gif"]),
        ("neighbours {} {} {}:2 --out r/n.png", ["n.png"]),
        ("figures {} --mark {} {}:2 --only loss_histogram --out r", ["loss_histogram.png", "marked.png"]),
        ("figures {} --mark {} {}:2 --only friends --out r", ["friends.png"]),
        ("traverse {} --at {} --out r/t.png", ["t-at.png", "t.png"]),
    ):
        assert main(line.format(run.path, *[path] * 2).split()) == 0
        assert "face found by dots" in capsys.readouterr().err
        made = sorted(file.name for file in (tmp_path / "r").iterdir())
        assert made == pictures
        for file in (tmp_path / "r").iterdir():
            file.unlink()


@pytest.mark.parametrize("rgb", [False, True])
def test_a_folder_of_photos_becomes_the_examples_that_were_trained_on(tmp_path, photos, rgb):
    """Landmarks for people, the middle for dogs; the folder that holds both, and each alone."""
    folders = [photos("people", 6), photos("dogs", 5, first=50)]
    made = prepare_faces(folders, tmp_path / "faces", align={"dogs": "crop"}, channels=3 if rgb else 1)
    (folders[1] / "landmarks.json").write_text("{}")
    data = load_data(made.path)
    people, dogs = (data.x[data.labels == label] for label in (0, 1))
    found = load_alike(tmp_path / "photos", data.preparation, data.shape, Options())
    assert found.label_names == ("dogs", "people")
    np.testing.assert_array_equal(found.x, np.concatenate([dogs, people]))
    for folder, wanted in zip(folders, (people, dogs), strict=True):
        alone = load_alike(folder, data.preparation, data.shape, Options())
        np.testing.assert_array_equal(alone.x, wanted)
        assert alone.names[0] == ("000.png" if folder.name == "people" else "050.png")
    again = load_alike(tmp_path / "photos", data.preparation, data.shape, Options())
    assert again.origin == "cache"
    smaller = load_alike(tmp_path / "photos", data.preparation, (40, 30, 1), Options())
    assert smaller.shape == (40, 30, 1)


def test_photos_without_a_face_are_left_out_and_crops_taken_as_they_are(tmp_path):
    made = faces(people="detect")
    (tmp_path / "new").mkdir()
    group(tmp_path, ((1, 0), 5, 2.0)).rename(tmp_path / "new/face.png")
    Image.new("RGB", (90, 80)).save(tmp_path / "new/none.png")
    crop = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    Image.fromarray(crop).save(tmp_path / "new/crop.png")
    data = load_alike(tmp_path / "new", made, SHAPE, Options())
    assert data.names == ("crop.png", "face.png")
    np.testing.assert_array_equal(data.x[0], crop)
    check_places(data.x[1])
    [skipped] = data.skipped
    assert skipped.reason == "cannot be prepared as in training (no face found by dots)"
    with pytest.raises(UsageError, match="cannot be prepared as in training"):
        load_alike(tmp_path / "new", made, SHAPE, Options(strict=True))


def test_a_run_of_arrays_finds_faces_where_its_configuration_says_so(tmp_path):
    run = made_with(tmp_path, None, prepare="faces")
    (tmp_path / "new").mkdir()
    group(tmp_path, ((1, 0), 5, 2.0)).rename(tmp_path / "new/face.png")
    check_places(run_data(run, str(tmp_path / "new")).x[0])
