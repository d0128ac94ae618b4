from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import GifImagePlugin, Image
from torch import Tensor

from elboroom import pictures
from elboroom.errors import UsageError
from elboroom.figures import grids, morphs
from elboroom.latent import arrays
from elboroom.latent.arrays import Numbers
from elboroom.models.vae import VAE
from elboroom.probability import Likelihood

from .conftest import SHAPES, build, examples


def test_tile_is_exact() -> None:
    images = np.stack([np.full((1, 2, 1), value) for value in (0.0, 0.5, 0.25)])
    sheet = grids.tile(images, columns=2, gap=1)
    rows = [[0, 0, 1, 0.5, 0.5], [1, 1, 1, 1, 1], [0.25, 0.25, 1, 1, 1]]
    assert np.array_equal(sheet, np.repeat(np.array(rows, dtype=np.float32)[..., None], 3, -1))


def test_tile_clips_and_keeps_colours() -> None:
    image = np.array([[[[-1.0, 0.5, 2.0]]]])
    assert grids.tile(image, 1).tolist() == [[[0.0, 0.5, 1.0]]]
    assert grids.tile(np.full((1, 1, 1, 1), np.nan), 1).tolist() == [[[0.0, 0.0, 0.0]]]
    with pytest.raises(UsageError, match="0 columns"):
        grids.tile(image, 0)


def test_uint8_rounds_and_never_wraps() -> None:
    assert grids.to_uint8(torch.tensor([-0.1, 0.0, 1 / 255, 1.0, 1.2])).tolist() == [0, 0, 1, 255, 255]


def test_grid_over_the_prior_has_the_median_in_its_middle(vae: VAE) -> None:
    grid = pictures.manifold_grid(vae, 5)
    assert grid.shape == (5, 5, 2)
    assert grid[2, 2].tolist() == [0.0, 0.0]
    # The 2 % and 98 % points of the standard normal, to the five digits of a table.
    np.testing.assert_allclose(grid[0, 0], [-2.05375, 2.05375], atol=1e-5)
    np.testing.assert_allclose(grid[4, 4], [2.05375, -2.05375], atol=1e-5)
    assert pictures.manifold_grid(vae, 1).tolist() == [[[0.0, 0.0]]]


def test_grid_around_a_center_has_exact_corners() -> None:
    vae = build((6,), latent_dim=4)
    center = torch.tensor([1.0, 2.0, 3.0, 4.0])
    grid = pictures.manifold_grid(vae, 3, center=center, radius=0.5, dims=(3, 1))
    assert grid[0, 0].tolist() == [1.0, 2.5, 3.0, 3.5]
    assert grid[2, 2].tolist() == [1.0, 1.5, 3.0, 4.5]
    assert grid[1, 1].tolist() == center.tolist()
    over_prior = pictures.manifold_grid(vae, 3, center=center, dims=(3, 1))
    assert over_prior[1, 1].tolist() == [1.0, 0.0, 3.0, 0.0]


def test_grid_of_one_dimension_is_a_row() -> None:
    grid = pictures.manifold_grid(build((6,), latent_dim=1), 3, center=np.ones(1), radius=1.0)
    assert grid.tolist() == [[[0.0], [1.0], [2.0]]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dims": (0, 2)}, "dims = .0, 2.: give different latent dimensions from 0 to 1"),
        ({"dims": (1, 1)}, "dims = .1, 1."),
        ({"steps": 0}, "steps = 0"),
        ({"radius": -1.0}, "radius = -1.0"),
        ({"center": np.zeros(3), "radius": 1.0}, r"shape \(3,\); the model's are \(2,\)"),
        ({"center": np.zeros(2)}, "no radius"),
    ],
)
def test_grid_refuses_what_it_cannot_be(vae: VAE, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        pictures.manifold_grid(vae, **options)


def test_resizing_keeps_a_constant_and_the_shape() -> None:
    resized = grids.resized(np.full((2, 4, 6, 3), 0.25), 8, 12)
    assert resized.shape == (2, 8, 12, 3)
    np.testing.assert_allclose(resized, 0.25, atol=1e-6)  # the filter's weights add up to 1 in float32


def test_a_plate_keeps_the_aspect_and_stays_within_bounds() -> None:
    for n, columns in ((10, 10), (400, 20), (1, 1)):
        plate = grids.ImageGrid(np.zeros((n, 20, 32, 3)), columns, gap=0)
        scale = plate.scale()
        height, width = plate.size(scale)
        assert width <= 1300
        assert height <= 1300
        down, right = plate.step(scale)
        assert abs(down / right - 20 / 32) < 1 / right  # whole pixels


@pytest.mark.parametrize(
    ("name", "latent_dim"),
    [("grey", 1), ("grey", 3), ("colour", 2), ("tall", 2), ("flat", 1), ("flat", 3), ("single", 2)],
)
def test_every_picture_of_every_shape(name: str, latent_dim: int) -> None:
    vae, x = build(SHAPES[name], latent_dim), examples(SHAPES[name])
    drawn = [
        pictures.reconstructions(vae, x, n=3),
        pictures.samples(vae, n=5),
        pictures.manifold(vae, steps=3),
        pictures.manifold(vae, steps=3, center=vae.embed(x[:1])[0], radius=0.5),
        pictures.traversals(vae, x, steps=3),
        pictures.traversals(vae),
        morphs.morph_strip(vae, x[0], x[1], steps=15),
        pictures.best_and_worst(vae, x, n=3),
    ]
    for figure in drawn:
        width, height = figure.get_size_inches() * figure.dpi
        assert width <= 1600
        assert height <= 1600
        figure.draw_without_rendering()


def sheet(figure: Figure, i: int = 0) -> Numbers:
    return np.asarray(figure.axes[i].get_images()[0].get_array())


def test_reconstructions_are_what_the_model_says(vae: VAE, x: Numbers) -> None:
    shown = pictures.reconstructions(vae, x, n=2)
    step = sheet(shown).shape[0] // 2 + 3  # two rows with a gap of 6 between them
    expected = grids.resized(torch.cat([vae.as_input(x[:2]), vae.reconstruct(x[:2])]), step - 6, step - 6)
    np.testing.assert_array_equal(sheet(shown), grids.to_uint8(grids.tile(expected, 2, 6)))
    labels = [label.get_text() for label in shown.axes[0].get_yticklabels()]
    assert labels == ["input", "reconstruction"]


def test_flat_reconstructions_lie_over_their_input() -> None:
    vae, x = build((6,)), examples((6,))
    shown = pictures.reconstructions(vae, x, n=4)
    assert len(shown.axes[0].get_yticks()) == 1
    charts = grids.as_images(x[:4], vae.reconstruct(x[:4]))
    assert charts.shape == (4, 100, 150, 3)
    assert len(np.unique(charts[0].reshape(-1, 3), axis=0)) > 3  # background, two lines and their edges


def test_samples_are_reproducible_and_leave_the_random_state(vae: VAE) -> None:
    state = torch.get_rng_state()
    first, again, other = (sheet(pictures.samples(vae, 4, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    with pytest.raises(UsageError, match="n = 0"):
        pictures.samples(vae, 0)


def test_traversals_start_with_the_dimension_that_varies_most() -> None:
    vae = build((8, 8, 1), latent_dim=5)
    x = examples((8, 8, 1))
    spread = vae.embed(x).std(0, correction=0)
    shown = pictures.traversals(vae, x, steps=3)
    labels = [label.get_text() for label in shown.axes[0].get_yticklabels()]
    assert labels == [f"$z_{{{i}}}$  ±{spread[i]:.2f}" for i in spread.argsort(descending=True).tolist()]
    assert [label.get_text() for label in shown.axes[0].get_xticklabels()] == ["−3.0", "0.0", "3.0"]


def test_traversals_of_one_example_keep_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    vae = build((8, 8, 1), latent_dim=3)
    x = examples((8, 8, 1))[:1]
    decoded, decode = [], vae.decode

    def spy(z: Tensor) -> Likelihood:
        decoded.append(z)
        return decode(z)

    monkeypatch.setattr(vae, "decode", spy)
    pictures.traversals(vae, x, steps=3, dims=[2], span=1.5)
    code = vae.embed(x)[0].tolist()
    np.testing.assert_allclose(decoded[0], [[*code[:2], v] for v in (-1.5, 0.0, 1.5)], rtol=1e-6)


def test_a_morph_ends_in_the_two_reconstructions(vae: VAE, x: Numbers) -> None:
    frames = morphs.morph_frames(vae, x[0], x[1], steps=7)
    assert frames.shape == (7, 8, 8, 1)
    assert frames.dtype == np.uint8
    ends = grids.to_uint8(vae.reconstruct(x[:2])).astype(int)
    # One grey of 255: the last weight of the line is 1, and z₀ + 1·(z₁ − z₀) may miss z₁ by a rounding.
    np.testing.assert_allclose(frames[[0, -1]].astype(int), ends, atol=1)
    with pytest.raises(UsageError, match="at least 2"):
        morphs.morph_frames(vae, x[0], x[1], steps=1)


def test_a_strip_frames_the_originals(vae: VAE, x: Numbers) -> None:
    axes = morphs.morph_strip(vae, x[0], x[1], steps=25).axes[0]
    frames = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert [frame.get_y() == 0 for frame in frames] == [True, False]  # 27 images in three rows


@pytest.mark.parametrize(
    ("shape", "size"), [((5, 8, 1), (64, 40)), ((5, 8, 3), (64, 40)), ((90, 70, 3), (70, 90))]
)
def test_a_gif_runs_there_and_back_for_ever(
    tmp_path: Path, shape: tuple[int, ...], size: tuple[int, int]
) -> None:
    frames = np.stack([np.full(shape, value, np.uint8) for value in (0, 85, 170, 255)])
    path = tmp_path / "deep" / "m.gif"
    morphs.save_gif(frames, path, size=64, milliseconds=50)
    assert [file.name for file in path.parent.iterdir()] == ["m.gif"]
    with Image.open(path) as gif:
        assert isinstance(gif, GifImagePlugin.GifImageFile)
        assert (gif.n_frames, gif.info["loop"], gif.size) == (6, 0, size)
        seen: list[Any] = []
        durations = []
        for i in range(6):
            gif.seek(i)
            seen.append(gif.convert("L").getpixel((0, 0)))
            durations.append(gif.info["duration"])
    np.testing.assert_allclose(seen, [0, 85, 170, 255, 170, 85], atol=2)  # one of 64 greys or 256 colours
    assert durations == [500, 50, 50, 500, 50, 50]


def test_best_and_worst_are_the_extremes(vae: VAE, x: Numbers) -> None:
    losses = sorted(zip(*arrays.losses_with_errors(vae, x), strict=True))
    figure = pictures.best_and_worst(vae, x, n=2)
    captions = [[label.get_text() for label in axes.get_xticklabels()] for axes in figure.axes]
    expected = [[arrays.with_error(*loss) for loss in part] for part in (losses[:2], losses[:-3:-1])]
    assert [[text.replace("\n", " ") for text in part] for part in captions] == expected
    assert len(pictures.best_and_worst(vae, x[:3], n=5).axes[0].get_xticks()) == 1
    pictures.best_and_worst(vae, x[:1])


def test_nothing_to_draw_is_said(vae: VAE, x: Numbers) -> None:
    for draw in (pictures.reconstructions, pictures.best_and_worst, pictures.traversals):
        with pytest.raises(UsageError, match="0 examples"):
            draw(vae, x[:0])


def test_rows_of_a_code_on_a_grid_move_one_channel_at_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """By standard deviations over examples and places; the channel that varies most comes first."""
    torch.manual_seed(0)
    vae = VAE.build(shape=(8, 12, 1), network="spatial", likelihood="gaussian", conv_width=4, conv_levels=1)
    x = examples((8, 12, 1))
    grids_ = vae.embed(x).unflatten(1, vae.latent_shape)
    spread = grids_.transpose(0, 1).flatten(1).std(1, correction=0)
    decoded, decode = [], vae.decode

    def spy(z: Tensor) -> Likelihood:
        decoded.append(z)
        return decode(z)

    monkeypatch.setattr(vae, "decode", spy)
    shown = pictures.traversals(vae, x, steps=3, span=2.0)
    order = spread.argsort(descending=True).tolist()
    labels = [label.get_text() for label in shown.axes[0].get_yticklabels()]
    assert labels == [f"channel {i}  ±{spread[i]:.2f}" for i in order]
    moved = decoded[0].reshape(len(order), 3, *vae.latent_shape)
    for row, channel in zip(moved, order, strict=True):
        for code, times in zip(row, (-2.0, 0.0, 2.0), strict=True):
            expected = grids_.mean(0).clone()
            expected[channel] += times * spread[channel]
            torch.testing.assert_close(code, expected, rtol=1e-4, atol=1e-5)
    one = pictures.traversals(vae, x, steps=3, dims=[2])
    assert [label.get_text()[:7] for label in one.axes[0].get_yticklabels()] == ["$z_{2}$"]
