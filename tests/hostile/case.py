"""One hostile input: how it is made, how it is given to elboroom, and how the answer is judged."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elboroom.cli.main import main
from elboroom.errors import ElboroomError

LONGEST = 500
"""Characters that a message on standard error may have."""

_SECONDS = 60
Make = Callable[[Path], Any]


@dataclass(frozen=True)
class Case:
    """A hostile input.

    Attributes
    ----------
    kind : str
        Of the input, for counting.
    name : str
        What is wrong with it.
    make : callable
        Given a folder that holds the run ``run`` and is the current one, it writes what is needed there and
        returns the words of a command line; or, for the Python API, a function to be called.
    """

    kind: str
    name: str
    make: Make

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


def judge(case: Case, folder: Path) -> list[str]:
    """Say what is wrong with elboroom's answer; nothing if it is a good one."""
    with contextlib.chdir(folder), warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        given = case.make(folder)
        with _in_time():
            complaints = list(_call(given) if callable(given) else _command(given))
        complaints += list(_json_files(folder))
    return complaints + [f"warns: {str(one.message)[:80]}" for one in raised]


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Interrupt what hangs, so that it fails instead of the whole set."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"no answer in {_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _command(argv: list[str]) -> Iterator[str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code: object = main(argv)
        except SystemExit as stop:
            code = stop.code or 0
        except BaseException as error:  # nothing may come out of it
            yield f"raises {type(error).__name__}: {str(error)[:80]}"
            return
    if code not in (0, 1, 2):
        yield f"exit code {code}"
    if code:
        yield from _message(err.getvalue().removesuffix("\n"))
    elif "(a bug" in err.getvalue() or "Traceback" in err.getvalue():
        yield f"traceback: {err.getvalue()[-80:]}"
    for text in (out.getvalue(), err.getvalue()):
        yield from _characters(text)
    if code == 0 and "--json" in argv:
        yield from _strict(out.getvalue(), "standard output")
    if code == 0 and argv[:2] == ["data", "show"] and " train" not in out.getvalue():
        yield "exit 0, and nothing is said of the data"


def _call(function: Callable[[], Any]) -> Iterator[str]:
    try:
        function()
    except ElboroomError as error:
        yield from _message(f"elboroom: {error}")
    except Exception as error:
        yield f"raises {type(error).__name__}: {' '.join(str(error).split())[:80]}"


def _message(text: str) -> Iterator[str]:
    if not text:
        yield "fails without a word"
    if "(a bug" in text or "Traceback" in text:
        yield f"unexpected: {' '.join(text.split())[:120]}"
    if "\n" in text:
        yield f"{len(text.splitlines())} lines: {' '.join(text.split())[:120]}"
    if len(text) > LONGEST:
        yield f"{len(text):,} characters: {' '.join(text.split())[:80]}"
    yield from _characters(text)


def _characters(text: str) -> Iterator[str]:
    found = {char for char in text if unicodedata.category(char) == "Cc" and char not in "\n\t"}
    if found:
        yield f"control characters {sorted(map(ord, found))}"


def _json_files(folder: Path) -> Iterator[str]:
    for path in folder.glob("out/*.json*"):  # what elboroom wrote; "run" is what was damaged
        for line in path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]:
            yield from _strict(line, path.name)


def _strict(text: str, where: str) -> Iterator[str]:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError as error:
        yield f"no valid JSON in {where}: {error}"
