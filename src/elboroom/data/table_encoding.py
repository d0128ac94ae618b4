"""Encodings of text tables."""

from __future__ import annotations

import codecs
from pathlib import Path

from elboroom.errors import UsageError, shortened

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def known_encoding(encoding: str) -> str:
    """The encoding of a name.

    Raises
    ------
    UsageError
        If Python knows none of this name.
    """
    try:
        found = codecs.lookup(encoding)
        found.encode("a")
    except (LookupError, TypeError, ValueError):
        raise UsageError(
            f"encoding = {shortened(encoding)}: there is no such encoding of text; Python knows utf-8, "
            "latin-1, windows-1252, utf-16 and others"
        ) from None
    return "utf-8-sig" if found.name == "utf-8" else found.name


def detected_encoding(path: Path) -> str:
    """The encoding that the first bytes of a file tell; UTF-8 if they do not.

    Raises
    ------
    UsageError
        If it is no text.
    """
    with path.open("rb") as file:
        start = file.read(4096)
    for mark, encoding in _MARKS.items():
        if start.startswith(mark):
            return encoding
    if b"\0" in start:
        # UTF-16 without a mark has a zero in every other byte of plain letters.
        for encoding, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
            if zeros.count(0) > 0.9 * len(zeros):
                return encoding
        raise UsageError(f"{path}: is not a text table (it contains null bytes); save it as UTF-8 CSV")
    return "utf-8"


def not_text(path: Path, error: UnicodeDecodeError) -> str:
    """The message for a file that is not in the detected encoding."""
    if error.encoding in ("utf-8", "utf-8-sig"):
        byte = error.object[error.start]
        return (
            f"{path}: is not a text table in UTF-8 (byte 0x{byte:02x}); if it is in Latin-1 or another "
            "encoding of Windows, name it: encoding='windows-1252'"
        )
    return f"{path}: is not a text table ({error.encoding}: {error.reason}); save it as UTF-8 CSV"
