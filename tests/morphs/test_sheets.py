"""What stands on sheets, and what frames and films hold."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from elboroom.data.dataset import Dataset
from elboroom.errors import FailureError, UsageError
from elboroom.evaluation.neighbours import nearest
from elboroom.figures import by_class, morphs
from elboroom.figures.grids import as_images, to_uint8
from elboroom.figures.morphs import Morph
from elboroom.figures.style import to_png
from elboroom.latent.paths import linear
from elboroom.latent.targets import refine
from elboroom.models.vae import VAE


def words(figure: Figure, axis: str = "y") -> list[str]:
    return [text.get_text() for axes in figure.axes for text in getattr(axes, f"get_{axis}ticklabels")()]


def in_view(figure: Figure) -> bool:
    """Whether every word lies within the figure."""
    to_png(figure)
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    texts = [t for axes in figure.axes for t in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    boxes = [text.get_window_extent(renderer) for text in texts if text.get_text()]
    return all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 for box in boxes)


def path_between(vae: VAE, x: np.ndarray, steps: int = 5) -> torch.Tensor:
    a, b = vae.embed(x[:2])
    return linear(a, b, steps)


def test_a_sheet_says_what_each_column_is(vae: VAE, data: Dataset) -> None:
    x = data.values(np.arange(2))
    path = path_between(vae, x, 25)
    whole = Morph(path, x[0], x[1], "a-very-long-name-of-a-file.jpg\n→ dog:nearest")
    figure = morphs.sheet(vae, [whole, whole])
    assert words(figure) == [whole.name] * 2
    assert words(figure, "x") == ["original", "decoded", *[""] * 7, "decoded", "original"]
    assert in_view(figure)
    refined = Morph(path, x[0], None, "b", refined=True)
    assert words(morphs.sheet(vae, [refined]), "x") == ["original", "decoded", "refined", *[""] * 8]
    bare = Morph(path, None, None, "c")
    assert words(morphs.sheet(vae, [bare]), "x") == [""] * 9
    both = words(morphs.sheet(vae, [bare, whole]), "x")  # what one of them lacks stays white
    assert both == words(figure, "x")
    with pytest.raises(UsageError, match="got 0 morphs"):
        morphs.sheet(vae, [])


def test_frames_of_several_paths_stand_side_by_side(vae: VAE, data: Dataset) -> None:
    x = data.values(np.arange(2))
    path = path_between(vae, x)
    alone = morphs.path_frames(vae, path)
    np.testing.assert_array_equal(alone, morphs.morph_frames(vae, x[0], x[1], 5))
    np.testing.assert_array_equal(alone, to_uint8(as_images(vae.decode(path).mean)))
    two = morphs.path_frames(vae, path, path.flip(0))
    assert two.shape == (5, 12, 26, 1)
    np.testing.assert_array_equal(two[:, :, :12], alone)
    np.testing.assert_array_equal(two[:, :, 14:], alone[::-1])
    assert morphs.path_frames(vae, *[path] * 5).shape == (5, 26, 40, 1)


# films

FRAMES = np.stack([np.full((7, 5, 1), 50 * i, np.uint8) for i in range(3)])


def test_without_ffmpeg_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(UsageError, match=r"m\.mp4: films need ffmpeg, which is not installed.*\.gif"):
        morphs.save_mp4(FRAMES, "m.mp4")
    assert list(Path.cwd().iterdir()) == []


def test_a_film_gets_even_sides_and_runs_there_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = SimpleNamespace()

    def ffmpeg(command: list[str], **options: object) -> None:
        seen.command, seen.options = command, options
        Path(command[-1]).write_bytes(b"film")

    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/ffmpeg")
    monkeypatch.setattr(subprocess, "run", ffmpeg)
    morphs.save_mp4(FRAMES, "m.mp4", size=7, milliseconds=40)
    assert Path("m.mp4").read_bytes() == b"film"
    assert [path.name for path in Path.cwd().iterdir()] == ["m.mp4"]
    assert not Path(seen.command[-1]).parent.exists()
    options = dict(zip(seen.command, seen.command[1:], strict=False))
    assert (options["-s"], options["-r"], options["-vf"]) == ("6x8", "1000/40", "loop=2:22")
    pixels = np.frombuffer(seen.options["input"], np.uint8).reshape(22, 8, 6, 3)
    np.testing.assert_array_equal(pixels[:, 0, 0, 0], [0] * 10 + [50] + [100] * 10 + [50])
    assert seen.options["timeout"] == 300


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (subprocess.TimeoutExpired("ffmpeg", 300), "took more than 300 s"),
        (
            subprocess.CalledProcessError(1, "ffmpeg", stderr=b"noise\nUnknown encoder\n"),
            r"\(Unknown encoder\)",
        ),
        (OSError("Exec format error"), r"\(Exec format error\)"),
    ],
)
def test_what_ffmpeg_says_is_passed_on(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/ffmpeg")
    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(FailureError, match=rf"m\.mp4: ffmpeg .*{message}.*\.gif"):
        morphs.save_mp4(FRAMES, "m.mp4")
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_ffmpeg_itself_takes_it() -> None:
    morphs.save_mp4(FRAMES, "m.mp4")
    assert Path("m.mp4").read_bytes()[4:8] == b"ftyp"


# sheets of classes


def test_sheets_of_each_kind(vae: VAE, data: Dataset) -> None:
    assert words(by_class.examples_by_class(data, 4)) == ["person", "dog"]
    assert words(by_class.reconstructions_by_class(vae, data, 4)) == [
        "person",
        "reconstruction",
        "dog",
        "reconstruction",
    ]
    for function in (
        by_class.examples_by_class,
        lambda d, **k: by_class.reconstructions_by_class(vae, d, **k),
    ):
        with pytest.raises(UsageError, match="toy has no validation examples"):
            function(data, part="validation")
    bare = Dataset("bare", data.x, split=data.split, scale=255)
    with pytest.raises(UsageError, match="bare has no labels"):
        by_class.examples_by_class(bare)


def test_a_kind_with_few_examples_ends_in_white(data: Dataset) -> None:
    labels = np.zeros(60, np.int64)
    labels[0] = 1
    few = Dataset("few", data.x, split=data.split, labels=labels, scale=255)
    figure = by_class.examples_by_class(few, 3)
    assert words(figure) == ["0", "1"]
    sheet = figure.axes[0].images[0].get_array()
    assert sheet is not None
    assert (sheet[-100:, -100:] == 255).all()


def test_friends_stand_beside_their_reconstructions(vae: VAE, data: Dataset) -> None:
    x = data.values(np.arange(2))
    state = torch.get_rng_state()
    figure = by_class.friends(
        vae, x, ["anna.jpg", "grandmother-at-the-seaside-2019.jpg"], refine(vae, x, steps=2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    names = words(figure)
    assert names[0].startswith("anna.jpg\n")
    assert names[1].splitlines()[:2] == ["grandmother-at-the-", "seaside-2019.jpg"]
    assert all(name.endswith(" nats") for name in names)
    assert words(figure, "x") == ["original", "decoded", "refined"]
    assert in_view(figure)
    assert words(by_class.friends(vae, x[:1], ["anna"]), "x") == ["original", "decoded"]
    for images, few in ((x, ["anna"]), (x[:0], [])):
        with pytest.raises(UsageError, match=r"got \d names for \d images"):
            by_class.friends(vae, images, few)


def test_people_turn_into_dogs(vae: VAE, data: Dataset) -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    figure = by_class.transformation(vae, data, 0, 1, n=3)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert words(figure) == ["person → dog"] * 3
    assert to_png(figure) == to_png(by_class.transformation(vae, data, 0, 1, n=3))
    assert len(words(by_class.transformation(vae, data, 0, 1, n=100))) == 10  # as many as there are of each
    with pytest.raises(UsageError, match="no test example has label '7'; choose from person, dog"):
        by_class.transformation(vae, data, 0, 7)


def test_neighbours_stand_beside_the_query_with_their_distances(data: Dataset) -> None:
    x = data.values(np.arange(2))
    found = nearest(data, np.concatenate([x[:1], 1 - x[1:]]), 3)
    figure = by_class.neighbour_sheet(data, x, ["one", "other"], found)
    assert words(figure) == ["one\n(nearly) a copy", "other"]
    assert words(figure, "x")[:4] == ["", "0.000", *(f"{value:.3f}" for value in found.distances[0, 1:3])]
    assert in_view(figure)
    with pytest.raises(UsageError, match="got 0 images"):
        by_class.neighbour_sheet(data, x[:0], [], found)


def test_a_umap_needs_umap(vae: VAE, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UsageError, match=r"needs umap-learn: pip install 'elboroom\[umap\]'"):
        by_class.latent_umap(vae, data.values(np.arange(9)))
    with pytest.raises(UsageError, match="got 4 examples; UMAP needs at least 5"):
        by_class.latent_umap(vae, data.values(np.arange(4)))


def test_a_umap_is_drawn_as_it_comes(vae: VAE, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    class UMAP:
        def __init__(self, **options: object) -> None:
            seen.update(options)

        def fit_transform(self, codes: np.ndarray) -> np.ndarray:
            return codes[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP))
    assert data.labels is not None
    figure = by_class.latent_umap(vae, data.values(np.arange(9)), data.labels[:9], data.label_names)
    assert seen == {"n_neighbors": 8, "random_state": 0, "n_jobs": 1}
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("UMAP 1", "UMAP 2")
    assert figure.axes[0].get_legend() is not None
