"""The blocks of code in a page, and how each is run or checked."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elboroom.cli.help import help_text
from elboroom.cli.main import main
from elboroom.cli.verbs import VERBS
from elboroom.config import preset_names

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"(?:<!-- not run: ([^\n]+) -->\n+)?^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
_TARGETS = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
_CHECKED = ("data annotate", "push")  # commands that end with Ctrl-C, or send something to another computer
_QUICK = ("--epochs", "1", "--figures-every", "0", "--quiet")


@dataclass(frozen=True)
class Block:
    """A block of code: its language, its text, and why it is not run if it is marked so."""

    language: str
    text: str
    line: int
    reason: str | None


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page's text, in order."""
    return [
        Block(found[2].strip(), found[3], page.count("\n", 0, found.start(2)) + 1, found[1])
        for found in _FENCE.finditer(page)
    ]


def commands(text: str) -> list[list[str]]:
    """The commands of a console block as words, without comments."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def run(block: Block, names: dict[str, Any], where: str, short: Mapping[str, str]) -> None:
    """Run or check one block. ``short`` maps texts of the page to those that take less time or other data."""
    text = block.text
    match block.language:
        case "python":
            exec(compile("\n" * block.line + _shortened(text, short), where, "exec"), names)
        case "console":
            for words in commands(text):
                command(words, short)
        case "json":
            json.loads(text)
        case "toml":
            tomllib.loads(text)
        case "bash":
            subprocess.run(["bash", "-n"], input=text, text=True, check=True)
            for found in re.findall(r"\b(?:train|resume) [^\"\n]+", text):
                _options_exist(shlex.split(found))
        case "yaml":
            assert "\t" not in text
            for found in re.findall(r"\b(?:train|resume) [^\"\n]+", text):
                _options_exist(shlex.split(found))
        case "text":
            pass
        case other:
            raise AssertionError(f"{where}:{block.line}: what is a block of {other!r}? Name its language")


def command(words: list[str], short: Mapping[str, str]) -> None:
    """Run one command if it is elboroom's; of other programs check what they name."""
    program, *rest = words
    if program == "elboroom" and (rest[0] in _CHECKED or " ".join(rest[:2]) in _CHECKED):
        _options_exist(rest)
    elif program == "elboroom":
        _options_exist(rest)
        assert main(_quick(shlex.split(_shortened(shlex.join(rest), short)))) == 0, shlex.join(words)
    elif program == "torchrun":
        _options_exist(rest[rest.index("elboroom") + 1 :])
    elif program == "make":
        assert set(rest) <= set(_TARGETS), words
    elif program == "pip":
        extras = re.findall(r"\[([\w,-]+)\]", " ".join(rest))
        assert {extra for found in extras for extra in found.split(",")} <= set(_EXTRAS), words
    elif program == "python" and rest[0] == "-m":
        module = rest[1].replace(".", "/")
        assert (ROOT / f"{module}.py").exists() or (ROOT / module / "__main__.py").exists(), words
    elif program == "python":
        assert (ROOT / rest[0]).exists(), words
    else:
        assert program in ("git", "cd", "."), words


def _options_exist(words: list[str]) -> None:
    verb = " ".join(words[:2]) if words[0] == "data" else words[0]
    assert verb in VERBS, words
    text = help_text(VERBS[verb], f"elboroom {verb}", everything=True)
    for option in (word.partition("=")[0] for word in words if word.startswith("--")):
        assert re.search(rf"{re.escape(option)}(?![\w-])", text) or option == "--help-all", (
            f"{option} of {verb}"
        )
    if "--preset" in words:
        assert words[words.index("--preset") + 1] in preset_names(), words


def _shortened(text: str, short: Mapping[str, str]) -> str:
    for long, brief in short.items():
        text = text.replace(long, brief)
    return text


def _quick(words: list[str]) -> list[str]:
    """The same command with one epoch and no figures, if it trains."""
    if words[0] not in ("train", "compare") or {"--help", "--help-all", "--dry-run"} & set(words):
        return words
    return [*words, *_QUICK]
