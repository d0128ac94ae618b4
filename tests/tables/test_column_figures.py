"""Pictures of a table: a chart for each column, with names, dates and what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from elboroom.config.columns import Column
from elboroom.data import Dataset
from elboroom.figures.columns import (
    map_of_columns,
    reconstructed_columns,
    sampled_columns,
    traversed_columns,
)
from elboroom.figures.scene import Scene
from elboroom.figures.standard_figures import STANDARD_FIGURES
from elboroom.figures.standard_set import draw_all
from elboroom.models.vae import VAE

COLUMNS = (
    Column(name="age", kind="real", location=40.0, scale=9.0, unit="years"),
    Column(name="$job$", kind="category", categories=tuple(f"a very long name {i}" for i in range(12))),
    Column(name="income", kind="positive", location=10.0, scale=1.0),
    Column(name="children", kind="count", location=0.7, scale=0.5),
    Column(name="born", kind="datetime", location=9000.0, scale=3000.0, origin="1960-01-01", step="day"),
    Column(name="rating", kind="ordinal", categories=("low", "high")),
)


def _rows(n: int = 60) -> Any:
    rng = np.random.default_rng(0)
    cells = [40 + 9 * rng.standard_normal(n), rng.integers(0, 12, n), np.exp(10 + 2 * rng.standard_normal(n))]
    cells += [rng.poisson(1.0, n), 9000 + 3000 * rng.random(n), rng.integers(0, 2, n)]
    x = np.stack(cells, 1).astype(np.float32)
    x[rng.random(x.shape) < 0.2] = np.nan
    x[:, 5] = np.nan  # nothing is observed
    return x


def _vae(**options: Any) -> VAE:
    return VAE.build(shape=(6,), likelihood="mixed", columns=COLUMNS, hidden=(8,), **options)


def _charts(figure: Figure) -> list[Any]:
    figure.canvas.draw()
    return [axes for axes in figure.axes if axes.get_title(loc="left")]


def _names(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def test_distributions_have_the_shares_of_data_and_draws() -> None:
    vae, x = _vae(), _rows()
    charts = _charts(sampled_columns(vae, x, "Columns"))
    titles = [axes.get_title(loc="left") for axes in charts]
    assert titles == ["age (years)", r"\$job\$", "income", "children", "born", "rating"]
    job, income, born = charts[1], charts[2], charts[4]
    heights = [bar.get_height() for bar in job.patches]
    known = x[~np.isnan(x[:, 1]), 1].astype(int)
    shares = np.bincount(known, minlength=12) / len(known)
    assert all(np.isclose(shares, height).any() for height in heights[:8])
    assert [text.get_text() for text in job.texts] == ["and 4 more"]
    assert income.get_xscale() == "log"
    assert all(name.startswith(("19", "20")) and len(name) == 7 for name in _names(born.xaxis))


def test_reconstructions_are_drawn_against_what_is_observed() -> None:
    vae, x = _vae(), _rows()
    charts = _charts(reconstructed_columns(vae, x))
    points = charts[0].lines[1]
    known = ~np.isnan(x[:, 0])
    np.testing.assert_allclose(points.get_xdata(), x[known, 0], rtol=1e-6)
    np.testing.assert_allclose(points.get_ydata(), vae.reconstruct(x)[known, 0], rtol=1e-6)
    shares = charts[1].images[0].get_array()
    assert shares.shape == (8, 8)
    assert shares.sum(0).max() <= 1 + 1e-9
    assert charts[2].get_xscale() == "log"


@pytest.mark.parametrize("latent_dim", [1, 2, 3])
def test_maps_show_the_decoded_value_at_its_place(latent_dim: int) -> None:
    vae = _vae(latent_dim=latent_dim)
    data = Dataset("rows", _rows(), np.arange(60) % 2, columns=COLUMNS)
    scene = Scene(vae, data)
    grid = scene.grid
    figure = map_of_columns(vae, grid, *scene.directions)
    axes = _charts(figure)[0]
    values = np.asarray(axes.collections[0].get_array()).reshape(grid.shape[:2])
    lowest_left = vae.decode(grid[-1, 0][None]).mean[0, 0]
    np.testing.assert_allclose(values[0, 0], lowest_left, rtol=1e-5)
    across, up = scene.directions[1]
    assert (len(across), len(up)) == (grid.shape[1], grid.shape[0])
    assert (np.diff(across) > 0).all()
    assert (np.diff(up) > 0).all()


def test_traversals_have_a_line_for_each_dimension_and_named_levels() -> None:
    vae = _vae(latent_dim=3)
    charts = _charts(traversed_columns(vae, _rows(), [2, 0]))
    assert [len(axes.lines) for axes in charts] == [2] * 6
    assert set(_names(charts[5].yaxis)) <= {"low", "high"}
    around = _charts(traversed_columns(vae, None, steps=3))[0].lines
    middle = vae.decode(np.zeros((1, 3), np.float32)).mean[0, 0]
    assert [float(line.get_ydata()[1]) for line in around] == pytest.approx([float(middle)] * 3)


def test_wide_tables_show_their_first_columns() -> None:
    columns = tuple(Column(name=f"x{i}", kind="real") for i in range(30))
    vae = VAE.build(shape=(30,), likelihood="mixed", columns=columns, hidden=(4,))
    figure = sampled_columns(vae, np.zeros((5, 30), np.float32), "Columns")
    assert len(_charts(figure)) == 24
    assert figure.texts[0].get_text() == "Columns (the first 24 of 30 columns)"


@pytest.mark.parametrize("latent_dim", [1, 3])
def test_the_square_around_a_morph_has_a_chart_for_each_column(latent_dim: int) -> None:
    data = Dataset("rows", _rows(), np.arange(60) % 2, columns=COLUMNS)
    (around,) = (figure for figure in STANDARD_FIGURES if figure.name == "manifold_around")
    charts = _charts(around(Scene(_vae(latent_dim=latent_dim), data)))
    assert [axes.get_title(loc="left") for axes in charts][::5] == ["age (years)", "rating"]


def test_all_standard_figures_of_a_conditional_table_with_holes(tmp_path: Path) -> None:
    labels = np.arange(60) % 2
    data = Dataset("rows", _rows(), np.arange(60) % 2, labels, columns=COLUMNS)
    vae = _vae(condition="labels", condition_dim=2)
    written = draw_all(vae, data, [], tmp_path)
    wanted = {"samples", "manifold", "reconstructions", "traversals", "morph", "best_and_worst"}
    assert {path.stem for path in written} >= wanted
