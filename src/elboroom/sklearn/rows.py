"""What goes in and comes out: arrays and data frames as rows of numbers, and back."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_feature_names_in, check_array, check_is_fitted, validate_data

from elboroom.config.columns import Column
from elboroom.config.kinds import Declared, declared_kinds
from elboroom.data.dataset import Dataset
from elboroom.data.precision import Rounding
from elboroom.data.table_cells import Cells
from elboroom.data.table_frames import memory_table
from elboroom.data.table_memory import array_cells
from elboroom.data.table_set import Reading, table_set
from elboroom.data.table_write import decode_cells, to_frame
from elboroom.errors import RunWarning

Numbers = NDArray[np.float64]


class RowsEstimator(BaseEstimator):  # type: ignore[misc]
    """An estimator whose input is a table: an array of numbers, or a data frame of columns of any kind.

    Attributes
    ----------
    columns_ : tuple of Column
        The columns that are modelled; empty if one likelihood models all numbers.
    n_features_in_ : int
        Number of columns of the input.
    feature_names_in_ : array of str
        Their names, if they had any.
    """

    likelihood: str
    kinds: Any
    unseen: Any
    columns_: tuple[Column, ...]
    _says_unseen = False  # whether a warning names the categories that are taken as missing

    @property
    def _mixed(self) -> bool:
        """Whether each column has a likelihood of its own."""
        return self.likelihood in ("auto", "mixed")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._mixed
        tags.input_tags.categorical = self._mixed
        return tags

    def _new_rows(self, X: Any) -> Numbers:
        """Rows to train on; what their columns are is remembered."""
        self._frame = library_of(X) if self._mixed else ""
        self._is_table = self._mixed and (self._frame != "" or self.kinds is not None)
        if self._is_table:
            return self._table(X, reset=True)
        x = self._numbers(X, reset=True)
        names = self._column_names()
        self.columns_ = tuple(Column(name=name, kind="real") for name in names) if self._mixed else ()
        known = np.where(np.isnan(x), np.nan_to_num(np.fmin.reduce(x)), x)
        rounding = Rounding()
        rounding.add(known)
        _warn(rounding.notes(names, "X"))
        return x

    def _rows(self, X: Any) -> Numbers:
        """Rows of an input that has the columns of the one trained on."""
        check_is_fitted(self)
        return self._table(X, reset=False) if self._is_table else self._numbers(X, reset=False)

    def _numbers(self, X: Any, *, reset: bool) -> Numbers:
        finite: Any = "allow-nan" if self._mixed else True
        x: Numbers = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite=finite)
        return x

    def _table(self, X: Any, *, reset: bool) -> Numbers:
        if library_of(X):
            validate_data(self, X, reset=reset, skip_check_array=True)
            cells = memory_table(X) or []
        else:  # an array, whose columns are known by their places
            x = self._numbers(X, reset=reset)
            cells = [array_cells(name, x[:, i]) for i, name in enumerate(self._column_names())]
        kinds, columns = (self._kinds_of(cells), ()) if reset else ({}, self.columns_)
        reading = Reading(kinds, columns, strict=True, unseen=self.unseen)
        data: Dataset = table_set(cells, "X", reading, split=np.zeros(len(cells[0]), np.uint8))
        if reset:
            self.columns_ = data.columns
            self._headings = [*getattr(X, "columns", self._column_names())]
            named = zip(map(str, self._headings), getattr(X, "dtypes", ()), strict=False)
            kept = {column.name for column in self.columns_ if column.dtype == "category"}
            self._labels = {name: dtype.categories.tolist() for name, dtype in named if name in kept}
            _warn(data.notes)
        elif self._says_unseen:
            _warn(note for note in data.notes if "no known category" in note)
        return np.asarray(data.x, np.float64)

    def _like_input(self, x: Numbers) -> Any:
        """Rows (n, d) in the container, columns, types and categories of the input trained on."""
        if not self._is_table:
            return x
        if self._frame == "pandas":
            frame = to_frame(self.columns_, x)
            headings = {str(heading): heading for heading in self._headings}
            for name, labels in self._labels.items():
                frame[name] = frame[name].cat.rename_categories(labels)
            frame.columns = [headings[name] for name in frame.columns]
            return frame
        if self._frame == "polars":
            return to_frame(self.columns_, x, "polars")
        cells = decode_cells(self.columns_, x)
        return np.stack([values.astype(np.float64) for values in cells.values()], 1)

    def _kinds_of(self, cells: Sequence[Cells]) -> dict[str, Declared]:
        """Kinds of columns that are not to be inferred: those of numbers are real, unless said otherwise."""
        if self.kinds == "infer":
            return {}
        numbers = [each for each in cells if each.codes is None and each.dates is None]
        real = {each.name: Declared("real") for each in numbers if not each.missing.all()}
        return {**real, **self._declared()}

    def _declared(self) -> dict[str, Declared]:
        """What the user says of columns."""
        return {} if self.kinds == "infer" else declared_kinds(self.kinds)

    def _column_names(self) -> tuple[str, ...]:
        """Names of the input's columns: x0, x1, … if it had none."""
        return tuple(map(str, _check_feature_names_in(self)))

    def _part_names(self) -> tuple[str, ...]:
        """Names of the columns that are modelled."""
        return tuple(column.name for column in self.columns_) or self._column_names()


def checked_codes(z: Any) -> Numbers:
    """Codes (n, d) as finite float64."""
    codes: Numbers = check_array(z, dtype=np.float64)
    return codes


def library_of(X: Any) -> str:
    """The library that a data frame belongs to; empty if the input is none."""
    library = type(X).__module__.partition(".")[0]
    return library if library in ("pandas", "polars") and hasattr(X, "columns") else ""


def _warn(notes: Any) -> None:
    for note in notes:
        if note.startswith("warning: ") or "it is not modelled" in note:
            warnings.warn(note.removeprefix("warning: "), RunWarning, stacklevel=4)
