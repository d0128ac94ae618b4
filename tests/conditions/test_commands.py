"""Every verb works on a conditional run, or says in one line what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elboroom.cli.main import main
from elboroom.evaluation.examples import examples_of
from elboroom.figures import conditional, grids
from elboroom.figures.standard_set import draw_all, draw_progress
from elboroom.latent import arrays
from elboroom.latent.arrays import Numbers
from elboroom.models.vae import VAE
from elboroom.runs.run import Run, load

from .known import SIDE, build, images, varied

SMALL = ["--latent-dim", "2", "--hidden", "16", "--epochs", "2", "--batch-size", "8"]
SMALL += ["--figures-every", "0", "--quiet"]
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def elboroom(capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*words: Any) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``pets.npz`` and ``told.npy``; conditional runs ``run`` and ``vectors``, and ``plain``; ``cat.png``."""
    folder = tmp_path_factory.mktemp("told")
    data = images()
    assert data.labels is not None
    assert data.vectors is not None
    names = np.array(data.label_names)
    np.savez(folder / "pets.npz", images=data.x, labels=data.labels, split=data.split, label_names=names)
    np.save(folder / "told.npy", data.vectors)
    Image.fromarray(data.x[0, ..., 0]).save(folder / "cat.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELBOROOM_CACHE", str(folder / "cache"))
        patch.setattr("elboroom.cli.training_run.draw_all", lambda *_, **__: [])
        for name, options in (
            ("run", ["--condition", "labels"]),
            ("vectors", ["--condition", "vectors", "--condition-file", str(folder / "told.npy")]),
            ("plain", []),
        ):
            command = ["train", str(folder / "pets.npz"), "--out", str(folder / name), *SMALL, *options]
            assert main(command) == 0
    return folder


def test_training_keeps_what_the_model_is_told(world: Path) -> None:
    told = Run(world / "run").config.model
    assert (told.condition, told.condition_dim, told.condition_names) == ("labels", 2, ("cat", "dog"))
    vectors = Run(world / "vectors").config.model
    assert (vectors.condition_dim, vectors.condition_names) == (2, ())
    assert vectors.condition_file == str(world / "told.npy")
    assert load(world / "run").given("dog").sample(2).shape == (2, SIDE, SIDE, 1)


@pytest.mark.parametrize("run", ["run", "vectors"])
def test_what_is_measured_is_of_examples_given_their_conditions(
    world: Path, run: str, elboroom: Command
) -> None:
    code, out, _ = elboroom("evaluate", world / run, "--num-samples", 20, "--json")
    assert code == 0
    vae, data = load(world / run), images()
    rows = data.indices("test")
    told = data.labels[rows] if run == "labels" else None  # type: ignore[index]
    x = examples_of(vae, data, rows)
    assert told is None or np.array_equal(x.condition, told)  # type: ignore[union-attr]
    nll = vae.nll(x, 4000).value.mean().item()
    # 20 samples are biased upwards by half their weights' variance over 20, here below half a nat
    assert json.loads(out)["nll"] == pytest.approx(nll, abs=0.5)
    assert elboroom("embed", world / run, "--out", "z.npy")[0] == 0
    every = examples_of(vae, data, np.arange(60))
    np.testing.assert_allclose(np.load("z.npy"), vae.embed(every), rtol=1e-4, atol=1e-5)  # other batches
    code, out, _ = elboroom("report", world / run, "--json")
    assert code == 0
    assert json.loads(out)["classes"] == ["cat", "dog"]


def drawn(path: str | Path) -> Numbers:
    return np.asarray(Image.open(path).convert("L"), np.float32)


def test_samples_of_one_label_and_of_all(world: Path, elboroom: Command) -> None:
    assert elboroom("sample", world / "run", "--label", "dog", "--n", 9, "--out", "dog.npy")[0] == 0
    vae = load(world / "run")
    with arrays.seeded(vae, 0):
        np.testing.assert_allclose(np.load("dog.npy"), vae.sample(9, condition=1), rtol=1e-6)
    assert elboroom("sample", world / "run", "--n", 9, "--out", "all.npy")[0] == 0
    assert np.load("all.npy").shape == (10, SIDE, SIDE, 1)  # as many of each
    assert elboroom("sample", world / "run", "--n", 8, "--out", "all.png")[0] == 0
    rows = conditional.conditional_grid(vae, [0, 1], ["cat", "dog"], 4)
    assert (rows.columns, list(rows.row_labels), rows.images.shape) == (4, ["cat", "dog"], (8, SIDE, SIDE, 1))
    with arrays.seeded(vae, 0):
        np.testing.assert_allclose(rows.images[4:], vae.sample(4, condition=1), rtol=1e-6)
    assert elboroom("sample", world / "run", "--observe", "--n", 8, "--out", "seen.png")[0] == 0
    assert elboroom("sample", world / "vectors", "--label=-0.5,1", "--out", "v.npy")[0] == 0
    vectors = load(world / "vectors")
    with arrays.seeded(vectors, 0):
        np.testing.assert_allclose(np.load("v.npy"), vectors.sample(64, condition=[-0.5, 1.0]), rtol=1e-6)


@pytest.mark.parametrize("run", ["run", "vectors"])
@pytest.mark.parametrize(
    "words",
    [
        "reconstruct {run} :3 :4 --refine 2",
        "reconstruct {run} {world}/cat.png --label {label}",
        "traverse {run} --label {label}",
        "traverse {run} --at :3",
        "morph {run} :0 :3 --steps 3 --out m.png",
        "morph {run} :0 :2 :3 --steps 3 --walk dense --out m.gif",
        "morph {run} cat:mean dog:nearest --steps 3 --out m.png",
        "morph {run} {world}/cat.png --label {label} --to-label {other} --steps 3 --refine 2 --out m.png",
        "morph {run} :0 :2 --to-label {other} --steps 3 --out m.gif",
        "morph {run} :0 --toward dog --steps 3 --out m.png",
        "neighbours {run} :0 {world}/cat.png --label {label} --samples 2 --space codes",
        "neighbours {run} :0 :3 --frames 3 --space codes",
        "neighbours {run} :0",
        "figures {run} --only manifold samples traversals latent_grid --label {label} --mark :3 --out f",
    ],
)
def test_every_verb_works(world: Path, run: str, words: str, elboroom: Command) -> None:
    label, other = {"run": ("cat", "dog"), "vectors": ("0,0.1", "1,0")}[run]
    texts = {"run": world / run, "world": world, "label": label, "other": other}
    code, _, err = elboroom(*[word.format(**texts) for word in words.split()])
    assert code == 0, err


def test_the_same_with_another_label_is_on_the_way(world: Path) -> None:
    from elboroom.cli.inputs.endpoints import EndpointFinder

    finder = EndpointFinder(Run(world / "run"), load(world / "run"))
    ((start, end),) = finder.relabelled([":0"], "dog")
    way = finder.morph(start, end, "linear", 3)
    assert way.condition is not None
    assert way.condition.tolist() == [[1, 0], [0.5, 0.5], [0, 1]]
    expected = finder.vae.carried(start.code[None], 0, 1)[0]
    np.testing.assert_allclose(way.path[-1], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sample {w}/vectors", "--label is missing: the model is conditional on a vector of 2 numbers"),
        ("sample {w}/run --label cow", "no label 'cow'; did you mean|no label 'cow'; known: cat, dog"),
        ("sample {w}/plain --label cat", "--label cat: this run's model is not conditional; leave it out"),
        ("traverse {w}/run", "--label is missing: the model is conditional on a label"),
        (
            "reconstruct {w}/run {w}/cat.png",
            "cat.png: the model is conditional on a label.*give its condition",
        ),
        ("morph {w}/plain :0 --to-label dog", "this run's model is not conditional; --toward dog moves"),
        ("morph {w}/run :0 --to-label dog --toward cat", "--toward cat and --to-label dog: give one"),
        ("neighbours {w}/run --samples 2", "--label is missing"),
        ("figures {w}/plain --only analogies", "needs a model conditional on labels"),
        ("figures {w}/run --only latent_grid", "needs one prior for all examples, or a condition"),
        ("evaluate {w}/vectors --data digits", "has examples of shape|has no vectors"),
        ("train digits --condition vectors", "digits has no vectors to be conditional on"),
        ("train {w}/told.npy --condition labels --likelihood gaussian", "has no labels to be conditional on"),
        ("train digits --condition labels --condition-file x.npy", "requires --condition vectors"),
        ("train digits --condition vectors --condition-file no.npy", "no.npy: cannot be read as numbers"),
        (
            "train digits --condition vectors --condition-file {w}/told.npy",
            "vectors have shape .60, 2.; it must",
        ),
        (
            "train digits --condition labels --network ladder --condition-parts encoder decoder",
            "take --condition-parts encoder decoder prior, or encoder",
        ),
    ],
)
def test_what_is_refused_takes_one_line(world: Path, words: str, message: str, elboroom: Command) -> None:
    import re

    code, _, err = elboroom(*words.format(w=world).split())
    assert code == 2
    assert re.search(message, err), err
    assert len(err.strip().splitlines()) == 1
    assert not Path("runs").exists()


# Figures


@pytest.mark.parametrize("kind", ["labels", "vectors"])
@pytest.mark.parametrize("latent_dim", [1, 3])
def test_all_figures_are_drawn(kind: str, latent_dim: int, tmp_path: Path) -> None:
    names = {"condition_names": ("cat", "dog")} if kind == "labels" else {}
    vae, data = varied(build(condition=kind, latent_dim=latent_dim, **names)), images()
    written = {path.name for path in draw_all(vae, data, [], tmp_path)}
    assert {"samples.png", "manifold.png", "traversals.png", "morph.gif", "friends.png"} - written == {
        "friends.png"
    }
    assert ("analogies.png" in written) is (kind == "labels")
    assert "latent_grid.png" not in written
    assert draw_progress(vae, data, 3, tmp_path).exists()


def test_analogies_show_each_example_with_each_label() -> None:
    vae, data = varied(build(condition_names=("cat", "dog"))), images()
    figure = conditional.analogies(vae, examples_of(vae, data, np.arange(4)), 3)
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["original", "cat", "dog"]


def test_plates_lie_side_by_side_without_overlap() -> None:
    x = np.zeros((4, 5, 5, 1))
    some = [grids.ImageGrid(x, 2, title=str(i), row_labels=["a", "b"]) for i in range(5)]
    figure = grids.lay_out(some, 3)
    boxes = [axes.get_position() for axes in figure.axes]
    assert len(boxes) == 5
    for i, one in enumerate(boxes):
        assert 0 < one.x0 < one.x1 < 1
        assert 0 < one.y0 < one.y1 < 1
        assert not any(one.overlaps(other) for other in boxes[i + 1 :])


def test_a_fixed_model_is_drawn_like_any(tmp_path: Path) -> None:
    vae: VAE = varied(build()).given(1)
    data = images()
    written = {path.name for path in draw_all(vae, data, [], tmp_path, only=["samples", "manifold"])}
    assert written == {"samples.png", "manifold.png"}
