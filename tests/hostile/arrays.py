"""Hostile .npy and .npz files, as data and as conditions."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .case import Case, Make

_RNG = np.random.default_rng(0)
_ROWS = _RNG.random((12, 4)).astype(np.float32)


def npy(array: Any) -> bytes:
    """Bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def header(text: str, body: bytes = b"\0" * 64, version: tuple[int, int] = (1, 0)) -> bytes:
    """Bytes of a .npy file with this header."""
    coded = text.encode("latin-1", "replace")
    coded += b" " * (-(len(coded) + 11) % 64) + b"\n"
    length = struct.pack("<H" if version == (1, 0) else "<I", len(coded))
    return b"\x93NUMPY" + bytes(version) + length + coded + body


def _with(values: Any, *changes: tuple[Any, Any]) -> Any:
    copy = np.array(values)
    for place, value in changes:
        copy[place] = value
    return copy


_F4 = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }"
ARRAYS: dict[str, bytes] = {
    "scalar float": npy(np.array(3.0)),
    "scalar integer": npy(np.array(3)),
    "scalar text": npy(np.array("x")),
    "one axis": npy(np.arange(5.0)),
    "one axis of uint8": npy(np.arange(5, dtype=np.uint8)),
    "no rows": npy(np.zeros((0, 4))),
    "no columns": npy(np.zeros((4, 0))),
    "no columns of int": npy(np.zeros((4, 0), np.int64)),
    "nothing": npy(np.zeros(0)),
    "images of no pixels": npy(np.zeros((4, 0, 3), np.uint8)),
    "five axes": npy(np.zeros((2, 2, 2, 2, 2))),
    "sixty-four axes": npy(np.zeros((1,) * 32)),
    "one row": npy(np.zeros((1, 4))),
    "one pixel": npy(np.zeros((3, 1, 1), np.uint8)),
    "complex": npy(np.zeros((4, 4), complex)),
    "dates": npy(np.zeros((4, 4), "datetime64[s]")),
    "durations": npy(np.zeros((4, 4), "timedelta64[s]")),
    "text": npy(np.full((4, 4), "x")),
    "bytes": npy(np.full((4, 4), b"x")),
    "void": npy(np.zeros((4, 4), "V3")),
    "fields": npy(np.zeros(4, [("a", "f4"), ("b", "i4")])),
    "fields in rows": npy(np.zeros((4, 4), [("a", "f4"), ("b", "i4")])),
    "objects": npy(np.array([{}, set(), None])),
    "bool": npy(np.zeros((4, 4), bool)),
    "half infinite": npy(np.full((4, 4), np.inf, np.float16)),
    "long double": npy(np.full((4, 4), np.longdouble(1))),
    "too large for float32": npy(np.full((4, 4), 1e300)),
    "too large in one place": npy(_with(np.ones((4, 4)), ((2, 1), 1e300))),
    "nan": npy(_with(_ROWS, ((3, 1), np.nan))),
    "all nan": npy(np.full((4, 4), np.nan)),
    "negative infinity": npy(_with(_ROWS, ((3, 1), -np.inf))),
    "uint64 at its end": npy(np.full((4, 4), 2**64 - 1, np.uint64)),
    "int64 at its end": npy(np.full((4, 4), -(2**63), np.int64)),
    "int64 images": npy(np.full((4, 4, 4), 2**63 - 1, np.int64)),
    "big-endian": npy(np.ones((4, 4), ">f8")),
    "stored by columns": npy(np.asfortranarray(_ROWS)),
    "channels first": npy(np.zeros((4, 3, 8, 8), np.uint8)),
    "seven channels": npy(np.zeros((4, 8, 8, 7), np.uint8)),
    "states a huge shape": header(_F4 % "(1000000000000, 4)"),
    "states a shape beyond int64": header(_F4 % f"({10**30}, 4)"),
    "states 4,300 digits": header(_F4 % f"({'9' * 4000}, 4)"),
    "states a negative shape": header(_F4 % "(-1, 4)"),
    "states a shape of text": header(_F4 % "('a', 4)"),
    "states a shape that is no tuple": header(_F4 % "4"),
    "states no type": header("{'descr': None, 'fortran_order': False, 'shape': (4, 4), }"),
    "states an unknown type": header("{'descr': 'zz', 'fortran_order': False, 'shape': (4, 4), }"),
    "states a deep type": header("{'descr': " + "[" * 900 + "]" * 900 + ", 'shape': (4, 4)}"),
    "header is no dict": header("[1, 2]"),
    "header is code": header("__import__('os').system('true')"),
    "header is binary": header("\x00\x01\x02"),
    "header of 5,000 digits": header("9" * 5000),
    "header of 60,000 brackets": header("(" * 60_000),
    "version 2": header(_F4 % "(4, 4)", version=(2, 0)),
    "version 99": header(_F4 % "(4, 4)", version=(99, 0)),
    "only the magic": b"\x93NUMPY",
    "magic and version": b"\x93NUMPY\x01\x00",
    "cut in the header": npy(_ROWS)[:40],
    "cut in the values": npy(_ROWS)[:200],
    "values after the end": npy(_ROWS) + b"more",
    "empty": b"",
    "text file": b"1,2,3\n",
    "noise": _RNG.bytes(500),
    "an archive": b"PK\x03\x04" + _RNG.bytes(50),
}


def zipped(**members: bytes | Any) -> bytes:
    """Bytes of an archive whose members are arrays or bytes as they are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content if isinstance(content, bytes) else npy(content))
    return buffer.getvalue()


_IMAGES = _RNG.integers(0, 256, (6, 4, 4), dtype=np.uint8)
_L = np.arange(6) % 2
ARCHIVES: dict[str, bytes] = {
    "no member": zipped(),
    "no array named x": zipped(y=_ROWS),
    "both images and x": zipped(x=_ROWS, images=_IMAGES),
    "junk member": zipped(x=b"not an array"),
    "empty member": zipped(x=b""),
    "scalar": zipped(x=np.array(1.0)),
    "scalar images": zipped(images=np.array(1, np.uint8)),
    "rows as images": zipped(images=_ROWS),
    "images as x": zipped(x=_IMAGES),
    "text as x": zipped(x=np.array(["a", "b"])),
    "objects": zipped(x=np.array([{}, set()])),
    "no images": zipped(images=_IMAGES[:0]),
    "labels of another length": zipped(images=_IMAGES, labels=_L[:3]),
    "scalar labels": zipped(images=_IMAGES, labels=np.array(1)),
    "labels in rows": zipped(images=_IMAGES, labels=np.ones((6, 2))),
    "nan labels": zipped(images=_IMAGES, labels=np.full(6, np.nan)),
    "infinite labels": zipped(images=_IMAGES, labels=np.full(6, np.inf)),
    "labels of 1e300": zipped(images=_IMAGES, labels=np.full(6, 1e300)),
    "labels at the end of uint64": zipped(images=_IMAGES, labels=np.full(6, 2**64 - 1, np.uint64)),
    "labels at the end of int64": zipped(images=_IMAGES, labels=np.full(6, 2**63 - 1)),
    "negative labels": zipped(images=_IMAGES, labels=_L - 5),
    "complex labels": zipped(images=_IMAGES, labels=_L.astype(complex)),
    "date labels": zipped(images=_IMAGES, labels=_L.astype("datetime64[D]")),
    "object labels": zipped(images=_IMAGES, labels=np.array([{}] * 6)),
    "junk labels": zipped(images=_IMAGES, labels=b"junk"),
    "labels with control characters": zipped(images=_IMAGES, labels=np.array(["\x1b[31m", "b\n"] * 3)),
    "labels in broken UTF-8": zipped(images=_IMAGES, labels=np.array([b"\xff", b"a"] * 3)),
    "labels of 10,000 letters": zipped(images=_IMAGES, labels=np.array(["a" * 10_000, "b"] * 3)),
    "too few names": zipped(images=_IMAGES, labels=_L, label_names=np.array(["a"])),
    "a name alone": zipped(images=_IMAGES, labels=_L, label_names=np.array("a")),
    "names are numbers": zipped(images=_IMAGES, labels=_L, label_names=np.arange(2)),
    "names in rows": zipped(images=_IMAGES, labels=_L, label_names=np.array([["a", "b"]])),
    "names are objects": zipped(images=_IMAGES, labels=_L, label_names=np.array([None, {}])),
    "names twice": zipped(images=_IMAGES, labels=_L, label_names=np.array(["a", "a"])),
    "names are markup": zipped(images=_IMAGES, labels=_L, label_names=np.array(["[/x]", "[b]"])),
    "split of another length": zipped(images=_IMAGES, split=np.zeros(3)),
    "scalar split": zipped(images=_IMAGES, split=np.array(0)),
    "split of 7": zipped(images=_IMAGES, split=np.full(6, 7)),
    "split of text": zipped(images=_IMAGES, split=np.full(6, "train")),
    "split of nan": zipped(images=_IMAGES, split=np.full(6, np.nan)),
    "split of halves": zipped(images=_IMAGES, split=np.full(6, 0.5)),
    "split of objects": zipped(images=_IMAGES, split=np.array([{}] * 6)),
    "nothing to train on": zipped(images=_IMAGES, split=np.ones(6)),
    "member states a huge shape": zipped(x=header(_F4 % "(1000000000000, 4)")),
    "member header of brackets": zipped(x=header("(" * 60_000)),
    "cut": zipped(x=_ROWS)[:150],
    "cut at the end": zipped(x=_ROWS)[:-10],
    "empty": b"",
    "a .npy": npy(_ROWS),
    "noise after PK": b"PK\x03\x04" + _RNG.bytes(300),
    "end record only": b"PK\x05\x06" + b"\0" * 18,
    "end record of many": b"PK\x05\x06" + b"\xff" * 18,
}


def _show(name: str, content: bytes) -> Make:
    def make(folder: Path) -> list[str]:
        (folder / name).write_bytes(content)
        return ["data", "show", name]

    return make


def _conditions(content: bytes) -> Make:
    def make(folder: Path) -> list[str]:
        (folder / "c.npy").write_bytes(content)
        np.save(folder / "x.npy", _ROWS)
        words = "train x.npy --dry-run --hidden 4 --likelihood gaussian --condition vectors"
        return [*words.split(), "--condition-file", "c.npy"]

    return make


def cases(flips: int) -> Iterator[Case]:
    """All of this module, with so many random changes of each whole file."""
    for name, content in ARRAYS.items():
        yield Case("npy", name, _show("x.npy", content))
    for name, content in ARCHIVES.items():
        yield Case("npz", name, _show("x.npz", content))
    for name in ("scalar float", "one axis", "nan", "text", "objects", "noise", "an archive", "five axes"):
        yield Case("conditions", name, _conditions(ARRAYS[name]))
    whole = {"x.npy": npy(_ROWS), "x.npz": zipped(images=_IMAGES, labels=_L)}
    for name, content in whole.items():
        for number in range(flips):
            yield Case(name[2:], f"change {number}", _show(name, changed(content, number)))


def changed(content: bytes, number: int) -> bytes:
    """Content with some bytes changed, cut out or doubled, the first ones oftener."""
    rng = np.random.default_rng(number)
    found = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, min(len(found), int(rng.choice([16, 128, len(content)])))))
        match rng.integers(4):
            case 0:
                found[at] ^= 1 << int(rng.integers(8))
            case 1:
                found[at : at + 4] = rng.bytes(4)
            case 2:
                del found[at : at + int(rng.integers(1, 40))]
            case _:
                found[at:at] = found[at : at + int(rng.integers(1, 40))]
        if not found:
            break
    return bytes(found)
