"""Damage to the example of every data format, derived from `elboroom.data.formats.FORMATS`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from elboroom.data.formats import FORMATS, Format

from .arrays import changed
from .case import Case, Make

Damage = Callable[[Path], object]


def _replaced_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _linked_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


DAMAGES: dict[str, Damage] = {
    "whole": lambda _: None,
    "emptied": lambda path: path.write_bytes(b""),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "cut by a byte": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "noise": lambda path: path.write_bytes(np.random.default_rng(3).bytes(700)),
    "zeros": lambda path: path.write_bytes(bytes(700)),
    "junk at the end": lambda path: path.write_bytes(path.read_bytes() + b"\xff" * 40),
    "removed": Path.unlink,
    "a folder instead": _replaced_by_folder,
    "a link to itself": _linked_to_itself,
}


def cases(flips: int) -> Iterator[Case]:
    """Each damage to the first and the last file of each format's example, and so many random changes."""
    for row in FORMATS:
        for name, damage in DAMAGES.items():
            for which in (0, -1):
                yield Case(row.what, f"{name} ({which})", _damaged(row, damage, which))
        for number in range(flips):

            def change(path: Path, number: int = number) -> None:
                path.write_bytes(changed(path.read_bytes(), number))

            yield Case(row.what, f"change {number}", _damaged(row, change, -1))


def _damaged(row: Format, damage: Damage, which: int) -> Make:
    def make(folder: Path) -> list[str]:
        own = folder / "source"
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir()
        source = row.example(own)
        files = sorted(path for path in own.rglob("*") if path.is_file())
        damage(files[which])
        return ["data", "show", str(source.relative_to(folder))]

    return make
