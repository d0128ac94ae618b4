"""Generate parts of the documentation from the package: the command line's help and the map of packages."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from draw_packages import draw

import elboroom
from elboroom.cli.help import help_text
from elboroom.cli.main import main
from elboroom.cli.verbs import VERBS
from elboroom.config import Config, preset_names
from elboroom.figures.standard_figures import STANDARD_FIGURES
from elboroom.figures.style import to_png


def write_all(docs: Path) -> None:
    """Write the files that pages include into ``docs/_generated``; unchanged files are not touched."""
    folder = docs / "_generated"
    folder.mkdir(exist_ok=True)
    _write(folder / "packages.png", to_png(draw(docs.parent / "src" / "elboroom")))
    _write(folder / "command-line.part.md", _command_line().encode())
    _write(folder / "figures.part.md", _standard_figures().encode())
    _write(folder / "configuration.part.md", _configuration().encode())
    _explorer_page(folder / "pages" / "explorer-digits.html")


def _command_line() -> str:
    parts = [f"Presets that come with elboroom: {', '.join(f'`{name}`' for name in preset_names())}.\n"]
    for name, verb in VERBS.items():
        text = help_text(verb, f"elboroom {name}", everything=True, width=88)
        parts.append(f"## elboroom {name}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def _standard_figures() -> str:
    """A table of the standard figures."""
    rows = ["| file | shows | drawn |", "|---|---|---|"]
    for figure in STANDARD_FIGURES:
        when = f"needs {figure.needs}" if figure.needs else "on request" if figure.on_demand else "always"
        rows.append(f"| `{figure.name}.png` | {figure.shows} | {when} |")
    return "\n".join(rows)


def _configuration() -> str:
    """A table of fields for each section of the configuration."""
    parts = []
    for name, section in Config.model_fields.items():
        kind: Any = section.annotation
        exported = "elboroom" if kind.__name__ in elboroom.__all__ else "elboroom.config"
        parts.append(
            f"## {name}\n\n```{{eval-rst}}\n.. py:class:: {exported}.{kind.__name__}(**fields)\n```\n"
        )
        parts.append("| field | default | meaning |\n|---|---|---|")
        for field, info in kind.model_fields.items():
            default = info.get_default(call_default_factory=True)
            meaning = " ".join((info.description or "").split()).replace("|", r"\|")
            meaning = re.sub(r"(--[a-z][a-z.-]*[a-z])", r"`\1`", meaning)
            parts.append(f"| `{field}` | `{default!r}` | {meaning} |")
        parts.append("")
    return "\n".join(parts)


def _explorer_page(path: Path) -> None:
    """Train on 5,000 digits and write the page to explore them, unless an earlier build has."""
    if path.exists():
        return
    path.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        run = f"{scratch}/digits"
        options = ["--latent-dim", "2", "--hidden", "256", "128", "--epochs", "30", "--figures-every", "0"]
        for line in (
            ["train", "mnist-5k", *options, "--out", run, "--quiet"],
            ["evaluate", run, "--num-samples", "100"],
            ["explore", run, "--export", str(path)],
        ):
            if main(line):
                raise RuntimeError(f"elboroom {' '.join(line)} failed")


def _write(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)
