"""The numbers of each column of a table, as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from elboroom.errors import printable

_NAME, _REST = 15, "   reconstructed"


def table_of_columns(columns: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of at most 80 characters with the nats and the error of each column.

    Parameters
    ----------
    columns : sequence of dict
        As :func:`elboroom.evaluation.evaluate_columns` returns them.

    Examples
    --------
    >>> age = {"name": "age", "observed": 900, "nats": 3.2144, "nats_stderr": 0.002}
    >>> for line in table_of_columns([age | {"rmse": 8.31, "deviation": 13.7}]):
    ...     print(line)
      column             cells     nats per cell   reconstructed
      age                  900     3.214 ± 0.002   RMSE 8.31 (mean 13.7)
    """
    head = f"  {'column':<{_NAME}} {'cells':>8} {'nats per cell':>17}{_REST}"
    return [head, *map(_line, columns)]


def _line(column: dict[str, Any]) -> str:
    from rich.cells import cell_len, set_cell_size

    name = printable(column["name"])
    if cell_len(name) > _NAME:
        name = set_cell_size(name, _NAME - 1) + "…"
    start = f"  {set_cell_size(name, _NAME)} {column['observed']:>8,} "
    if not column["observed"]:
        return f"{start}{'–':>17}"
    nats = f"{column['nats']:.3f} ± {column['nats_stderr']:.3f}"
    return f"{start}{nats:>17}   {_reconstructed(column)}"


def _reconstructed(column: dict[str, Any]) -> str:
    if "accuracy" in column:
        return f"{column['accuracy']:.1%} right (majority {column['majority']:.1%})"
    return f"RMSE {column['rmse']:.3g} (mean {column['deviation']:.3g})"
