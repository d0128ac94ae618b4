import sys
import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sklearn.decomposition import PCA

from elboroom import figures
from elboroom.errors import UsageError
from elboroom.figures import style
from elboroom.latent import arrays
from elboroom.latent.arrays import Numbers
from elboroom.models.vae import VAE

from .conftest import build, examples, history


def lines(axes: Axes) -> dict[Any, Any]:
    return {line.get_label(): line for line in axes.lines}


def legend(axes: Axes) -> list[str]:
    key = axes.get_legend()
    assert key is not None
    return [text.get_text() for text in key.get_texts()]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize("epochs", [1, 2, 100])
@pytest.mark.parametrize("validation", [True, False])
def test_curves_of_any_length_show_the_numbers(epochs: int, validation: bool) -> None:
    figure = figures.loss_curves(history(epochs, validation))
    figure.draw_without_rendering()
    shown = lines(figure.axes[0])
    np.testing.assert_allclose(shown["train"].get_ydata(), 100 / np.arange(1, epochs + 1) + 6)
    assert ("validation" in shown) == validation
    assert "training loss" not in shown  # with beta = 1 it is the −ELBO


def test_best_validation_epoch_is_marked() -> None:
    shown = lines(figures.loss_curves(history(8)).axes[0])
    assert "best: 57 in epoch 3" in shown
    assert shown["best: 57 in epoch 3"].get_xdata() == [3]


def test_the_marked_epoch_is_the_one_that_is_kept() -> None:
    """By the bound where there is one; none with a penalty that costs likelihood."""
    rows = [{**row, "val_bound": -50.0 - (row["epoch"] - 5) ** 2} for row in history(8)]
    shown = lines(figures.loss_curves(rows).axes[0])
    assert shown["epoch 5, which has the best bound"].get_xdata() == [5]
    rows = [{**row, "penalty_patch_critic": 1.0} for row in history(8)]
    figure = figures.loss_curves(rows)
    assert not any("best" in label for label in lines(figure.axes[0]))
    assert "validation" in lines(figure.axes[0])


def test_curves_of_one_epoch_have_different_markers() -> None:
    rows = [{**row, "loss": row["distortion"]} for row in history(1)]
    shown = lines(figures.loss_curves(rows).axes[0])
    assert shown["train"].get_marker() != shown["training loss"].get_marker()


def test_a_loss_that_is_not_the_elbo_is_drawn_too() -> None:
    rows = [{**row, "loss": row["distortion"] + 0.5 * row["rate"], "beta": 0.5} for row in history(4)]
    shown = lines(figures.loss_curves(rows).axes[0])
    np.testing.assert_allclose(shown["training loss"].get_ydata(), 100 / np.arange(1, 5) + 3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None])
def test_values_that_are_not_finite_leave_a_gap(bad: float | None) -> None:
    rows = history(5)
    rows[2] |= {"distortion": bad, "val_distortion": bad, "beta": bad}
    figure = figures.loss_curves(rows)
    figure.draw_without_rendering()
    shown = lines(figure.axes[0])
    assert np.isnan(shown["train"].get_ydata()).tolist() == [False, False, True, False, False]
    assert "best: 58 in epoch 2" in shown


def test_a_history_of_nothing_but_nan_and_one_of_nothing() -> None:
    names = ("loss", "distortion", "rate", "val_distortion", "val_rate", "beta", "learning_rate")
    figures.loss_curves([{"epoch": 1, **dict.fromkeys(names, float("nan"))}]).draw_without_rendering()
    with pytest.raises(UsageError, match="0 epochs"):
        figures.loss_curves([])


def test_two_latent_dimensions_are_drawn_as_they_are(vae: VAE, x: Numbers) -> None:
    axes = figures.latent_scatter(vae, x).axes[0]
    drawn = np.asarray(axes.collections[0].get_offsets())
    codes = vae.embed(x).numpy()
    np.testing.assert_allclose(np.sort(drawn, 0), np.sort(codes, 0), rtol=1e-6)
    assert axes.get_aspect() == 1.0
    assert axes.get_legend() is None


def test_more_dimensions_are_drawn_by_their_principal_components() -> None:
    vae, x = build((8, 8, 1), latent_dim=5), examples((8, 8, 1))
    codes = vae.embed(x)
    pca = PCA(2).fit(codes)
    axes = figures.latent_scatter(vae, x, path=codes[:4]).axes[0]
    drawn = np.asarray(axes.collections[0].get_offsets())
    np.testing.assert_allclose(np.sort(drawn, 0), np.sort(pca.transform(codes), 0), atol=1e-5)
    assert axes.get_xlabel() == f"principal component 1 ({pca.explained_variance_ratio_[0]:.0%} of variance)"
    np.testing.assert_allclose(np.asarray(axes.lines[0].get_xydata()), pca.transform(codes[:4]), atol=1e-5)
    np.testing.assert_allclose(lines(axes)["end"].get_xydata()[0], pca.transform(codes[3:4])[0], atol=1e-5)


def test_one_dimension_is_a_strip_per_label() -> None:
    vae, x = build((8, 8, 1), latent_dim=1), examples((8, 8, 1))
    labels = np.arange(len(x)) % 3
    axes = figures.latent_scatter(vae, x, labels, path=vae.embed(x[:2]), grid=torch.zeros(1, 4, 1)).axes[0]
    drawn = np.asarray(axes.collections[0].get_offsets())
    np.testing.assert_allclose(np.sort(drawn[:, 0]), np.sort(vae.embed(x)[:, 0]), rtol=1e-6)
    assert np.bincount(drawn[:, 1].round().astype(int)).tolist() == [14, 13, 13]


def test_few_labels_get_a_legend_and_many_a_bar(vae: VAE, x: Numbers) -> None:
    labels = np.arange(len(x)) % 2 + 1
    axes = figures.latent_scatter(vae, x, labels, ("cat", "dog", "a longer name")).axes[0]
    assert legend(axes) == ["dog", "a longer name"]
    assert [text.get_text() for text in axes.texts] == ["dog"]  # a long name is in the legend only
    for many in (np.arange(len(x)), torch.linspace(0, 1, len(x))):
        figure = figures.latent_scatter(vae, x, many, path=vae.embed(x[:3]), grid=torch.zeros(2, 2, 2))
        figure.draw_without_rendering()
        assert len(figure.axes[0].child_axes) == 1
        assert legend(figure.axes[0]) == ["decoded grid", "start", "end"]


def test_labels_must_be_as_many_as_examples(vae: VAE, x: Numbers) -> None:
    with pytest.raises(UsageError, match="3 labels for 40 examples"):
        figures.latent_scatter(vae, x, np.zeros(3))
    with pytest.raises(UsageError, match="0 examples"):
        figures.latent_scatter(vae, x[:0])


@pytest.mark.parametrize("latent_dim", [1, 2, 5])
@pytest.mark.parametrize("n", [1, 2])
def test_very_few_examples(latent_dim: int, n: int) -> None:
    vae = build((8, 8, 1), latent_dim)
    figures.latent_scatter(vae, examples((8, 8, 1), n), np.zeros(n)).draw_without_rendering()


def test_many_examples_are_thinned_evenly() -> None:
    chosen = arrays.evenly(70_001)
    assert len(chosen) == 10_000
    assert chosen[0] == 0
    assert chosen[-1] == 70_000
    assert set(np.diff(chosen)) == {7, 8}  # 70,000 / 9,999 is a little above 7


def test_losses_are_the_elbo_and_marks_appear_at_theirs(vae: VAE, x: Numbers) -> None:
    losses = arrays.losses_of(vae, x)
    torch.manual_seed(0)
    np.testing.assert_allclose(losses, -vae.elbo(x), rtol=1e-6)
    marks = {"odd one": np.full((8, 8, 1), 255, np.uint8), "first": x[0]}
    figure = figures.loss_histogram(vae, x, marks)
    figure.draw_without_rendering()
    at = {name: arrays.losses_with_errors(vae, one[None]) for name, one in marks.items()}
    written = [f"{name}  {arrays.with_error(loss[0], error[0])}" for name, (loss, error) in at.items()]
    assert sorted(texts(figure)) == sorted(written)
    dashed = [
        float(np.asarray(line.get_xdata())[0])
        for line in figure.axes[0].lines
        if line.get_linestyle() == "--"
    ]
    np.testing.assert_allclose(sorted(dashed), sorted(loss[0] for loss, _ in at.values()))
    assert sum(bar.get_bbox().height for bar in figure.axes[0].patches if isinstance(bar, Rectangle)) == len(
        x
    )


def test_labels_of_marks_do_not_cover_each_other(vae: VAE, x: Numbers) -> None:
    figure = figures.loss_histogram(vae, x, {f"mark {i}": x[0] for i in range(10)})
    figure.draw_without_rendering()
    boxes = sorted((text.get_window_extent() for text in figure.axes[0].texts), key=lambda box: box.y0)
    assert len(boxes) == 10
    assert all(low.y1 <= high.y0 for low, high in pairwise(boxes))


def test_equal_losses_make_one_bar(vae: VAE, x: Numbers) -> None:
    figures.loss_histogram(vae, x[:1]).draw_without_rendering()


def test_a_read_only_array_draws_without_a_warning(vae: VAE, x: Numbers) -> None:
    labels = np.arange(len(x)) % 2
    x.flags.writeable = labels.flags.writeable = False
    figures.latent_scatter(vae, x, labels).draw_without_rendering()
    figures.loss_histogram(vae, x, {"one": x[0]}).draw_without_rendering()


def test_nothing_random_or_global_is_touched(vae: VAE, x: Numbers) -> None:
    vae.train()
    before = torch.get_rng_state(), repr(np.random.get_state())  # noqa: NPY002
    figures.loss_histogram(vae, x)
    figures.latent_scatter(vae, x, np.arange(len(x)) % 3)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == repr(np.random.get_state())  # noqa: NPY002
    assert vae.training


def test_pyplot_and_its_global_state_are_not_used(
    vae: VAE, x: Numbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would now fail
    figures.loss_histogram(vae, x).draw_without_rendering()
    figures.latent_scatter(vae, x, np.linspace(0, 1, len(x))).draw_without_rendering()


def test_a_notebook_shows_it(vae: VAE, x: Numbers) -> None:
    figure = figures.latent_scatter(vae, x)
    assert isinstance(figure, style.Picture)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_letters_that_the_font_lacks_bring_no_warnings() -> None:
    figure = Figure()
    figure.text(0.5, 0.5, "dog \N{DOG FACE}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert style.to_png(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("posterior", "title"), [("diagonal", "Codes (posterior means) of"), ("fsq", "Codes of")]
)
def test_only_codes_with_noise_are_means(posterior: str, title: str) -> None:
    vae = VAE.build(shape=(6,), hidden=[8], posterior=posterior)
    figure = figures.latent_scatter(vae, np.random.default_rng(0).random((30, 6)))
    assert any(text.get_text().startswith(title) for text in (*figure.texts, *texts(figure)))
