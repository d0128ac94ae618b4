"""AnnData as data: objects, backed objects and .h5ad files give the matrix that scipy and numpy give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import elboroom
from elboroom import VAE, Run, load_data
from elboroom.cli.main import main
from elboroom.data import memory
from elboroom.data.ecosystem import anndata_sets
from elboroom.errors import UsageError

anndata = pytest.importorskip("anndata", reason="AnnData as data needs anndata")
pandas = pytest.importorskip("pandas")
pytestmark = pytest.mark.filterwarnings("default")

N, D = 40, 7
COUNTS = np.random.default_rng(0).poisson(0.7, (N, D))


def _cells(matrix: Any, **layers: Any) -> Any:
    obs = pandas.DataFrame(
        {
            "cell_type": pandas.Categorical(["T", "B", "NK", "B"] * 10, categories=["T", "NK", "B", "never"]),
            "batch": [0, 1] * 20,
            "score": np.linspace(0, 1, N),
            "doublet": [True, False] * 20,
        },
        index=[f"cell-{i}" for i in range(N)],
    )
    return anndata.AnnData(matrix, obs=obs, layers=layers)


KINDS = {
    "dense": np.asarray,
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
    "csr array": sparse.csr_array,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["object", "file", "backed", "view"])
def test_the_matrix_is_what_it_was(
    kind: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anndata_sets, "_ROWS_BYTES", 8 * D * 6)  # seven parts, the last of four rows
    cells = _cells(KINDS[kind](COUNTS.astype(np.float32)), log=KINDS[kind](np.log1p(COUNTS)))
    expected, rows = COUNTS, list(range(N))
    source: Any = cells
    if way == "view":
        rows = list(range(5, 33, 2))
        source = cells[rows]
    elif way != "object":
        cells.write_h5ad(tmp_path / "cells.h5ad")
        source = tmp_path / "cells.h5ad"
        if way == "backed":
            source = anndata.read_h5ad(source, backed="r")
    data = load_data(source)
    assert data.x.dtype == np.float32
    assert np.array_equal(data.x, expected[rows].astype(np.float32))
    assert data.names == tuple(f"cell-{i}" for i in rows)
    assert data.labels is None
    assert data.scale == 1.0
    if way != "backed":
        layer = load_data(source, layer="log")
        assert np.allclose(layer.x, np.log1p(COUNTS)[rows], rtol=1e-6)
        assert any("of layer 'log'" in note for note in layer.notes)


@pytest.mark.parametrize("way", ["object", "file"])
@pytest.mark.parametrize(
    ("column", "names", "first"),
    [
        ("cell_type", ("B", "NK", "T"), [2, 0, 1, 0]),
        ("batch", (), [0, 1, 0, 1]),
        ("doublet", ("False", "True"), [1, 0, 1, 0]),
    ],
)
def test_a_column_of_obs_holds_the_labels(
    way: str, column: str, names: tuple[str, ...], first: list[int], tmp_path: Path
) -> None:
    source: Any = _cells(sparse.csr_matrix(COUNTS))
    if way == "file":
        source.write_h5ad(tmp_path / "cells.h5ad")
        source = str(tmp_path / "cells.h5ad")
    data = load_data(source, label_column=column)
    assert data.label_names == names
    assert data.labels is not None
    assert data.labels[:4].tolist() == first


def test_a_column_named_label_is_found() -> None:
    cells = _cells(COUNTS.astype(np.float32))
    cells.obs["label"] = ["x", "y"] * 20
    assert load_data(cells).label_names == ("x", "y")


def test_mistakes_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = _cells(COUNTS.astype(np.float32), counts=COUNTS)
    path = tmp_path / "cells.h5ad"
    cells.write_h5ad(path)
    for source in (cells, path):
        with pytest.raises(UsageError, match=r"layer = 'count': .* no such layer; did you mean 'counts'"):
            load_data(source, layer="count")
        with pytest.raises(UsageError, match=r"label_column = 'batches': .*did you mean 'batch'"):
            load_data(source, label_column="batches")
        with pytest.raises(UsageError, match="column 'score' of obs contains fractions"):
            load_data(source, label_column="score")
    holes = cells.copy()
    holes.obs["cell_type"] = pandas.Categorical(["T", None] * 20)
    with pytest.raises(UsageError, match="has 20 empty cells of 40"):
        load_data(holes, label_column="cell_type")
    bad = COUNTS.astype(np.float32)
    bad[3, 2] = np.nan
    with pytest.raises(UsageError, match="nan"):
        load_data(_cells(bad))
    with pytest.raises(UsageError, match="has no X; name a layer"):
        load_data(anndata.AnnData(obs=cells.obs, var=cells.var, layers={"a": COUNTS}))
    with pytest.raises(UsageError, match="which float32 rounds"):
        load_data(_cells(COUNTS * 100_000_000))
    with pytest.raises(UsageError, match="there must be rows and columns"):
        load_data(cells[:0])
    with pytest.raises(UsageError, match="layer = 'log' is for AnnData, and a ndarray is something else"):
        load_data(COUNTS, layer="log")
    with pytest.raises(UsageError, match="label_column = 'x' is for AnnData and data sets of Hugging Face"):
        load_data("digits", label_column="x")
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    for source in (cells, path):
        with pytest.raises(UsageError, match="40 rows of 7 variables are kept in memory"):
            load_data(source)


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "cells.h5ad"
    _cells(sparse.csr_matrix(COUNTS)).write_h5ad(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    messages = []
    for trial in range(60):
        content = bytearray(whole)
        if trial % 3 == 0:
            content = content[: int(rng.integers(0, len(whole)))]
        else:
            for place in rng.integers(0, len(whole), 200):
                content[place] ^= int(rng.integers(1, 256))
        path.write_bytes(bytes(content))
        try:
            load_data(path)
        except UsageError as error:
            messages.append(str(error))
    assert len(messages) > 30
    assert not any("\n" in message for message in messages)
    import h5py

    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(UsageError, match="is an HDF5 file without obs and var"):
        load_data(path)


def test_a_file_is_trained_with_the_batch_as_condition(tmp_path: Path) -> None:
    path, run = tmp_path / "cells.h5ad", tmp_path / "run"
    _cells(sparse.csr_matrix(COUNTS), log=np.log1p(COUNTS)).write_h5ad(path)
    assert main([
        *("train", str(path), "--layer", "log", "--label-column", "batch", "--condition", "labels"),
        *("--likelihood", "gaussian", "--hidden", "4", "--latent-dim", "2", "--epochs", "2", "--quiet"),
        *("--figures-every", "0", "--out", str(run)),
    ]) == 0  # fmt: skip
    assert Run(run).config.model.condition_dim == 2
    assert main(["evaluate", str(run), "--num-samples", "2"]) == 0
    assert main(["resume", str(run), "--epochs", "3", "--quiet"]) == 0
    assert main(["embed", str(run), "--out", str(tmp_path / "z.npz")]) == 0


def test_an_object_is_fitted() -> None:
    vae = VAE.build(shape=(D,), latent_dim=2, hidden=[4], likelihood="poisson")
    cells = _cells(sparse.csr_matrix(COUNTS))
    history = elboroom.fit(vae, cells, epochs=2, quiet=True)
    assert len(history) == 2
    assert vae.encode(load_data(cells).x[:3]).mean.shape == (3, 2)
