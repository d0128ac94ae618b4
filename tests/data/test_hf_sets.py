"""Data sets of Hugging Face as data: images, arrays and tables, with their splits and classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import elboroom
from elboroom import load_data
from elboroom.data import memory
from elboroom.data.dataset import TEST, TRAIN, VALIDATION
from elboroom.errors import UsageError

datasets = pytest.importorskip("datasets", reason="data sets of Hugging Face need datasets")
pytestmark = pytest.mark.filterwarnings("default")

N = 300  # more than one part
PIXELS = np.random.default_rng(0).integers(0, 256, (N, 6, 5), dtype=np.uint8)
CLASSES = ["ant", "bee", "cow"]


def _images(n: int = N, **more: Any) -> Any:
    columns: dict[str, Any] = {
        "image": [Image.fromarray(each) for each in PIXELS[:n]],
        "label": [i % 3 for i in range(n)],
        "caption": ["text"] * n,
    }
    features = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=CLASSES),
        "caption": datasets.Value("string"),
    }
    return datasets.Dataset.from_dict(columns | more, features=datasets.Features(features))


def test_images_and_classes() -> None:
    data = load_data(_images())
    assert np.array_equal(data.x[..., 0], PIXELS)
    assert data.label_names == tuple(CLASSES)
    assert data.labels is not None
    assert data.labels[:4].tolist() == [0, 1, 2, 0]
    assert not data.published_split
    assert "columns that are not read: caption" in data.notes
    assert load_data(_images(), size=4, channels=3).shape == (4, 4, 3)


def test_views_are_followed() -> None:
    chosen = _images().select([7, 3, 299, 3])
    assert np.array_equal(load_data(chosen).x[..., 0], PIXELS[[7, 3, 299, 3]])
    shuffled = _images().shuffle(seed=0)
    assert np.array_equal(load_data(shuffled).x[0, ..., 0], np.asarray(shuffled[0]["image"]))
    formatted = _images().with_format("torch")
    assert np.array_equal(load_data(formatted).x[..., 0], PIXELS)


def test_splits() -> None:
    whole = _images()
    parts = datasets.DatasetDict(
        {
            "test": whole.select(range(200, 300)),
            "train": whole.select(range(150)),
            "validation": whole.select(range(150, 200)),
        }
    )
    data = load_data(parts)
    assert data.published_split
    assert [len(data.indices(part)) for part in ("train", "test", "validation")] == [150, 100, 50]
    assert np.array_equal(data.x[data.split == TEST][..., 0], PIXELS[200:])
    assert np.array_equal(data.x[data.split == TRAIN][..., 0], PIXELS[:150])
    assert np.array_equal(data.x[data.split == VALIDATION][..., 0], PIXELS[150:200])
    more = datasets.DatasetDict({"train": whole.select(range(100)), "extra": whole})
    alone = load_data(more)
    assert len(alone) == 100
    assert not alone.published_split
    assert any("splits that are not read: extra" in note for note in alone.notes)


def test_another_column_holds_the_labels() -> None:
    source = _images().rename_column("label", "fine").add_column("coarse", ["x", "y"] * 150)
    assert load_data(source).label_names == tuple(CLASSES)  # the only one of classes
    assert load_data(source, label_column="coarse").label_names == ("x", "y")
    with pytest.raises(
        UsageError, match="label_column = 'corse': dataset has no such column; did you mean 'coarse'"
    ):
        load_data(source, label_column="corse")


def test_images_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    source = _images(
        4, image=[{"bytes": b"no image", "path": None}, *(Image.fromarray(p) for p in PIXELS[1:3]), None]
    )
    data = load_data(source)
    assert np.array_equal(data.x[..., 0], PIXELS[1:3])
    assert data.rows is not None
    assert data.rows.tolist() == [1, 2]
    assert data.labels is not None
    assert data.labels.tolist() == [1, 2]
    assert [one.path for one in data.skipped] == ["dataset:0", "dataset:3"]
    with pytest.raises(UsageError):
        load_data(source, strict=True)
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS[0]).save(path)
    named = datasets.Dataset.from_dict({"image": [str(path)] * 3}).cast_column("image", datasets.Image())
    assert np.array_equal(load_data(named).x[2, ..., 0], PIXELS[0])


@pytest.mark.parametrize(
    ("feature", "value"),
    [
        (lambda: datasets.Array2D((6, 5), "uint8"), PIXELS),
        (lambda: datasets.Array3D((2, 5, 3), "float32"), PIXELS.reshape(N, 2, 5, 3).astype(np.float32)),
        (
            lambda: datasets.List(datasets.Value("float32"), length=30),
            PIXELS.reshape(N, 30).astype(np.float32),
        ),
        (lambda: datasets.List(datasets.Value("int64")), PIXELS.reshape(N, 30).astype(np.int64)),
    ],
)
def test_arrays(feature: Any, value: Any) -> None:
    features = datasets.Features({"a": feature(), "y": datasets.ClassLabel(names=CLASSES)})
    source = datasets.Dataset.from_dict({"a": value, "y": [i % 3 for i in range(N)]}, features=features)
    data = load_data(source.select(range(1, N)))
    expected = value[1:] if value.ndim != 3 else value[1:, ..., None]
    assert np.array_equal(data.x, expected.astype(data.x.dtype))
    assert data.label_names == tuple(CLASSES)


def test_tables_have_columns_of_their_kinds() -> None:
    source = datasets.Dataset.from_dict(
        {
            "age": [float(i % 50) if i % 7 else None for i in range(N)],
            "job": ["cook", "nurse", "pilot"] * 100,
            "smokes": [True, False] * 150,
            "kind": [i % 3 for i in range(N)],
        },
        features=datasets.Features(
            {
                "age": datasets.Value("float64"),
                "job": datasets.Value("string"),
                "smokes": datasets.Value("bool"),
                "kind": datasets.ClassLabel(names=CLASSES),
            }
        ),
    )
    data = load_data(source)
    kinds = {column.name: column.kind for column in data.columns}
    assert kinds["job"] == kinds["kind"] == "category"
    assert kinds["smokes"] == "boolean"
    assert {column.name: column.categories for column in data.columns}["kind"] == tuple(CLASSES)
    assert int(np.isnan(data.x).sum()) == sum(i % 7 == 0 for i in range(N))
    labelled = load_data(source, label_column="kind")
    assert labelled.label_names == tuple(CLASSES)
    assert "kind" not in [column.name for column in labelled.columns]
    vae = elboroom.VAE.build(
        columns=data.columns, shape=data.shape, latent_dim=2, hidden=[4], likelihood="mixed"
    )
    assert len(elboroom.fit(vae, source, epochs=1, quiet=True)) == 1


def test_mistakes_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    of = datasets.Dataset.from_dict
    for source, said in (
        (of({}), "has no rows"),
        (datasets.DatasetDict({}), "has no splits"),
        (of({"a": [[1, 2], [3]]}), "arrays of 1 to 2 entries"),
        (of({"a": [[1, 2], None]}), "1 missing arrays"),
        (of({"a": [[1, 2], [3, None]]}), "1 missing numbers"),
        (of({"a": [["x"], ["y"]]}), "no column of images, arrays, numbers or text"),
        (of({"a": [[1, 2]] * 4, "b": [[1, 2]] * 4}), "columns a, b hold arrays; keep one"),
        (of({"a": [[1.0, 2.0]] * 4, "label": [1, None, 2, 2]}), "has 1 empty cell of 4"),
        (of({"a": [1]}).to_iterable_dataset(), "cannot be read more than once"),
        (datasets.DatasetDict({"train": of({"a": [1]}), "test": of({"b": [1]})}), "have different features"),
        (_images(4, label=[0, 1, -1, 2]), "has 1 empty cell of 4"),
    ):
        with pytest.raises(UsageError, match=said):
            load_data(source)
    with pytest.raises(UsageError, match="layer = 'x' is for AnnData"):
        load_data(_images(4), layer="x")
    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    with pytest.raises(UsageError, match="300 images are kept in memory"):
        load_data(_images())
    with pytest.raises(UsageError, match="300 arrays are kept in memory"):
        load_data(of({"a": PIXELS.reshape(N, 30)}))
