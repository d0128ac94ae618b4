"""Paths and names are printed as they are: no markup, no emoji, no control characters."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elboroom.cli.main import main
from elboroom.comparison import progress as comparison_progress
from elboroom.training import progress
from elboroom.training.terminal import PlainConsole

NAMES = ["[test]", "[/x]", "[bold red]", ":dog:", "a\x1b[31mb\x07", "a\rb", "\\[x]"]
SMALL = ["--hidden", "4", "--epochs", "1", "--figures-every", "0"]


def escaped(name: str) -> str:
    return name.encode("unicode_escape").decode() if "\\" not in name else name


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elboroom.cli.training_run.draw_all", lambda *_args, **_options: [])


@pytest.mark.parametrize("name", ["[test]", "a\x1b[31m[/x]b\x07"])
def test_a_run_of_any_name_is_named_as_it_is(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    undrawn: None,
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Path("runs") / name
    shown = escaped(str(run))
    np.save("x.npy", np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1), dtype=np.uint8))
    assert main(["train", "x.npy", "--out", str(run), *SMALL]) == 0
    printed = capsys.readouterr()
    assert f"elboroom evaluate {shown}" in printed.err
    assert main(["evaluate", str(run), "--num-samples", "2"]) == 0
    assert main(["train", "x.npy", "--out", str(run), *SMALL]) == 2
    printed_all = printed.out + printed.err + "".join(capsys.readouterr())
    assert shown in printed_all
    assert not [char for char in printed_all if not char.isprintable() and char != "\n"]


def test_a_missing_path_with_a_closing_tag_is_an_error_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["data", "show", "no/[/x]/\x1b[2J"]) == 2
    printed = capsys.readouterr().err
    assert "no/[/x]/\\x1b[2J" in printed
    assert printed.count("\n") == 1


def test_folders_of_any_name_are_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for label in ("[red]cat", "do\x1b[31mg"):
        Path("pets", label).mkdir(parents=True)
        for i in range(20):
            Image.new("L", (4, 4), 5 * i).save(Path("pets", label, f"{i} [copy].png"))
        Path("pets", label, "bad [bold].png").write_bytes(b"no image")
    assert main(["data", "show", "pets"]) == 0
    assert main(["train", "pets", "--out", "run", "--condition", "labels", *SMALL]) == 0
    assert main(["report", "run"]) == 0
    printed = "".join(capsys.readouterr())
    for shown in ("[red]cat", "do\\x1b[31mg", "bad [bold].png"):
        assert shown in printed
    assert not [char for char in printed if not char.isprintable() and char != "\n"]


@pytest.mark.parametrize("name", NAMES)
def test_a_terminal_shows_names_in_bars_and_lines_as_they_are(name: str) -> None:
    screen = io.StringIO()
    console = PlainConsole(file=screen, force_terminal=True, width=100, color_system=None)
    console.print(name)
    assert screen.getvalue().rstrip("\n") == (escaped(name))


def test_every_console_is_a_plain_one() -> None:
    sources = [
        path for path in Path(progress.__file__).parents[1].rglob("*.py") if path.name != "terminal.py"
    ]
    for path in sources:
        text = path.read_text(encoding="utf-8")
        assert " Console(" not in text, path
        for line in text.splitlines():
            assert "TextColumn(" not in line or "markup=False" in line or 'TextColumn("photos")' in line, path
    assert comparison_progress.PlainConsole is progress.PlainConsole is PlainConsole
