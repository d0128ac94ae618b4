"""Rows of a table as text in a picture: a line for each column, beside each other what is to be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from elboroom.data.table_write import cell_texts
from elboroom.figures.column_charts import MOST, short
from elboroom.figures.style import INK, PALETTE, panel, titled_canvas
from elboroom.latent.arrays import Numbers, numbers
from elboroom.models.conditioning import apart
from elboroom.models.vae import VAE, Array

if TYPE_CHECKING:
    from elboroom.config.columns import Column

_NAME, _CELL, _LINE, _GAP = 210, 128, 17, 8  # pixels
_LETTERS = 15  # of a cell
_MODEL, _SAME, _STRIPE = PALETTE[1], "#9A9A9A", "#F4F4F4"

Cell = Sequence[tuple[str, str]]
"""Lines of one cell: text and colour."""


@dataclass(frozen=True)
class TextTable:
    """A table of text.

    Attributes
    ----------
    title : str
        Above it.
    heads : sequence of str
        Headings of the n columns of the picture; may have several lines.
    names : sequence of str
        Of its lines.
    cells : sequence of sequence of Cell
        n for each line.
    """

    title: str
    heads: Sequence[str]
    names: Sequence[str]
    cells: Sequence[Sequence[Cell]]

    @property
    def _lines(self) -> int:
        return max((len(cell) for row in self.cells for cell in row), default=1)

    @property
    def _head(self) -> int:
        return 38 + _LINE * max(head.count("\n") + 1 for head in self.heads)

    @property
    def height(self) -> int:
        """Pixels that it takes."""
        return self._head + len(self.names) * (self._lines * _LINE + _GAP) + 26

    def draw(self, axes: Any, top: float) -> None:
        """Draw it into axes whose unit is a pixel."""
        style: dict[str, Any] = {"va": "top", "color": INK, "fontsize": 8}
        right = 30 + _NAME + _CELL * len(self.heads)
        axes.text(30, top, self.title, **{**style, "fontsize": 10})
        for j, head in enumerate(self.heads):
            axes.text(30 + _NAME + _CELL * j, top + 26, head, linespacing=1.2, **style)
        step = self._lines * _LINE + _GAP
        for i, (name, row) in enumerate(zip(self.names, self.cells, strict=True)):
            at = top + self._head + i * step
            if i % 2 == 0:
                axes.add_patch(Rectangle((20, at), right - 20, step, facecolor=_STRIPE, edgecolor="none"))
            axes.text(30, at + _GAP / 2 + 2, short(name, 26), **style)
            for j, cell in enumerate(row):
                for k, (text, colour) in enumerate(cell):
                    place = (30 + _NAME + _CELL * j, at + _GAP / 2 + 2 + k * _LINE)
                    axes.text(*place, short(text, _LETTERS), **{**style, "color": colour})


def draw_tables(vae: VAE, title: str, tables: Sequence[TextTable]) -> Figure:
    """Draw tables below each other; the title says if columns of the model's table are left out."""
    count = len(_columns(vae))
    if count > MOST:
        title = f"{title} (the first {MOST} of {count} columns)"
    width = 60 + _NAME + _CELL * max(len(table.heads) for table in tables)
    height = sum(table.height for table in tables)
    figure, head = titled_canvas(width, height + 10, title)
    width = round(figure.get_size_inches()[0] * figure.dpi)
    axes = panel(figure, 0, head, width, height)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    top = 10.0
    for table in tables:
        table.draw(axes, top)
        top += table.height
    return figure


def reconstructed_rows(vae: VAE, x: Array, title: str, heads: Sequence[str]) -> TextTable:
    """Rows x (n, d) with what the model makes of each cell below it."""
    columns = _columns(vae)[:MOST]
    observed = _texts(columns, numbers(apart(x)[0]))
    again = _texts(columns, numbers(vae.reconstruct(x)))
    cells = [
        [((own or "missing", INK if own else _SAME), (made, _MODEL)) for own, made in zip(*pair, strict=True)]
        for pair in zip(observed, again, strict=True)
    ]
    return TextTable(title, heads, [column.name for column in columns], cells)


def neighbouring_rows(vae: VAE, rows: Numbers, title: str, heads: Sequence[str]) -> TextTable:
    """Rows (n, d) beside each other; a cell that says the same as that of the first row is grey."""
    columns = _columns(vae)[:MOST]
    texts = _texts(columns, rows)
    cells = [
        [((text or "missing", _SAME if j and text == own[0] else INK),) for j, text in enumerate(own)]
        for own in texts
    ]
    return TextTable(title, heads, [column.name for column in columns], cells)


def _columns(vae: VAE) -> tuple[Column, ...]:
    found: tuple[Column, ...] = vae.likelihood.columns
    return found


def _texts(columns: Sequence[Column], x: NDArray[Any]) -> list[list[str]]:
    """Cells of each column as text: numbers with four digits, dates and categories as the table has them."""
    found = []
    for i, column in enumerate(columns):
        cells = np.asarray(x)[:, i]
        if column.categories or column.kind == "datetime" or column.whole:
            found += cell_texts([column], cells[:, None])
        else:
            mark = "," if column.comma else "."
            found.append([_number(value).replace(".", mark) for value in cells.tolist()])
    return found


def _number(value: float) -> str:
    """Four digits, and all that stand before the decimal point.

    Examples
    --------
    >>> _number(20941.7), _number(-0.0), _number(1.23456), _number(float("nan"))
    ('20942', '0', '1.235', '')
    """
    if value != value:
        return ""
    return f"{value:.0f}" if 1e3 <= abs(value) < 1e9 else f"{value + 0.0:.4g}"
