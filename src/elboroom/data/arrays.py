"""Arrays in memory, ``.npy`` and ``.npz`` files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elboroom.config.shapes import channels_are_last
from elboroom.data.dataset import Array, Dataset, Skipped, draw_split
from elboroom.data.labels import whole_labels
from elboroom.data.members import weigh
from elboroom.data.memory import convert
from elboroom.data.precision import rounding_of
from elboroom.data.rows import Joined, chunks, extent
from elboroom.errors import UsageError, counted, shortened

_NARROWEST = 8  # pixels of a grey image that is not taken for a time series
_PICKLE = "arrays of Python objects, which are never unpickled; save plain numbers or strings"


def from_array(
    x: Array,
    name: str,
    *,
    labels: Array | None = None,
    label_names: tuple[str, ...] = (),
    split: Array | None = None,
    skipped: tuple[Skipped, ...] = (),
    origin: str = "",
    series: bool | None = None,
    **known: Any,
) -> Dataset:
    """Make a data set of an array, choosing its scale by its type.

    Parameters
    ----------
    x : numpy.ndarray or Joined
        ``(n, h, w)`` or ``(n, h, w, c)`` images, ``(n, t, d)`` time series or ``(n, d)`` rows. uint8 has
        scale 255, or 1 if all values are 0 or 1; so have other whole numbers of images, which must lie in
        0..255. Whole numbers in rows are taken as measurements: float32, scale 1. Floats keep their values,
        scale 1.
    name : str
        What the data set is called.
    labels : numpy.ndarray, optional
        ``(n,)`` whole numbers or strings; strings are numbered in sorted order.
    label_names : tuple of str
        Names of labels 0, 1, …, if the labels are numbers.
    split : numpy.ndarray, optional
        ``(n,)``: 0 train, 1 test, 2 validation; drawn with a fixed seed if missing.
    skipped, origin, **known
        As in `Dataset`.
    series : bool, optional
        Whether floats with three axes are time series; if not given, :func:`is_series` judges.

    Raises
    ------
    UsageError
        If the array cannot be used; see `Dataset`.

    Examples
    --------
    >>> data = from_array(np.full((10, 2, 3), 51, dtype=np.uint8), "flat")
    >>> data.shape, data.scale, float(data.values(np.array([0])).max())
    ((2, 3, 1), 255.0, 0.2...)
    """
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise UsageError(f"{name}: the array has masked values; fill them, or leave their rows out")
    if not isinstance(x, Joined | np.memmap):
        x = np.asarray(x)
    if x.dtype.hasobject:
        raise UsageError(f"{name}: contains {_PICKLE}")
    if x.dtype.kind not in "biuf":
        raise UsageError(
            f"{name}: the array contains {shortened(str(x.dtype))}; it must contain plain numbers"
        )
    if x.ndim < 2:
        what = (
            f"contains one number ({x.dtype})"
            if x.ndim == 0
            else f"contains {counted(len(x), 'number')} in a row"
        )
        raise UsageError(f"{name}: {what}; give an array of examples, (n, d) or (n, h, w, c)")
    if x.ndim == 3 and not (is_series(x) if series is None else series):
        x = x[..., None]
    if x.ndim == 4:
        check_channels(x.shape[1:], name)
    scale = 1.0
    if 0 not in x.shape and np.issubdtype(x.dtype, np.integer):
        if x.ndim == 2 and x.dtype != np.uint8:
            x = _whole_numbers_as_float(x, name)
        else:
            # The first chunk settles it nearly always, so that a large map is not read to its end.
            scale = 255.0 if any(part.max() > 1 for part in chunks(x)) else 1.0
    if x.ndim == 2 and x.dtype == np.float64 and 0 not in x.shape:
        known["notes"] = (*known.get("notes", ()), *rounding_of(x, name))
    if labels is not None:
        labels, label_names = encode_labels(labels, label_names, name)
    drawn = draw_split(len(x)) if split is None else split
    return Dataset(name, x, drawn, labels, label_names, scale, split is not None, skipped, origin, **known)


def is_series(x: Array) -> bool:
    """Whether an array with three axes is taken for time series (n, t, d), not for grey images (n, h, w).

    It is if it holds floats and its last axis is shorter than 8: no picture is so narrow. Wider series
    can be saved as ``x`` in a .npz.

    Examples
    --------
    >>> is_series(np.zeros((5, 100, 3))), is_series(np.zeros((5, 28, 28)))
    (True, False)
    """
    return x.ndim == 3 and x.dtype.kind == "f" and 0 < x.shape[2] < _NARROWEST


def _whole_numbers_as_float(x: Array, name: str) -> Array:
    exact = 1 << 24  # beyond this, float32 skips whole numbers
    low, high = extent(x)
    if low < -exact or high > exact:
        raise UsageError(
            f"{name}: {x.dtype} values run from {low} to {high}; float32 holds whole numbers up to "
            f"{exact:,} exactly, so scale them first"
        )
    return convert(x, np.float32, name)


def check_channels(shape: Sequence[int], name: str) -> None:
    """Check that the last axis of images is a plausible number of channels.

    Raises
    ------
    UsageError
        If its channels come first, or there are as many as rows or columns.
    """
    if channels_are_last(shape):
        return
    first, *others, last = shape
    if first < min(*others, last):
        raise UsageError(
            f"{name}: images of shape {tuple(shape)} have their {first} channels first, and the last "
            "axis must be the channels; move them with numpy.moveaxis(x, 1, -1)"
        )
    raise UsageError(
        f"{name}: images of shape {tuple(shape)} have {last} channels; the last axis must be 1 (grey), 2 "
        "(grey and alpha), 3 (colour), 4 (colour and alpha), or more bands, but fewer than rows and columns"
    )


def encode_labels(labels: Array, names: tuple[str, ...], name: str) -> tuple[Array, tuple[str, ...]]:
    """Encode string labels as numbers in sorted order; return whole numbers unchanged.

    Returns
    -------
    labels : numpy.ndarray
        int64 ``(n,)``.
    names : tuple of str
        Their names; `names` itself if the labels were numbers.

    Raises
    ------
    UsageError
        If the labels are neither whole numbers nor strings.

    Examples
    --------
    >>> labels, names = encode_labels(np.array(["dog", "cat", "dog"]), (), "pets")
    >>> labels.tolist(), names
    ([1, 0, 1], ('cat', 'dog'))
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise UsageError(f"{name}: the labels have shape {labels.shape}; it must be (n,), one per example")
    if labels.dtype.kind in "SU":
        words, numbers = np.unique(_as_text(labels), return_inverse=True)
        return numbers.reshape(labels.shape).astype(np.int64), tuple(words.tolist())
    return whole_labels(labels, name), names


def _as_text(words: Array) -> Array:
    return np.char.decode(words, "utf-8", "replace") if words.dtype.kind == "S" else words


def load_npy(path: Path) -> Dataset:
    """Load one array from a ``.npy`` file, memory-mapped; see `from_array`.

    Raises
    ------
    UsageError
        If the file is damaged, holds Python objects, or its array cannot be used.
    """
    return from_array(map_npy(path), path.name)


def example_npy(folder: Path) -> Path:
    """Write a small ``.npy`` file into a folder."""
    path = folder / "rows.npy"
    np.save(path, np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3))
    return path


def map_npy(path: Path) -> Array:
    """Map the array of a ``.npy`` file into memory, to be read only.

    Raises
    ------
    UsageError
        If the file is damaged or holds Python objects.
    """
    _check_magic(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about impossible shapes, which are refused
            return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:
        raise UsageError(f"{path}: {_reason(error)}") from error


def map_numbers(path: Path, option: str) -> Array:
    """Map the numbers of a ``.npy`` file that an option names into memory.

    Raises
    ------
    UsageError
        If it cannot be read or holds anything but numbers; the message names the option.
    """
    try:
        values = map_npy(path)
    except (OSError, UsageError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).removeprefix(f"{path}: ")
        raise UsageError(f"{option} {path}: cannot be read as numbers ({reason})") from None
    if values.dtype.kind not in "biuf":
        raise UsageError(
            f"{option} {path}: contains {shortened(str(values.dtype))}; it must contain plain numbers"
        )
    return values


def load_npz(path: Path) -> Dataset:
    """Load a ``.npz`` file.

    It holds ``images`` ``(n, h, w)`` or ``(n, h, w, c)``, or ``x``: rows ``(n, d)`` or time series
    ``(n, t, d)``; and perhaps ``labels``,
    ``label_names`` and ``split`` (0 train, 1 test, 2 validation). Other entries are not read.

    Raises
    ------
    UsageError
        If the file is damaged, holds Python objects, or has neither or both of ``images`` and ``x``.
    """
    _check_magic(path)
    with path.open("rb") as file:  # opened here, because numpy leaves a damaged archive open
        try:
            archive = np.load(file, allow_pickle=False)
        except Exception as error:
            raise UsageError(f"{path}: {_reason(error)}") from error
        keys = list(archive.files)
        held = [key for key in ("images", "x") if key in keys]
        if len(held) != 1:
            raise UsageError(
                f"{path}: contains {'both' if held else 'neither'} 'images' {'and' if held else 'nor'} 'x' "
                f"(found: {', '.join(keys) or 'nothing'}); it must contain one of them"
            )
        wanted = (held[0], "labels", "label_names", "split")
        weigh(archive.zip, wanted, path)
        parts = {key: _entry(archive, key, path) for key in wanted if key in keys}
    others = [key for key in keys if key not in wanted]
    x = parts[held[0]]
    if held[0] == "images" and x.ndim not in (3, 4):
        raise UsageError(f"{path}: 'images' has shape {x.shape}; it must be (n, h, w) or (n, h, w, c)")
    names = parts.get("label_names", np.array([], dtype=str))
    return from_array(
        x,
        path.name,
        labels=parts.get("labels"),
        label_names=tuple(str(word) for word in _as_text(np.atleast_1d(names)).tolist()),
        split=parts.get("split"),
        series=held[0] == "x" and x.dtype.kind == "f",
        notes=(f"entries that are not read: {', '.join(map(shortened, others[:8]))}",) if others else (),
    )


def example_npz(folder: Path) -> Path:
    """Write a small ``.npz`` file into a folder."""
    path = folder / "images.npz"
    images = np.arange(4 * 9, dtype=np.uint8).reshape(4, 3, 3)
    np.savez(path, images=images, labels=np.array([0, 1, 1, 0]), label_names=np.array(["cat", "dog"]))
    return path


def _check_magic(path: Path) -> None:
    """Refuse a file whose first bytes do not match its suffix."""
    with path.open("rb") as file:
        start = file.read(6)
    is_a = ".npz" if start.startswith(b"PK") else ".npy" if start == b"\x93NUMPY" else ""
    if is_a and is_a != path.suffix.lower():
        raise UsageError(f"{path}: is a {is_a} file; rename it to end in {is_a}")
    if not is_a:
        found = f"starts with {start!r}" if start else "is empty"
        raise UsageError(
            f"{path}: is not a {path.suffix} file ({found}); write it with numpy.save or numpy.savez"
        )


def _entry(archive: Any, key: str, path: Path) -> Array:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about impossible shapes, which are refused
            found = archive[key]
    except Exception as error:
        raise UsageError(f"{path}: entry {key!r}: {_reason(error)}") from error
    if not isinstance(found, np.ndarray):  # numpy gives the bytes of a member that is no array
        raise UsageError(f"{path}: entry {key!r} is not an array; write the file with numpy.savez")
    return found


def _reason(error: Exception) -> str:
    """Explain a failed read; numpy raises nearly any exception on damaged bytes."""
    text = str(error).splitlines()[0][:100] if str(error) else type(error).__name__
    if "allow_pickle" in text or "Python objects" in text:
        return f"contains {_PICKLE}"
    if isinstance(error, MemoryError):
        return f"does not fit into memory ({text}); save fewer examples or a smaller type"
    return f"is damaged ({text}); write or copy it again"
