"""What figures claim: whose images they show, which directions, which loss, which values are black."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from elboroom import figures, pictures
from elboroom.figures import by_class, conditional, grids, latent_maps, morphs, standard_set, style
from elboroom.figures.scene import Scene
from elboroom.latent import arrays
from elboroom.latent.arrays import Numbers
from elboroom.latent.planes import plane_between, principal_plane
from elboroom.models.vae import VAE

from .conftest import build, dataset, examples, history


def titles(figure: Figure) -> str:
    """All titles of a figure in one line."""
    return " ".join(
        [text.get_text().replace("\n", " ") for text in figure.texts]
        + [axes.get_title("left") for axes in figure.axes]
    )


def picture(figure: Figure, i: int = 0) -> Numbers:
    return np.asarray(figure.axes[i].get_images()[0].get_array())


@pytest.mark.parametrize("latent_dim", [2, 4])
@pytest.mark.parametrize("condition", ["none", "labels"])
def test_every_figure_of_the_standard_set_says_whose_images_it_shows(latent_dim: int, condition: str) -> None:
    torch.manual_seed(0)
    given = {"condition": condition, "condition_dim": 3} if condition != "none" else {}
    vae = VAE.build(shape=(8, 8, 1), latent_dim=latent_dim, hidden=[16], **given)
    scene = Scene(vae, dataset((8, 8, 1)), history(2))
    own = {"manifold": "Decoded codes", "samples": "Samples", "samples_by_class": "Samples"}
    own |= {"loss": "training and validation examples", "examples_by_class": "Training examples"}
    shown = standard_set._chosen(scene, None)
    assert {"examples_by_class", "samples_by_class"} <= {figure.name for figure in shown}
    for figure in shown:
        assert own.get(figure.name, "est examples") in titles(figure(scene)), figure.name


def test_of_data_without_a_test_part_nothing_is_called_a_test_example() -> None:
    vae, data = build((8, 8, 1), 3), dataset((8, 8, 1), test=False)
    scene = Scene(vae, data)
    for figure in standard_set._chosen(scene, None):
        said = titles(figure(scene))
        assert "test" not in said.lower(), figure.name
        assert "All examples" not in said, figure.name
    assert "Examples of each class" in titles(by_class.reconstructions_by_class(vae, data, part="all"))


def test_examples_by_class_are_the_data_and_samples_by_class_are_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model that decodes to nothing but black must not be credited with the data."""
    vae, data = build((8, 8, 1), 3), dataset((8, 8, 1))
    monkeypatch.setattr(vae, "sample", lambda n, **_: torch.zeros(n, 8, 8, 1))
    assert (picture(by_class.examples_by_class(data)) > 100).mean() > 0.3
    figure = conditional.samples_by_class(vae, data)
    pixels = picture(figure)
    assert (pixels == 0).all(-1).any()
    assert np.isin(pixels, (0, 255)).all()  # black samples, and white where a class has none
    shares = [label.get_text().split()[-1] for label in figure.axes[0].get_yticklabels()]
    assert sum(int(share.rstrip("%")) for share in shares) == 100


def test_draws_are_sorted_by_the_classes_near_their_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Class c is an image of value c/3; three quarters of the draws are of class 0, the others of class 2."""
    x = np.repeat(np.arange(3) / 3, 20).astype(np.float32)[:, None, None, None] * np.ones(
        (60, 2, 2, 1), np.float32
    )
    data = dataset((8, 8, 1))
    data = type(data)("grey", x, split=np.zeros(60, np.uint8), labels=np.repeat(np.arange(3), 20))
    vae = build((2, 2, 1))
    monkeypatch.setattr(
        vae, "embed", lambda x, *_, **__: torch.as_tensor(np.asarray(x)).reshape(len(x), -1)[:, :2]
    )
    drawn = torch.tensor([0.02, 0.02, 0.65, 0.02])[:, None, None, None].expand(4, 2, 2, 1)
    monkeypatch.setattr(vae, "sample", lambda n, **_: drawn.repeat(n // 4, 1, 1, 1))
    figure = conditional.samples_by_class(vae, data, n=2)
    assert [label.get_text().split() for label in figure.axes[0].get_yticklabels()] == [
        ["0", "75%"],
        ["1", "0%"],
        ["2", "25%"],
    ]
    rows = np.array_split(picture(figure), 3)
    assert (rows[1] == 255).all()
    for row, value in ((rows[0], 0.02), (rows[2], 0.65)):
        assert abs(np.median(row[row < 255]) - 255 * value) <= 1


# Directions


@pytest.fixture
def oblique(monkeypatch: pytest.MonkeyPatch) -> tuple[VAE, Numbers]:
    """A model of five latent dimensions whose codes are the examples, spread along two oblique directions."""
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    spread = np.array([3.0, 2.0, 0.2, 0.2, 0.2])
    codes = (1.0 + (rng.normal(size=(400, 5)) * spread) @ directions.T).astype(np.float32)
    vae = build((5,), latent_dim=5)
    monkeypatch.setattr(vae, "embed", lambda x, *_, **__: torch.as_tensor(np.asarray(x)))
    return vae, codes


def test_the_manifold_of_many_dimensions_lies_in_the_principal_plane(oblique: tuple[VAE, Numbers]) -> None:
    vae, codes = oblique
    grid = principal_plane(vae, codes).grid(vae, 5).numpy()
    centred = codes - codes.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(codes))
    np.testing.assert_allclose(grid[2, 2], codes.mean(0), atol=1e-5)
    for offset, place in ((grid[2, 4] - grid[2, 2], -1), (grid[0, 2] - grid[2, 2], -2)):
        np.testing.assert_allclose(np.linalg.norm(offset), 2 * np.sqrt(values[place]), rtol=1e-4)
        np.testing.assert_allclose(abs(offset @ vectors[:, place]) / np.linalg.norm(offset), 1, atol=1e-5)


def test_the_plane_around_a_morph_holds_it(oblique: tuple[VAE, Numbers]) -> None:
    vae, codes = oblique
    start, end = torch.from_numpy(codes[0]), torch.from_numpy(codes[1])
    grid = plane_between(vae, start, end, codes).grid(vae, 5)
    torch.testing.assert_close(grid[2], torch.lerp(start, end, torch.linspace(0, 1, 5)[:, None]))
    upwards = grid[0, 2] - grid[2, 2]
    assert abs(float(upwards @ (end - start))) < 1e-3 * float(upwards.norm() * (end - start).norm())


def test_a_map_of_many_dimensions_shows_the_direction_that_parts_the_classes() -> None:
    """Against Fisher's own formula, with two classes that part along the direction of least variance."""
    rng = np.random.default_rng(1)
    scale = np.array([3.0, 1.0, 0.2])
    labels = np.arange(2000) % 2
    codes = rng.normal(size=(2000, 3)) * scale + labels[:, None] * np.array([0.5, 0.0, 1.0])
    plane = latent_maps._plane(codes)
    (parted,) = latent_maps._separating(codes, labels, None)

    def gap(points: Numbers) -> Numbers:
        a, b = points[labels == 0], points[labels == 1]
        return np.abs(a.mean(0) - b.mean(0)) / np.sqrt((a.var(0) + b.var(0)) / 2)

    mean = [codes[labels == k].mean(0) for k in (0, 1)]
    within = sum(np.cov(codes[labels == k].T) for k in (0, 1)) / 2
    fisher = np.linalg.solve(within, mean[1] - mean[0])
    along = parted.project(codes)[:, 0]
    # Their covariance is shrunk a little, so that few examples do; the difference of the means is far off.
    assert abs(np.corrcoef(along, codes @ fisher)[0, 1]) > 0.999
    assert abs(np.corrcoef(codes @ (mean[1] - mean[0]), codes @ fisher)[0, 1]) < 0.7
    assert gap(plane.project(codes)).max() < 0.3
    assert 4 < gap(parted.project(codes))[0] < 6  # a distance of 1 in units of 0.2
    across = parted.project(codes)[:, 1]
    assert abs(np.corrcoef(across, codes[:, 0])[0, 1]) > 0.99  # what varies most beside it


def test_directions_fitted_to_training_examples_are_honest_about_test_examples() -> None:
    """Labels without meaning, and about as many dimensions as examples: fitted to themselves they part."""
    rng = np.random.default_rng(2)
    codes, labels = rng.normal(size=(60, 30)), np.arange(60) % 2

    def gap(view: latent_maps._View) -> float:
        points = view.project(codes)[:, 0]
        return float(abs(points[labels == 0].mean() - points[labels == 1].mean()) / points.std())

    (honest,) = latent_maps._separating(codes, labels, (rng.normal(size=(3000, 30)), np.arange(3000) % 2))
    (fitted,) = latent_maps._separating(codes, labels, None)
    assert gap(honest) < 0.8 < gap(fitted)
    assert "training" in honest.names[0]


@pytest.mark.parametrize("labels", [np.zeros(40), np.linspace(0, 1, 40), np.arange(40)])
def test_one_class_or_no_classes_are_not_parted(labels: Numbers) -> None:
    codes = np.random.default_rng(0).normal(size=(40, 4))
    assert latent_maps._separating(codes, labels, None) == []
    assert latent_maps._separating(np.ones((40, 4)), np.arange(40) % 2, None) == []
    figures.latent_scatter(build((6,), 4), examples((6,)), labels).draw_without_rendering()


def test_names_on_a_map_do_not_lie_on_one_another() -> None:
    """Twelve classes whose codes all lie in one place, and the ends of a path in the midst of them."""
    vae, x = build((8, 8, 1), 2), np.repeat(examples((8, 8, 1), 1), 240, 0)
    x[0] = 0
    names = [f"class {i}" for i in range(12)]
    code = vae.embed(x[1:2])
    figure = figures.latent_scatter(vae, x, np.arange(240) % 12, names, path=torch.cat([code, code + 0.01]))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 12
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    frame = axes.get_window_extent()
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)
    assert all(frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in boxes)
    ends = axes.transData.transform(code.numpy())
    assert not any(box.contains(*end) for box in boxes for end in ends)


def test_names_that_are_apart_stay_where_they_are() -> None:
    at = np.array([[10.0, 10.0], [50.0, 10.0], [10.0, 50.0]])
    free = style.moved_apart(at, np.full((3, 2), 5.0), np.empty((0, 2)), (0, 0, 100, 100))
    np.testing.assert_array_equal(free, at)


def test_a_constant_beta_is_not_hidden_by_a_constant_learning_rate() -> None:
    figure = figures.loss_curves(history(5))
    drawn = [[line.get_ydata() for line in axes.lines] for axes in figure.axes[3:]]
    assert [[np.unique(y).tolist() for y in lines] for lines in drawn] == [[[1.0]], [[1e-3]]]
    places = [axes.get_position() for axes in figure.axes]
    assert not any(a.overlaps(b) for a, b in combinations(places, 2))


# Losses


def test_one_image_has_one_loss_wherever_it_stands(vae: VAE, x: Numbers) -> None:
    values, errors = arrays.losses_with_errors(vae, x[:7])
    alone = [arrays.losses_with_errors(vae, x[i : i + 1]) for i in range(7)]
    np.testing.assert_array_equal(values, [value[0] for value, _ in alone])
    np.testing.assert_array_equal(errors, [error[0] for _, error in alone])
    again, _ = arrays.losses_with_errors(vae, x[:7][::-1])
    np.testing.assert_array_equal(values, again[::-1])
    others, _ = arrays.losses_with_errors(vae, x[:7], seed=1)
    assert (others != values).all()


def test_the_loss_of_an_image_has_the_error_that_it_says(vae: VAE, x: Numbers) -> None:
    """Over 200 seeds the values spread as the standard errors say, around the mean of 20,000 draws."""
    found = np.array([arrays.losses_with_errors(vae, x[:1], seed) for seed in range(200)])[..., 0]
    torch.manual_seed(1)
    exact = -float(vae.elbo(np.repeat(x[:1], 20_000, 0)).double().mean())
    spread = found[:, 0].std()
    assert abs(found[:, 0].mean() - exact) < 4 * spread / 200**0.5
    assert 0.8 < spread / np.sqrt(np.square(found[:, 1]).mean()) < 1.2  # the sd of 200 values is 5 % off


def test_sheets_and_histogram_tell_the_same_loss_of_an_image(vae: VAE, x: Numbers) -> None:
    value, error = (each[0] for each in arrays.losses_with_errors(vae, x[3:4]))
    told = arrays.with_error(value, error)
    assert " ± " in told
    sheet = by_class.friends(vae, x[2:5], ["a", "b", "c"])
    assert [label.get_text() for label in sheet.axes[0].get_yticklabels()][1] == f"b\n{told} nats"
    marked = figures.loss_histogram(vae, x, {"b": x[3]})
    assert [text.get_text() for text in marked.axes[0].texts] == [f"b  {told}"]
    ranked = pictures.best_and_worst(vae, x[3:5], n=1)
    captions = [axes.get_xticklabels()[0].get_text().replace("\n", " ") for axes in ranked.axes]
    assert told in captions


# Ranges


def of_range(low: float, high: float) -> VAE:
    torch.manual_seed(0)
    vae = VAE.build(shape=(4, 4, 1), latent_dim=2, hidden=[8], likelihood="gaussian")
    vae.value_range = (low, high)
    return vae


def test_pictures_of_another_range_are_drawn_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies below 0 is not black: rebuilding it wrongly would look perfect."""
    vae = of_range(-1, 1)
    x = np.array([-1.0, -0.5, 0.0, 1.0], np.float32)[:, None, None, None] * np.ones((4, 4, 4, 1), np.float32)
    monkeypatch.setattr(vae, "reconstruct", lambda x: torch.as_tensor(x) / 2)
    figure = pictures.reconstructions(vae, x)
    above, below = np.array_split(picture(figure)[..., 0], 2)
    middles = np.linspace(0, above.shape[1], 9).astype(int)[1::2]
    for row, expected in ((above[20], [0, 64, 128, 255]), (below[-20], [64, 96, 128, 191])):
        np.testing.assert_allclose(row[middles].astype(int), expected, atol=1)  # resizing rounds
    assert "black is −1, white 1" in titles(figure)
    assert "black" not in titles(pictures.reconstructions(of_range(0, 1), x))


def test_everything_that_is_drawn_of_a_model_is_in_its_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that this model decodes to, and all that it is shown, is −1: black."""
    vae = of_range(-1, 1)
    x = np.full((20, 4, 4, 1), -1, np.float32)
    decoded = SimpleNamespace
    monkeypatch.setattr(
        vae, "decode", lambda z, *_: decoded(mean=torch.full((int(np.prod(z.shape[:-1])), 4, 4, 1), -1.0))
    )
    monkeypatch.setattr(vae, "sample", lambda n, **_: torch.full((n, 4, 4, 1), -1.0))
    data = dataset((8, 8, 1))
    data = type(data)("dark", x, split=np.zeros(20, np.uint8), labels=np.arange(20) % 2)
    drawn = [
        pictures.samples(vae, 4),
        pictures.manifold(vae, 3),
        pictures.traversals(vae, x, steps=3),
        morphs.morph_strip(vae, x[0], x[1], steps=3),
        by_class.examples_by_class(data, vae=vae),
        by_class.reconstructions_by_class(vae, data, part="train"),
        by_class.friends(vae, x[:2], ["a", "b"]),
        by_class.transformation(vae, data, 0, 1, part="train"),
    ]
    for figure in drawn:
        pixels = picture(figure)
        tiles = pixels[(pixels != 255).any(-1)]  # beside the white between them, and coloured frames
        assert (tiles == 0).all()
    z = torch.zeros(3, 2)
    assert morphs.path_frames(vae, z).max() == 0


def test_charts_of_one_sheet_have_one_scale() -> None:
    """Two classes of rows, one ten times as large as the other, must not look alike."""
    x = np.linspace(-1, 1, 6, dtype=np.float32) * np.repeat([1.0, 10.0], 20)[:, None].astype(np.float32)
    data = dataset((6,))
    data = type(data)("rows", x, split=np.zeros(40, np.uint8), labels=np.repeat([0, 1], 20))
    small, large = np.array_split(picture(by_class.examples_by_class(data, 2)), 2)

    def height(row: Numbers) -> int:
        blue = np.abs(row.astype(int) - np.array([0, 114, 178])).sum(-1) < 60
        return int(np.ptp(np.flatnonzero(blue.any(1))))

    assert height(large) > 5 * height(small)


def test_a_title_that_does_not_fit_takes_more_lines_and_stays_in_the_figure() -> None:
    figure = grids.stack(grids.ImageGrid(np.zeros((1, 4, 4, 1)), 1), title="many words " * 20)
    figure.draw_without_rendering()
    (text,) = figure.texts
    box = text.get_window_extent()
    assert text.get_text().count("\n") >= 2
    assert figure.bbox.x0 < box.x0
    assert box.x1 < figure.bbox.x1
    top = figure.axes[0].get_window_extent().y1
    assert top < box.y0
    assert box.y1 < figure.bbox.y1
