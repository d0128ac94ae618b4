from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from elboroom.errors import FailureError, UsageError
from elboroom.figures import standard_set
from elboroom.figures.grids import ImageGrid
from elboroom.figures.scene import Scene, morph_endpoints
from elboroom.figures.standard_figures import STANDARD_FIGURES
from elboroom.models.vae import VAE, Array

from .conftest import SHAPES, build, dataset, history

FILES = {
    *("loss.png", "reconstructions.png", "latent.png", "latent_path.png", "latent_grid.png", "manifold.png"),
    *("manifold_around.png", "morph.png", "morph.gif", "traversals.png", "samples.png"),
    *("loss_histogram.png", "best_and_worst.png"),
}


@pytest.mark.parametrize(
    ("shape", "latent_dim", "labels", "n"),
    [("tall", 3, True, 40), ("flat", 2, False, 2), ("grey", 1, True, 1)],
)
def test_the_set_is_complete_and_leaves_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str, latent_dim: int, labels: bool, n: int
) -> None:
    if n < 40:
        monkeypatch.setattr(ImageGrid.scale, "__defaults__", (300, 300))  # small pictures, to be quick
    data = dataset(SHAPES[shape], n, labels=labels, test=n > 1)
    vae = build(SHAPES[shape], latent_dim).train()
    state = torch.get_rng_state()
    marks = {"one": data.x[0]}
    written = standard_set.draw_all(vae, data, history(3), tmp_path / "new", marks=marks)
    expected = FILES | {"friends.png"}
    if labels and n > 1:
        expected |= {f"{what}_by_class.png" for what in ("examples", "samples", "reconstructions")}
    assert {path.name for path in written} == expected
    assert {path.name for path in (tmp_path / "new").iterdir()} == expected
    assert torch.equal(state, torch.get_rng_state())
    assert vae.training
    for path in written:
        with Image.open(path) as image:
            image.load()
            assert max(image.size) <= 1600


def test_only_what_was_asked_for(tmp_path: Path, vae: VAE) -> None:
    data = dataset((8, 8, 1))
    paths = standard_set.draw_all(vae, data, [], tmp_path, only=["latent", "morph", "latent"])
    assert [path.name for path in paths] == ["latent.png", "morph.png", "morph.gif"]
    with pytest.raises(UsageError, match=r"unknown figure 'latnet'; did you mean 'latent'\?"):
        standard_set.draw_all(vae, data, [], tmp_path, only=["samples", "latnet"])
    assert not (tmp_path / "samples.png").exists()


def test_without_a_history_the_loss_is_left_out(
    tmp_path: Path, vae: VAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [figure for figure in STANDARD_FIGURES if figure.name in ("loss", "samples")]
    monkeypatch.setattr(standard_set, "STANDARD_FIGURES", few)
    paths = standard_set.draw_all(vae, dataset((8, 8, 1)), [], tmp_path)
    assert [path.name for path in paths] == ["samples.png"]
    with pytest.raises(UsageError, match="needs a training history"):
        standard_set.draw_all(vae, dataset((8, 8, 1)), [], tmp_path, only=["loss"])


def test_test_examples_are_shown_if_there_are_any(vae: VAE) -> None:
    with_test, without = (dataset((8, 8, 1), test=test) for test in (True, False))
    assert Scene(vae, with_test).rows.tolist() == list(range(1, 40, 2))
    assert Scene(vae, without).rows.tolist() == list(range(40))


def test_the_morph_joins_different_labels(vae: VAE) -> None:
    scene = Scene(vae, dataset((8, 8, 1)))
    a, b = (next(i for i, one in enumerate(scene.x) if np.array_equal(one, end)) for end in scene.endpoints)
    assert scene.labels is not None
    assert scene.labels[a] != scene.labels[b]
    torch.testing.assert_close(scene.path[[0, -1]], vae.embed(np.stack(scene.endpoints)))


def test_the_endpoints_are_well_rebuilt_for_their_contrast() -> None:
    class Halves(VAE):
        """Rebuilds the left half of each row and puts 0 in the right."""

        def __init__(self) -> None: ...

        def reconstruct(self, x: Array) -> Tensor:
            return torch.as_tensor(x) * torch.tensor([1.0, 1.0, 0.0, 0.0])

        def embed(self, x: Array) -> Tensor:
            return torch.as_tensor(x)[:, :2]

    left, right, dull = [3.0, -3.0, 0, 0], [0, 0, 3.0, -3.0], [0.01, 0, 0.01, 0]
    x = np.array([right, dull, left, right, dull, [-5.0, 5.0, 0, 0]], dtype=np.float32)
    assert morph_endpoints(Halves(), x, None) == (2, 5)
    assert morph_endpoints(Halves(), x, np.array([0, 0, 0, 1, 1, 1])) == (2, 5)


@pytest.mark.parametrize(("shape", "latent_dim"), [("colour", 2), ("flat", 1), ("grey", 5)])
def test_progress_is_one_picture(tmp_path: Path, shape: str, latent_dim: int) -> None:
    vae, state = build(SHAPES[shape], latent_dim), torch.get_rng_state()
    path = standard_set.draw_progress(vae, dataset(SHAPES[shape]), 5, tmp_path)
    assert path == tmp_path / "progress" / "epoch_0005.png"
    assert [file.name for file in path.parent.iterdir()] == ["epoch_0005.png"]
    assert torch.equal(state, torch.get_rng_state())
    with Image.open(path) as image:
        assert image.size[0] == 1600


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path, vae: VAE) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FailureError, match="cannot write"):
        standard_set.draw_all(vae, dataset((8, 8, 1)), [], tmp_path / "file", only=["samples"])


def test_two_kinds_are_walked_from_one_to_the_other_and_a_figure_without_matter_is_refused(
    tmp_path: Path, vae: VAE
) -> None:
    data = dataset((8, 8, 1))
    data = replace(data, labels=np.arange(len(data)) // 3 % 2, label_names=("person", "dog"))
    assert [path.name for path in standard_set.draw_all(vae, data, [], tmp_path, only=["transformation"])]
    with pytest.raises(UsageError, match="'friends' needs images to mark"):
        standard_set.draw_all(vae, data, [], tmp_path, only=["friends"])
