"""The table, the JSON, the picture and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmarks.engine.__main__ import arguments, main, write
from benchmarks.engine.page import BEGIN, END, has_place, write_into
from benchmarks.engine.report import markdown
from PIL import Image

Make = Callable[..., dict[str, Any]]


def test_a_missing_peer_is_named_in_table_and_json(tmp_path: Path, made_result: Make) -> None:
    write(made_result(absent="jax"), tmp_path / "new" / "engine.json", ["cpu"])
    found = json.loads((tmp_path / "new" / "engine.json").read_text(encoding="utf-8"))
    assert found["absent"][0].startswith("JAX, cpu: jax is not installed (784-1000-2 B=32, ")
    text = (tmp_path / "new" / "engine.md").read_text(encoding="utf-8")
    assert found["absent"][0] in text
    assert "| JAX | absent, see above |" in text
    with Image.open(tmp_path / "new" / "engine.png") as picture:
        width, height = picture.size
    assert width > height > 1000  # three rows of three panels


def test_the_table_says_what_was_measured(made_result: Make) -> None:
    text = markdown(made_result())
    assert "Not measured" not in text
    assert "| Pythae | 955 (909–1,000) | 62.9 | 3.00× | 500 |  |  |" in text
    assert "| 784-1000-2 B=400: times jax | ≥ 1.5× | 1.2× | **no** |" in text
    assert "**nll 784-1000-2**, seconds for 1,000 images" in text


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--cases", "mlp,cnov"], "--cases 'mlp,cnov': choose from mlp, conv"),
        (["--programs", "tensorflow"], "--programs 'tensorflow': choose from elboroom"),
        (["--rounds", "0"], "--rounds must be at least 1"),
    ],
)
def test_wrong_arguments(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        arguments(argv)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_quick_shortens_what_is_not_given() -> None:
    quick = arguments(["--quick", "--seconds", "0.05"])
    assert (quick.rounds, quick.seconds) == (2, 0.05)
    assert arguments([]).rounds == 5


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["--device", "cuda"]) == 2
    assert "torch sees no GPU" in capsys.readouterr().err


def test_the_page_gets_the_short_table_between_its_marks(tmp_path: Path, made_result: Make) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    assert has_place(page)
    for _ in range(2):
        write_into(page, made_result(absent="jax"))
    text = page.read_text()
    assert text.startswith(f"before\n\n{BEGIN}\n\n")
    assert text.endswith(f"\n\n{END}\n\nafter\n")
    assert "old" not in text
    assert "| 784-1000-2 B=32, images/s | 2,864 | 3.00 |" in text
    assert not has_place(tmp_path / "no-such.md")


def test_a_page_without_marks_is_refused_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{END}\n{BEGIN}\n")
    with pytest.raises(SystemExit) as stop:
        arguments(["--docs", str(page)])
    assert stop.value.code == 2
    assert "around the table" in capsys.readouterr().err
