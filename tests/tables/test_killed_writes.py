"""Tables that a command is killed while it writes: old or whole, never half."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from elboroom.cli.main import main

PROGRAM = """
import json, os, pathlib, signal, sys
import elboroom.cli.inputs.model, elboroom.cli.scoring_passes, elboroom.tables  # before any fork
from elboroom.cli.main import main

def killed_at(module, name, at):
    own, calls = getattr(module, name), []
    def counted(*arguments):
        calls.append(0)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return own(*arguments)
    setattr(module, name, counted)

cases, files, old = json.loads(sys.argv[1])
for words, place, at in cases:
    for file in files:
        pathlib.Path(file).write_text(old)
    child = os.fork()
    if not child:
        killed_at(*{"fsync": (os, "fsync"), "rename": (pathlib.Path, "replace")}[place], at)
        os._exit(main(words))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for leftover in pathlib.Path(files[0]).parent.glob(".*.part"):
        leftover.unlink()
    left = {str(file): file.read_text() for file in pathlib.Path(files[0]).parent.iterdir()}
    print(json.dumps([code, left]), flush=True)
"""
TABLE = "height;job\n" + "".join(
    f"{'' if i % 5 == 0 else f'{160 + i % 30},{i % 10}'};{'' if i % 7 == 0 else ['cook', 'smith'][i % 2]}\n"
    for i in range(120)
)
COMMANDS = {
    "impute": ["--out", "a/f.csv", "--imputations", "2", "--num-samples", "20", "--overwrite"],
    "score": ["--out", "a/s.csv", "--false-alarms", "0.5", "--num-samples", "4", "--overwrite"],
    "sample": ["--out", "a/x.csv", "--n", "50", "--overwrite"],
}
OLD = "what was there before, and is longer than nothing\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_a_killed_command_leaves_old_tables_or_whole_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, popen: type[subprocess.Popen[str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path / "cache"))
    Path("t.csv").write_text(TABLE)
    with monkeypatch.context() as patch:
        patch.setattr("elboroom.cli.training_run.draw_all", lambda *_, **__: [])
        options = ["--hidden", "8", "--epochs", "1", "--quiet", "--device", "cpu"]
        assert main(["train", "t.csv", "--out", "run", *options]) == 0
    for verb, words in COMMANDS.items():
        assert main([verb, "run", *words]) == 0
    whole = {str(file): file.read_text() for file in Path("a").iterdir()}
    assert len(whole) == 6
    cases = [("impute", "fsync", 2), ("impute", "rename", 1), ("impute", "rename", 4)]
    cases += [("score", "rename", 1), ("sample", "fsync", 1)]
    given = [([verb, "run", *COMMANDS[verb]], place, at) for verb, place, at in cases]
    program = [sys.executable, "-c", PROGRAM, json.dumps([given, sorted(whole), OLD])]
    with popen(program, stdout=subprocess.PIPE, text=True) as process:
        out, _ = process.communicate()
    assert process.returncode == 0
    replaced = []
    for line in out.splitlines():
        if line.startswith("["):
            code, left = json.loads(line)
            assert code == -signal.SIGKILL
            assert left.keys() == whole.keys()
            assert all(text in (OLD, whole[file]) for file, text in left.items())
            replaced.append(sum(text == whole[file] for file, text in left.items()))
    assert replaced == [1, 0, 3, 0, 0]
