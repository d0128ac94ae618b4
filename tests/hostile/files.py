"""Hostile tables, folders of text files, images and tar shards."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from .arrays import ARRAYS, changed
from .case import Case, Make

_LONG = "9" * 5000
_TABLE = "a,b,label\n" + "".join(f"{i}.5,{i % 3},{'xyz'[i % 3]}\n" for i in range(9))
TABLES: dict[str, str | bytes] = {
    "empty": "",
    "a byte order mark": b"\xef\xbb\xbf",
    "newlines": "\n\n\n",
    "only a header": "a,b\n",
    "only labels": "label\n1\n2\n",
    "only words": "a,b\nx,y\nz,w\n",
    "nul bytes": b"a,b\n1,\x00\n2,3\n",
    "UTF-16": _TABLE.encode("utf-16"),
    "UTF-16 without mark": _TABLE.encode("utf-16-le"),
    "UTF-32": _TABLE.encode("utf-32"),
    "latin-1": "größe,b\n1,2\n3,4\n".encode("latin-1"),
    "broken UTF-8": b"a,b\n1,\xff\xfe\n2,3\n",
    "5,000 digits": f"a,b\n1,{_LONG}\n2,3\n",
    "all of 5,000 digits": f"a,b\n{_LONG},{_LONG}\n",
    "1e400": "a,b\n1,1e400\n2,3\n",
    "1e300": "a,b\n1,1e300\n2,3\n",
    "1e39": "a,b\n1,1e39\n2,3\n",
    "whole numbers above 2^24": "id,v\n20000001,1\n20000002,2\n",
    "whole numbers above 2^64": "id,v\n99999999999999999999999,1\n99999999999999999999998,2\n",
    "infinite": "a,b\n1,inf\n2,3\n",
    "hexadecimal": "a,b\n1,0x10\n2,3\n",
    "underscores": "a,b\n1,1_000\n2,3\n",
    "complex": "a,b\n1,1+2j\n2,3\n",
    "true and false": "a,b\n1,true\n2,false\n",
    "dates": "a,b\n1,2020-01-01\n2,2020-01-02\n",
    "ragged": "a,b\n1\n1,2,3\n4,5\n",
    "an open quote": 'a,b\n1,"2\n3,4\n5,6\n',
    "a cell of 200,000 letters": "a,b\n1," + "x" * 200_000 + "\n2,3\n",
    "a header of 200,000 letters": "x" * 200_000 + ",b\n1,2\n",
    "20,000 columns": ",".join(map(str, range(20_000))) + "\n" + ",".join(["1"] * 20_000) + "\n",
    "control characters": "a\x1b[31m,b\n1,\x07x\n2,3\n",
    "a bad cell of 9,000 letters": "a,b\n1," + "x" * 9_000 + "\n2,3\n",
    "markup": "[/x],[b]\n1,[red]\n2,3\n",
    "carriage returns": "a,b\r1,2\r3,4\r",
    "labels of 1e300": "a,label\n1,1e300\n2,3\n",
    "labels of 5,000 digits": f"a,label\n1,{_LONG}\n2,3\n",
    "labels above 2^64": "a,label\n1,99999999999999999999\n2,3\n",
    "nan labels": "a,label\n1,nan\n2,inf\n",
    "negative labels": "a,label\n1,-5\n2,-6\n",
    "label twice": "a,label,label\n1,2,3\n4,5,6\n",
    "labels with control characters": "a,label\n1,\x1b[31m\n2,b\x07\n",
    "one number": "1",
    "one number in a line": "7\n",
    "commas": ",,,\n,,,\n",
    "an index": ",a\n0,1.5\n1,2.5\n",
    "noise": np.random.default_rng(1).bytes(2000),
    "a PNG": b"\x89PNG\r\n\x1a\n" + bytes(50),
    "gzip": b"\x1f\x8b" + bytes(50),
    "comments": "# made by a program\na,b\n1,2\n3,4\n",
    "only comments": "# a\n# b\n",
    "decimal commas": "a;b\n1,5;2,5\n3,5;4,5\n",
    "pixels beyond 255": "p0,p1\n1,256\n3,4\n",
}
HASKELL: dict[str, str | bytes] = {
    "label 1e300": "1e300,1,2,3,4",
    "label nan": "nan,1,2,3,4",
    "label inf": "inf,1,2,3,4",
    "label of 5,000 digits": f"{_LONG},1,2,3,4",
    "label 2^63": f"{2**63},1,2,3,4",
    "label -2^63 - 1": f"{-(2**63) - 2000},1,2,3,4",
    "negative label": "-5,1,2,3,4",
    "pixel 1e300": "1,1e300,2,3,4",
    "pixel of 5,000 digits": f"1,{_LONG},2,3,4",
    "pixel of letters": "1,a,2,3,4",
    "pixel of a half": "1,0.5,2,3,4",
    "empty": "",
    "blank": "   \n",
    "two lines": "1,1,2,3,4\n2,1,2,3,4",
    "label alone": "1",
    "too few": "1,2",
    "too many": "1," + "2," * 9000,
    "binary": bytes(range(256)),
    "nul bytes": b"\0\0\0",
    "control characters": "1,\x1b[31m,2,3,4",
    "long cell": "1," + "x" * 100_000 + ",2,3,4",
}


def png(mode: str = "L", size: tuple[int, int] = (6, 6)) -> bytes:
    """Bytes of a PNG."""
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, "PNG")
    return buffer.getvalue()


def _bmp(width: int, height: int) -> bytes:
    numbers = [*width.to_bytes(4, "little", signed=True), *height.to_bytes(4, "little", signed=True)]
    return b"BM" + bytes(12) + b"(\0\0\0" + bytes(numbers) + b"\1\0\x18\0" + bytes(100)


IMAGES: dict[str, bytes] = {
    "empty": b"",
    "text": b"hello",
    "cut": png()[:40],
    "cut in the values": png(size=(200, 200))[:80],
    "header only": png()[:33],
    "one pixel": png(size=(1, 1)),
    "wide": png(size=(3000, 1)),
    "states 2^31 pixels a side": png()[:16] + b"\x7f\xff\xff\xff\x7f\xff\xff\xff" + png()[24:],
    "states no pixels": png()[:16] + bytes(8) + png()[24:],
    "BMP of -1 pixels": _bmp(-1, -1),
    "BMP of 2^31 - 1 pixels": _bmp(2**31 - 1, 2**31 - 1),
    "GIF without frames": b"GIF89a\1\0\1\0\0\0\0;",
    "TIFF junk": b"II*\0" + bytes(60),
    "JPEG junk": b"\xff\xd8\xff\xe0" + bytes(60),
    "WebP junk": b"RIFF\x10\0\0\0WEBPVP8 " + bytes(30),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",
    "noise": np.random.default_rng(2).bytes(500),
}
LABELS: dict[str, tuple[str, bytes]] = {
    "label of 5,000 digits": ("cls", _LONG.encode()),
    "label 1e300": ("cls", b"1e300"),
    "label 2^64": ("cls", b"18446744073709551616"),
    "label with control characters": ("cls", b"\x1b[31m"),
    "empty label": ("cls", b""),
    "binary label": ("cls", bytes(range(256))),
    "superscript label": ("cls", "²".encode()),
    "deep JSON": ("json", b"[" * 100_000),
    "deep JSON in an object": ("json", b'{"label": ' * 50_000),
    "JSON of 5,000 digits": ("json", f'{{"label": {_LONG}}}'.encode()),
    "JSON nan": ("json", b'{"label": NaN}'),
    "JSON 1e400": ("json", b'{"label": 1e400}'),
    "JSON list": ("json", b'{"label": [1]}'),
    "JSON true": ("json", b'{"label": true}'),
    "JSON surrogate": ("json", b'{"label": "\\ud800"}'),
    "JSON junk": ("json", b"{"),
}


def tar(members: list[tuple[str, bytes]]) -> bytes:
    """Bytes of a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _written(name: str, content: str | bytes, *words: str) -> Make:
    def make(folder: Path) -> list[str]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return list(words or ("data", "show", name))

    return make


def _haskell(content: str | bytes, whole: int) -> Make:
    def make(folder: Path) -> list[str]:
        for number in range(whole):
            _written(f"h/{number}.txt", f"{number},1,2,3,{number}\n")(folder)
        return _written("h/7.txt", content, "data", "show", "h")(folder)

    return make


def _among_images(content: bytes, name: str, whole: int) -> Make:
    def make(folder: Path) -> list[str]:
        for number in range(whole):
            _written(f"p/{number}.png", png())(folder)
        return _written(f"p/{name}", content, "data", "show", "p")(folder)

    return make


def _shard(*members: tuple[str, bytes]) -> Make:
    whole = [(f"{i}.{kind}", content) for i in range(3) for kind, content in (("png", png()), ("cls", b"1"))]
    return _written("s.tar", tar([*whole, *members]))


def _odd_places() -> Iterator[tuple[str, Callable[[Path], list[str]]]]:
    def linked(folder: Path) -> list[str]:
        (folder / "p").mkdir()
        (folder / "p/loop.png").symlink_to("loop.png")
        (folder / "p/gone.png").symlink_to("nowhere")
        (folder / "p/back").symlink_to(".")
        return _among_images(png(), "a.png", 2)(folder)

    def folder_as_file(name: str) -> Make:
        def make(folder: Path) -> list[str]:
            (folder / name).unlink(missing_ok=True)
            (folder / name).mkdir(parents=True)
            return ["data", "show", name.split("/")[0]]

        return make

    def pipe(folder: Path) -> list[str]:
        (folder / "h").mkdir()
        os.mkfifo(folder / "h/3.txt")
        return _haskell("7,1,2,3,4", 3)(folder) if False else ["data", "show", "x.csv"]

    yield "links that lead nowhere", linked
    yield "a folder called x.csv", folder_as_file("x.csv")
    yield "a folder called x.npy", folder_as_file("x.npy")
    yield "a folder called x.tar", folder_as_file("x.tar")
    yield "a folder among text files", folder_as_file("h/1.txt")
    yield "a folder among images", folder_as_file("p/1.png")
    yield "a folder among shards", folder_as_file("s/1.npy")
    yield "a name with control characters", _written("\x1b[31m.csv", _TABLE)
    yield "a name of markup", _written("[/x].csv", _TABLE)
    yield "a name of surrogates", lambda _: ["data", "show", os.fsdecode(b"\xff\xfe.csv")]
    yield "no name", lambda _: ["data", "show", ""]


def cases(flips: int) -> Iterator[Case]:
    """All of this module, with so many random changes of each whole file."""
    for name, content in TABLES.items():
        yield Case("csv", name, _written("t.csv", content))
    for name, content in HASKELL.items():
        yield Case("text files", name, _haskell(content, 5))
        yield Case("text files", f"{name}, alone", _haskell(content, 0))
    yield Case(
        "text files",
        "a number of 200 digits",
        _written(f"h/{'9' * 200}.txt", "1,2,3"[:5], "data", "show", "h"),
    )
    for name, content in IMAGES.items():
        yield Case("images", name, _among_images(content, "x.png", 3))
        yield Case("images", f"{name}, alone", _among_images(content, "x.png", 0))
        yield Case("tar", f"image {name}", _shard(("x.png", content), ("x.cls", b"1")))
        yield Case(
            "reconstruct", name, _written("x.png", content, "reconstruct", "run", "x.png", "--out", "o.png")
        )
    for name, (kind, content) in LABELS.items():
        yield Case("tar", name, _shard(("x.png", png()), (f"x.{kind}", content)))
    for name in ("scalar float", "states a huge shape", "header of 60,000 brackets", "noise", "objects"):
        yield Case("tar", f"npy {name}", _shard(("x.npy", ARRAYS[name]), ("x.cls", b"1")))
    yield Case(
        "tar", "a member with control characters", _shard(("\x1b[31m.png", b"junk"), ("\x1b[31m.cls", b"1"))
    )
    yield Case("tar", "a member of 9,000 letters", _shard(("x" * 9000 + ".png", b"junk")))
    for name, content in {
        "empty": b"",
        "noise": b"x" * 600,
        "zeros": bytes(2048),
        "cut": tar([("a.png", png())])[:700],
    }.items():
        yield Case("tar", name, _written("s.tar", content))
    for name, make in _odd_places():
        yield Case("places", name, make)
    whole = {
        "t.csv": _TABLE.encode(),
        "s.tar": tar(
            [(f"{i}.{kind}", text) for i in range(3) for kind, text in (("png", png()), ("cls", b"1"))]
        ),
    }
    for name, content in whole.items():
        for number in range(flips):
            yield Case(name[2:], f"change {number}", _written(name, changed(content, number)))
    for number in range(flips):
        yield Case("images", f"change {number}", _among_images(changed(png("RGB"), number), "x.png", 2))


LANDMARKS: dict[str, str | bytes] = {
    "deep": "[" * 100_000,
    "no object": json.dumps([1, 2]),
    "null": "null",
    "nan": '{"0.png": [NaN, 1, 2, 3]}',
    "5,000 digits": f'{{"0.png": [{_LONG}, 1, 2, 3]}}',
    "1e400": '{"0.png": [1e400, 1, 2, 3]}',
    "a text": '{"0.png": "x"}',
    "nested": '{"0.png": {"left_eye": {"x": 1}}}',
    "junk": b"\xff\xfe{",
    "empty": "",
}


def landmark_cases() -> Iterator[Case]:
    """Files of landmarks beside photos."""
    for name, content in LANDMARKS.items():
        words = "data faces p --out faces --detector none --landmarks l.json --size 8"

        def make(folder: Path, content: str | bytes = content, words: str = words) -> list[str]:
            _among_images(png("RGB", (32, 32)), "a.png", 1)(folder)
            return _written("l.json", content, *words.split())(folder)

        yield Case("landmarks", name, make)
