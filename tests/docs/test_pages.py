"""Every block of code in the documentation runs, in order and in one folder a page, or says why not."""

from __future__ import annotations

import importlib.util
import tarfile
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from .shown import ROOT, Block, blocks, run

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "tutorials").glob("*.md")),
]


def _file(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _photos() -> None:
    """Photos of drawn people, whose faces OpenCV finds, and of drawn dogs."""
    people, animals = _file("tests/faces/drawn.py"), _file("docs/drawn_animals.py")
    rng = np.random.default_rng(0)
    for folder in ("people", "dogs"):
        Path("photos", folder).mkdir(parents=True)
    for i in range(12):
        side = int(rng.integers(150, 180))
        face = people.crowd((260, 240), (side, int(rng.integers(10, 70)), int(rng.integers(10, 50))))
        face.save(f"photos/people/{i}.png")
        Image.fromarray(animals.dog(rng)[..., 0]).resize((96, 96)).convert("RGB").save(f"photos/dogs/{i}.png")
    for name in ("friend", "ann", "bob"):
        people.crowd((260, 240), (170 + len(name), 40, 30)).save(f"{name}.jpg")


def _shards() -> None:
    Path("shards").mkdir()
    for split, count in (("train", 2), ("test", 1)):
        for number in range(count):
            with tarfile.open(f"shards/{split}-{number:03}.tar", "w") as tar:
                for i in range(30):
                    stored = BytesIO()
                    image = np.random.default_rng(1000 * number + i).integers(0, 256, (16, 16, 3), np.uint8)
                    Image.fromarray(image).save(stored, "png")
                    member = tarfile.TarInfo(f"{split}{number}-{i:04}.png")
                    member.size = stored.tell()
                    stored.seek(0)
                    tar.addfile(member, stored)


def _table() -> None:
    rows = np.random.default_rng(0).normal((40, 50_000), (10, 9_000), (60, 2))
    np.savetxt("table.csv", rows, delimiter=",", header="age,income", comments="")


def _people(*names: str) -> None:
    """Tables of words, numbers and empty cells."""
    rng = np.random.default_rng(0)
    for name in names:
        rows = [
            (f"{age:.1f}", "cook" if age < 40 else "nurse", str(kids))
            for age, kids in zip(rng.normal(40, 10, 60), rng.integers(0, 4, 60), strict=True)
        ]
        holed = [",".join("" if rng.random() < 0.1 else cell for cell in row) for row in rows]
        Path(name).write_text("\n".join(["age,job,kids", *holed]) + "\n", encoding="utf-8")


def _readme() -> None:
    _photos()
    _shards()
    _people("table.csv")
    digit = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(digit).save("mine.png")


def _faces() -> None:
    _photos()
    drawn = _file("tests/faces/drawn.py")
    drawn.write_landmarks(Path(), {f"{i}.png": drawn.turned(0, 0.8, (48, 48)) for i in range(12)}, "dogs.csv")


BEFORE: dict[str, Callable[[], None]] = {
    "README": _readme,
    "faces": _faces,
    "data-larger-than-memory": _shards,
    "missing": partial(_people, "people.csv", "new.csv"),
    "units": _table,
    "people-and-dogs": _photos,
}
"""What a page takes as given."""

SMALL = {
    "README": {
        "mnist-5k": "digits",
        " mnist": " digits",
        "/mnist": "/digits",
        "--devices 2": "--devices 1",
        "{000..099}": "{000..001}",
        "epochs=20": "epochs=1",
        "latent_dim=2, hidden": "scale=data.scale, latent_dim=2, hidden",
        "1000)": "20)",
        "--epochs 40": "--epochs 2",
        "--mark friend.jpg": "--mark friend.jpg --only latent",
        "--refine 100": "--refine 2",
        "--seeds 3": "--seeds 2",
        "reproduce iwae-l1 --fast --rows vae-1": "reproduce",
    },
    "compare": {"--recipes vae,beta-vae,iwae,beta-tcvae,vamp,ae --seeds 3": "--recipes vae,ae --seeds 2"},
    "recipes": {" mnist-5k": " digits"},
    "story": {" mnist": " digits"},
    "measures": {"--epochs 20": "--epochs 2", "3000": "300"},
    "anomalies": {"--heatmaps heatmaps": "--heatmaps heatmaps --steps 2"},
    "conditions": {"--only manifold analogies": "--only analogies"},
    "data-larger-than-memory": {"1_600_000": "200", "{000..009}": "{000..001}"},
    "sklearn": {
        "epochs=50": "epochs=3",
        "epochs=20": "epochs=3",
        "n_components=2, random_state": "n_components=2, epochs=10, random_state",
        "false_alarm_rate=0.05": "false_alarm_rate=0.05, epochs=10",
    },
    "tables": {"evaluate runs/people": "evaluate runs/people --num-samples 50", "--n 1000": "--n 100"},
    "scaling": {
        "runs/big --devices 3": "runs/digits --devices 1 --epochs 2",
        " mnist": " digits",
        "--devices 2": "--devices 1",
    },
}
"""Shorter or smaller words for what a page says. Each has to be found there."""


@pytest.fixture
def quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own; no figures at the end of a training, and few seconds in all."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELBOROOM_MIRROR", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr("elboroom.cli.training_run.draw_all", lambda *_, **__: [])


def _is_run(page: Path) -> bool:
    return any(not _is_directive(block) for block in blocks(page.read_text(encoding="utf-8")))


def _is_directive(block: Block) -> bool:
    """Whether a block is Sphinx's; code cells are run whenever the site is built."""
    return block.language.startswith("{")


@pytest.mark.parametrize(
    "page", [page for page in PAGES if _is_run(page)], ids=lambda page: str(page.relative_to(ROOT))
)
@pytest.mark.usefixtures("quickly")
def test_blocks_of_a_page_run(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    short = SMALL.get(page.stem, {}) if page.parent.name != "examples" else {}
    if page.stem != "README" or page.parent == ROOT:
        for long in short:
            assert long in text, f"{long!r} is no longer in {page.name}"
        BEFORE.get(page.stem, lambda: None)()
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks(text):
        if not _is_directive(block) and not block.reason:
            run(block, names, page.name, short)
