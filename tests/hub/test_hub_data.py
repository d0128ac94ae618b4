"""Data sets on a hub: Parquet files of one commit, their hashes, splits, and use without a network."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elboroom import Run, load_data
from elboroom.cli import training_run
from elboroom.cli.main import main
from elboroom.errors import FailureError, UsageError
from elboroom.hub.datasets import read_name

from .fake_hub import FakeHub, running

huggingface_hub = pytest.importorskip("huggingface_hub", reason="data sets on a hub need huggingface_hub")
pyarrow = pytest.importorskip("pyarrow", reason="data sets on a hub are Parquet files, which need pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
pytestmark = pytest.mark.filterwarnings("default")

REPO = "datasets/me/ants"
PIXELS = np.random.default_rng(0).integers(0, 256, (60, 5, 4), dtype=np.uint8)
INFO = (
    b'{"info": {"features": {"image": {"_type": "Image"}, '
    b'"label": {"names": ["ant", "bee", "cow"], "_type": "ClassLabel"}}}}'
)


def _png(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _content(table: Any) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def _images(rows: slice, **more: Any) -> bytes:
    cells = [{"bytes": _png(each), "path": "a.png"} for each in PIXELS[rows]]
    labels = [i % 3 for i in range(60)][rows]
    table = pyarrow.table({"image": more.get("cells", cells), "label": labels})
    return _content(table.replace_schema_metadata({b"huggingface": INFO}))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with running(FakeHub()) as one:
        monkeypatch.setenv("HF_ENDPOINT", one.address)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
        one.commits[REPO] = [
            {
                "data/train-00001-of-00002.parquet": _images(slice(20, 40)),
                "data/train-00000-of-00002.parquet": _images(slice(0, 20)),
                "data/test-small.parquet": _images(slice(40, 60)),
                "README.md": b"# Ants",
                "ants.py": b"raise SystemExit('remote code')",
            }
        ]
        yield one


def _name(hub: FakeHub, folder: str = "", number: int = 0) -> str:
    return f"hf://{REPO}@{hub.identifier(REPO, number)}{folder}"


def test_images_with_splits_and_classes(hub: FakeHub) -> None:
    data = load_data(_name(hub))
    assert np.array_equal(data.x[data.split == 0][..., 0], PIXELS[:40])
    assert np.array_equal(data.x[data.split == 1][..., 0], PIXELS[40:])
    assert data.label_names == ("ant", "bee", "cow")
    assert data.published_split
    assert data.name == "ants"
    assert isinstance(data.x, np.memmap)
    fetched = {path.rpartition("/")[2] for _, path in hub.requests if "resolve" in path}
    assert fetched == {"train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test-small.parquet"}
    assert load_data(_name(hub), size=2).shape == (2, 2, 1)


def test_without_a_network_the_cache_serves(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_data(_name(hub))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert load_data(_name(hub)).fingerprint() == first.fingerprint()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert load_data(_name(hub), size=3).shape == (3, 3, 1)  # decoded anew
    with pytest.raises(FailureError, match="was not listed before, and HF_HUB_OFFLINE is set"):
        load_data(_name(hub, number=7))
    monkeypatch.delenv("HF_HUB_OFFLINE")

    def lost(*_: Any, **__: Any) -> None:
        raise ConnectionError("refused")

    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_tree", lost)  # which tries for half a minute
    with pytest.raises(FailureError, match="the hub does not answer, and it was not listed before"):
        load_data(_name(hub, number=7))


def test_what_is_not_the_commits_content_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    load_data(_name(hub))
    for name in ("test-small.parquet", "train-00000-of-00002.parquet"):
        (path,) = (tmp_path / "hf").rglob(name)
        whole = path.read_bytes()
        path.resolve().write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(UsageError, match=rf"{name} is not what the commit contains; remove "):
            load_data(_name(hub))
        path.resolve().write_bytes(whole)
    assert len(load_data(_name(hub))) == 60


def test_folders_and_tables(hub: FakeHub) -> None:
    table = _content(
        pyarrow.table({"age": [1.5, 2.5, None, 4.0] * 5, "job": ["cook", "nurse", "cook", None] * 5})
    )
    arrays = _content(pyarrow.table({"x": [[1.0, 2.0, 3.0]] * 12}))
    hub.commits[REPO].append({"a/rows.parquet": table, "b/part.parquet": arrays})
    with pytest.raises(UsageError, match="Parquet files in a, b; add one of these"):
        load_data(_name(hub, number=1))
    data = load_data(_name(hub, "/a", 1))
    assert [column.name for column in data.columns] == ["age", "job"]
    assert int(np.isnan(data.x).sum()) == 10
    assert load_data(_name(hub, "/b/", 1)).shape == (3,)
    with pytest.raises(UsageError, match="has no Parquet files"):
        load_data(_name(hub, "/c", 1))


def test_mistakes_are_one_line(hub: FakeHub) -> None:
    for name, said in (
        (f"hf://{REPO}", "name the commit, 40 hexadecimal digits"),
        (f"hf://{REPO}@main", "name the commit"),
        ("hf://me/ants", "a data set on the hub is named hf://datasets/"),
        (f"hf://{REPO}@{'a' * 40}/../x", "is no data set on the hub"),
        (f"hf://datasets/me/none@{'a' * 40}", "there is no such repository"),
        (f"hf://{REPO}@{'a' * 40}", "has no revision"),
    ):
        with pytest.raises(UsageError, match=said):
            load_data(name)
    hub.commits[REPO].append({"data/x.parquet": b"PAR1 no"})
    with pytest.raises(UsageError, match="is not a Parquet file or is damaged"):
        load_data(_name(hub, number=1))
    hub.commits[REPO].append(
        {"a.parquet": _images(slice(0, 9)), "b.parquet": _content(pyarrow.table({"x": [1]}))}
    )
    with pytest.raises(UsageError, match="the files have different columns"):
        load_data(_name(hub, number=2))


def test_a_file_of_this_computer_is_not_read(hub: FakeHub, tmp_path: Path) -> None:
    Image.fromarray(PIXELS[0]).save(tmp_path / "private.png")
    cells = [{"bytes": None, "path": str(tmp_path / "private.png")}] + [
        {"bytes": _png(PIXELS[1]), "path": None}
    ] * 29
    hub.commits[REPO].append({"data/train.parquet": _images(slice(0, 30), cells=cells)})
    data = load_data(_name(hub, number=1))
    assert data.skipped[0].reason == "is not in the data, which only name a file"
    assert len(data) == 29


def test_it_is_trained_and_resumed_from_the_command_line(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_run, "draw_all", lambda *_, **__: [])
    run = tmp_path / "run"
    assert main(["train", _name(hub), "--epochs", "1", "--hidden", "4", "--out", str(run), "--quiet"]) == 0
    assert Run(run).config.data.source == _name(hub)
    assert main(["resume", str(run), "--epochs", "2", "--quiet"]) == 0
    assert main(["data", "show", _name(hub)]) == 0


def test_names() -> None:
    commit = "0123456789" * 4
    found = read_name(f"hf://datasets/mnist@{commit}")
    assert (found.place.repo, found.folder) == ("mnist", "")
    assert str(read_name(f"hf://datasets/a/b@{commit}/c/d/")) == f"hf://datasets/a/b@{commit}/c/d"
