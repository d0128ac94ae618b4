"""AnnData in memory and in ``.h5ad`` files: dense or sparse matrices, layers, and annotations of rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from elboroom.data.arrays import encode_labels
from elboroom.data.dataset import Dataset, draw_split
from elboroom.data.ecosystem.asked import Asked, as_words
from elboroom.data.memory import require_memory
from elboroom.data.rows import Array
from elboroom.errors import UsageError, nearest, some

INSTALL = "pip install 'elboroom[anndata]'"
_ROWS_BYTES = 64 << 20  # of dense rows that are read at a time
_EXACT = 1 << 24  # beyond this, float32 skips whole numbers


def from_anndata(source: Any, asked: Asked) -> Dataset:
    """Make a data set of an AnnData object in memory, or backed by a file.

    Parameters
    ----------
    source : anndata.AnnData
        Its ``X``, or the layer asked for, holds the rows; the column ``label`` of ``obs``, or the one asked
        for, the labels; ``obs_names`` their names.
    asked : Asked
        Layer and labels.

    Raises
    ------
    UsageError
        If there is no such layer or column, a label is missing, the values are no numbers, or they do not
        fit into memory.
    """
    matrix = _matrix(source.X, source.layers, asked, "AnnData")
    return _made(matrix, source.obs, len(source.var_names), asked, "AnnData", "an AnnData object")


def load_h5ad(path: Path, asked: Asked) -> Dataset:
    """Read an ``.h5ad`` file: of its matrices only the one that is asked for, a part of its rows at a time.

    Raises
    ------
    UsageError
        If anndata is missing, the file is damaged, or its content cannot be used; see `from_anndata`.
    """
    try:
        import h5py
        from anndata.io import read_elem, sparse_dataset
    except ImportError:
        raise UsageError(f"{path}: .h5ad files need anndata; {INSTALL}") from None
    try:
        with h5py.File(path, "r") as file:
            return _read(file, path, asked, read_elem, sparse_dataset)
    except (UsageError, MemoryError):
        raise
    except Exception as error:  # HDF5 and anndata raise nearly any on damaged bytes
        text = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise UsageError(f"{path}: is not an .h5ad file or is damaged ({text})") from None


def _read(file: Any, path: Path, asked: Asked, read_elem: Any, sparse_dataset: Any) -> Dataset:
    if "obs" not in file or "var" not in file:
        raise UsageError(f"{path}: is an HDF5 file without obs and var; write it with AnnData.write_h5ad")
    layers = {name: _stored(part, sparse_dataset) for name, part in (file.get("layers") or {}).items()}
    main = _stored(file["X"], sparse_dataset) if "X" in file else None
    matrix = _matrix(main, layers, asked, str(path))
    variables = len(read_elem(file["var"]))
    return _made(matrix, read_elem(file["obs"]), variables, asked, path.name, "an .h5ad file")


def example(folder: Path) -> Path:
    """Write a small ``.h5ad`` file into a folder; its first bytes if anndata is missing."""
    path = folder / "cells.h5ad"
    try:
        import anndata
        import pandas
    except ImportError:
        path.write_bytes(b"\x89HDF\r\n\x1a\n" * 8)
    else:
        obs = pandas.DataFrame({"label": ["a", "b", "b", "a"]}, index=["c0", "c1", "c2", "c3"])
        anndata.AnnData(np.arange(12, dtype=np.float32).reshape(4, 3), obs=obs).write_h5ad(path)
    return path


def _stored(part: Any, sparse_dataset: Any) -> Any:
    """A matrix in a file, whose rows are read when they are asked for."""
    return part if hasattr(part, "shape") else sparse_dataset(part)


def _matrix(main: Any, layers: Mapping[str, Any], asked: Asked, where: str) -> Any:
    if asked.layer is None:
        if main is None:
            raise UsageError(
                f"{where}: has no X; name a layer with layer=, of {some(list(layers)) or 'none'}"
            )
        return main
    if asked.layer not in layers:
        known = nearest(asked.layer, layers) if layers else "it has no layers"
        raise UsageError(f"layer = {asked.layer!r}: {where} has no such layer; {known}")
    return layers[asked.layer]


def _made(matrix: Any, obs: Any, variables: int, asked: Asked, name: str, origin: str) -> Dataset:
    columns = [str(column) for column in obs.columns]
    x = _dense(matrix, name)
    if x.shape != (len(obs), variables):
        raise UsageError(
            f"{name}: the matrix has shape {x.shape}, and there are {len(obs)}×{variables} names"
        )
    label = asked.labels_in(columns, f"obs of {name}")
    labels: Array | None = None
    names: tuple[str, ...] = ()
    if label is not None:
        values = obs.iloc[:, columns.index(label)].to_numpy(dtype=object)
        labels, names = encode_labels(as_words(values, f"{name}: column {label!r} of obs"), (), name)
    notes = [f"{x.shape[1]:,} variables" + ("" if asked.layer is None else f" of layer {asked.layer!r}")]
    others = [column for column in columns if column != label]
    if label is not None:
        notes.append(f"labels are column {label!r} of obs")
    if others:
        notes.append(f"columns of obs that are not read: {some(others, 8)}")
    return Dataset(
        name,
        x,
        draw_split(len(x)),
        labels,
        names,
        origin=origin,
        names=tuple(map(str, obs.index)),
        notes=tuple(notes),
    )


def _dense(matrix: Any, name: str) -> Array:
    """Copy a matrix (n, d), dense or sparse, to float32, part by part."""
    if len(matrix.shape) != 2 or 0 in matrix.shape:
        raise UsageError(
            f"{name}: the matrix has shape {tuple(matrix.shape)}; there must be rows and columns"
        )
    n, d = matrix.shape
    require_memory(4 * n * d, f"{name}: {n:,} rows of {d:,} variables are kept in memory", name)
    if _is_by_columns(matrix):
        matrix = (matrix.to_memory() if hasattr(matrix, "to_memory") else matrix).tocsr()
    x = np.empty((n, d), np.float32)
    rows = max(1, _ROWS_BYTES // (8 * d))
    for start in range(0, n, rows):
        part = matrix[start : start + rows]
        part = np.asarray(part.toarray() if hasattr(part, "toarray") else part)
        if part.dtype.kind not in "biuf":
            raise UsageError(f"{name}: the matrix contains {part.dtype}; it must contain plain numbers")
        if part.dtype.kind in "iu" and part.size and np.abs(part.astype(np.float64)).max() > _EXACT:
            raise UsageError(
                f"{name}: contains whole numbers beyond {_EXACT:,}, which float32 rounds; scale them first"
            )
        x[start : start + len(part)] = part
    return x


def _is_by_columns(matrix: Any) -> bool:
    return getattr(matrix, "format", "") in ("csc", "coo") and not isinstance(matrix, np.ndarray)
