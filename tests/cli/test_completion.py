"""The shells themselves complete commands, options and values with the scripts that are printed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from elboroom.cli.arguments import arguments
from elboroom.cli.completion import SHELLS, script
from elboroom.cli.main import main
from elboroom.cli.verbs import VERBS
from elboroom.config import preset_names

COMMANDS = sorted({name.split()[0] for name in VERBS})


def _run(shell: str, code: str, folder: Path) -> list[str]:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    (folder / "script").write_text(script(shell, VERBS), encoding="utf-8")
    words = (
        [path, "-c", code] if shell == "fish" else [path, "-f" if shell == "zsh" else "--norc", "-c", code]
    )
    settings = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    done = subprocess.run(
        words, cwd=folder, env=settings, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def bash(line: str, folder: Path) -> list[str]:
    words = [*line.split(" ")]
    code = f"""source ./script
COMP_WORDS=({" ".join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}
_elboroom; printf '%s\\n' "${{COMPREPLY[@]}}" """
    return [word for word in _run("bash", code, folder) if word]


def fish(line: str, folder: Path) -> list[str]:
    found = _run("fish", f"source ./script; complete -C {shlex.quote(line)}", folder)
    return [word.partition("\t")[0] for word in found]


def zsh(line: str, folder: Path) -> list[str]:
    """What the function offers; the widgets that would show it need a terminal."""
    words = line.split(" ")
    code = f"""compdef() {{ }}
_files() {{ print -l -- *(N) }}
compadd() {{ [[ $1 == -- ]] && shift; print -l -- "${{(@M)@:#${{PREFIX}}*}}" }}
_describe() {{ print -l -- "${{(@M)found%%:*}}" > /dev/null
  for one in $found; do [[ ${{one%%:*}} == ${{(b)PREFIX}}* ]] && print -r -- "${{one%%:*}}"; done; true }}
source ./script
words=({shlex.join(words)}); CURRENT={len(words)}; PREFIX={shlex.quote(words[-1])}
_elboroom"""
    return [word for word in _run("zsh", code, folder) if word]


COMPLETE = {"bash": bash, "zsh": zsh, "fish": fish}
shells = pytest.mark.parametrize("shell", SHELLS)


@shells
def test_commands(shell: str, tmp_path: Path) -> None:
    assert sorted(COMPLETE[shell]("elboroom ", tmp_path)) == COMMANDS
    assert sorted(COMPLETE[shell]("elboroom re", tmp_path)) == [
        one for one in COMMANDS if one.startswith("re")
    ]
    within = sorted(name.split()[1] for name in VERBS if name.startswith("data "))
    assert sorted(COMPLETE[shell]("elboroom data ", tmp_path)) == within


@shells
@pytest.mark.parametrize("name", ["train", "morph", "data faces", "data annotate"])
def test_options(shell: str, name: str, tmp_path: Path) -> None:
    found = COMPLETE[shell](f"elboroom {name} x --", tmp_path)
    flags = {one.flag for one in arguments(VERBS[name]) if not one.option.positional}
    assert {flag.replace("--no-", "--") for flag in found} - {"--help", "--help-all"} == flags
    assert "--help" in found


@shells
def test_values(shell: str, tmp_path: Path) -> None:
    complete = COMPLETE[shell]
    assert sorted(complete("elboroom data annotate --template ", tmp_path)) == ["auto", "dog", "person"]
    assert complete("elboroom train mnist --network la", tmp_path) == ["ladder"]
    assert sorted(complete("elboroom train --preset ", tmp_path)) == sorted(preset_names())


@shells
def test_files_where_nothing_is_known(shell: str, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("")
    found = COMPLETE[shell]("elboroom train mi", tmp_path)
    assert found == ([] if shell == "bash" else ["mine.csv"] if shell == "fish" else ["mine.csv", "script"])


def test_bash_offers_files_by_default() -> None:
    assert script("bash", VERBS).endswith("complete -o default -F _elboroom elboroom\n")


def test_switches_are_offered_as_they_change_something(tmp_path: Path) -> None:
    found = bash("elboroom train --", tmp_path)
    for one in arguments(VERBS["train"]):
        if one.is_switch:
            assert (one.flag if not one.default else one.flag.replace("--", "--no-", 1)) in found


@shells
def test_the_command_prints_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert capsys.readouterr().out == script(shell, VERBS)


def test_other_shells_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert main(["completion"]) == 2
    assert "SHELL" in capsys.readouterr().err
