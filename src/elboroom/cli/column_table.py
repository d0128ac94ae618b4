"""The numbers of each column of a table, as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size

from elboroom.errors import printable

_NAME, _REST, _WIDTH = 15, "   reconstructed", 80
_TENTH, _LARGE = 0.1, 1000.0


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
    start = f"  {_name(column)} {column['observed']:>8,} "
    if not column["observed"]:
        return f"{start}{'–':>17}"
    nats = f"{column['nats']:.3f} ± {column['nats_stderr']:.3f}"
    return f"{start}{nats:>17}   {_reconstructed(column)}"


def _name(column: dict[str, Any]) -> str:
    """The name, cut or filled to its width."""
    name = printable(column["name"])
    if cell_len(name) > _NAME:
        name = set_cell_size(name, _NAME - 1) + "…"
    return set_cell_size(name, _NAME)


def _reconstructed(column: dict[str, Any]) -> str:
    if "accuracy" in column:
        return f"{column['accuracy']:.1%} right (majority {column['majority']:.1%})"
    return f"RMSE {column['rmse']:.3g} (mean {column['deviation']:.3g})"


def table_of_mechanism(columns: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of at most 80 characters that say at which values cells are likely to be missing.

    Parameters
    ----------
    columns : sequence of dict
        As :func:`elboroom.evaluation.learned_mechanism` returns them.

    Examples
    --------
    >>> at = [{"value": 20.0, "probability": 0.08}, {"value": 60.0, "probability": 0.42}]
    >>> for line in table_of_mechanism([{"name": "pay", "missing": 0.2, "at": at}]):
    ...     print(line)
      column           missing   how likely a cell of this value is missing
      pay                20.0%   42% at 60, 8.0% at 20
    """
    head = f"  {'column':<{_NAME}} {'missing':>8}   how likely a cell of this value is missing"
    return [head, *map(_mechanism_line, columns)]


def _mechanism_line(column: dict[str, Any]) -> str:
    share = "–" if column["missing"] is None else f"{column['missing']:.1%}"
    start = f"  {_name(column)} {share:>8}   "
    at = sorted(column["at"], key=lambda one: -one["probability"])
    texts = [f"{_percent(one['probability'])} at {_value(one['value'])}" for one in at]
    for count in range(len(texts), 0, -1):
        more = "" if count == len(texts) else ", …"
        line = f"{start}{', '.join(texts[:count])}{more}"
        if cell_len(line) <= _WIDTH:
            return line
    return set_cell_size(f"{start}{texts[0]}", _WIDTH - 1) + "…"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= _TENTH else f"{share:.1%}"


def _value(value: Any) -> str:
    if isinstance(value, str):
        return printable(value)
    return f"{value:,.0f}" if _LARGE <= abs(value) < _LARGE**3 else f"{value:.4g}"
