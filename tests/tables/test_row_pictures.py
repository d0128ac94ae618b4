"""Pictures of rows of a table: as text beside each other, and a morph column by column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from elboroom.config.columns import Column
from elboroom.data import Dataset
from elboroom.evaluation.neighbours import nearest
from elboroom.figures.by_class import neighbour_sheet
from elboroom.figures.columns import reconstructed_columns
from elboroom.figures.images import best_and_worst
from elboroom.figures.morphs import between, strip
from elboroom.models.vae import VAE

COLUMNS = (
    Column(name="a\nge", kind="real", location=40.0, scale=9.0, comma=True),
    Column(name="<b>$job$", kind="category", categories=tuple(f"job {i:02d}" for i in range(11))),
    Column(
        name="born", kind="datetime", location=90.0, scale=30.0, origin="1960-01-01", step="day", whole=True
    ),
)
ORANGE, GREY = "#d55e00", "#9a9a9a"


def _rows(n: int = 40) -> Any:
    rng = np.random.default_rng(0)
    x = np.stack([40 + 9 * rng.normal(size=n), rng.integers(0, 11, n), 30 + rng.integers(0, 90, n)], 1)
    x[3, 0], x[5, 1] = np.nan, np.nan
    return x.astype(np.float32)


@pytest.fixture
def vae() -> VAE:
    torch.manual_seed(0)
    return VAE.build(shape=(3,), likelihood="mixed", columns=COLUMNS, hidden=(8,), latent_dim=2).eval()


def _texts(figure: Figure) -> list[tuple[str, str]]:
    figure.canvas.draw()
    return [(text.get_text(), to_hex(text.get_color())) for text in figure.axes[0].texts]


def test_the_best_and_the_worst_rows_are_written_above_their_reconstructions(vae: VAE) -> None:
    x = _rows()[:4]
    found = _texts(best_and_worst(vae, x, n=2))
    assert [text for text, _ in found if text.endswith("loss")] == ["Lowest loss", "Highest loss"]
    assert [text for text, colour in found if colour == GREY] == ["missing"]  # row 3 has no age
    words = [text for text, _ in found]
    assert {r"a\nge", r"<b>\$job\$", "born"} < set(words)
    for i in range(4):
        assert COLUMNS[1].categories[int(x[i, 1])] in words
        assert str(np.datetime64("1960-01-01") + int(x[i, 2])) in words
    assert {f"{v:.4g}".replace(".", ",") for v in x[:3, 0]} < set(words)
    made = vae.reconstruct(x).numpy()
    orange = [text for text, colour in found if colour == ORANGE]
    assert len(orange) == 12
    assert sorted(t for t in orange if t.startswith("job")) == sorted(
        COLUMNS[1].categories[int(j)] for j in made[:, 1]
    )


def test_neighbours_are_rows_beside_each_other_and_what_is_the_same_is_grey(vae: VAE) -> None:
    x = _rows()
    data = Dataset("rows", x, np.zeros(40), columns=COLUMNS)
    found = nearest(data, x[:1], 3, "pixels", vae=vae)
    figure = neighbour_sheet(data, x[:1], ["mine"], found, vae=vae)
    texts = _texts(figure)
    assert texts[0][0] == "mine: the first is the same"
    assert [text for text, _ in texts[1:5]] == ["", *(f"{value:.3f}" for value in found.distances[0])]
    job = COLUMNS[1].categories[int(x[0, 1])]
    assert texts.count((job, GREY)) == int((x[found.rows[0], 1] == x[0, 1]).sum())
    assert [colour for text, colour in texts if text == str(np.datetime64("1960-01-01") + int(x[0, 2]))][
        1
    ] == GREY


def test_a_morph_has_a_chart_for_each_column_with_the_rows_at_its_ends(vae: VAE) -> None:
    x = _rows()
    figure = strip(vae, between(vae, x[0], x[3], 9))
    figure.canvas.draw()
    assert [axes.get_title(loc="left") for axes in figure.axes] == [r"a\nge", r"<b>\$job\$", "born"]
    decoded = vae.decode(between(vae, x[0], x[3], 9).path).mean.numpy()
    for i, axes in enumerate(figure.axes):
        line, dots = axes.lines
        np.testing.assert_allclose(line.get_ydata(), decoded[:, i], rtol=1e-6)
        known = [(place, x[row, i]) for place, row in ((0, 0), (1, 3)) if not np.isnan(x[row, i])]
        assert list(zip(dots.get_xdata(), dots.get_ydata(), strict=True)) == known
    assert "(dots)" in figure.texts[0].get_text()


def test_reconstructed_categories_beyond_the_named_ones_are_counted(vae: VAE) -> None:
    figure = reconstructed_columns(vae, _rows(200))
    assert "and 3 more" in [text.get_text() for text in figure.axes[1].texts]


def test_rows_that_are_merely_near_are_no_copies(vae: VAE) -> None:
    """Fresh rows of the same law: by the rule for images a share of them are copies."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(900, 3)) * [9, 0, 30] + [40, 0, 90]
    x[:, 1] = rng.integers(0, 11, 900)
    data = Dataset("rows", x[:600].astype(np.float32), np.zeros(600), columns=COLUMNS)
    new = np.concatenate([x[600:], x[:2]]).astype(np.float32)
    found = nearest(data, new, 3, "pixels", vae=vae)
    assert found.copied[:300].mean() > 0.1
    assert found.copies(data).tolist() == [False] * 300 + [True, True]
