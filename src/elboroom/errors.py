"""The two errors a user may meet, the exit code each carries, and warnings."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_LONGEST_MESSAGE = 480
_LONGEST_VALUE = 60


def printable(text: str) -> str:
    r"""Escape what a terminal would obey instead of showing: control characters, marks of direction, ….

    Examples
    --------
    >>> print(printable("a\x1b[31mb.png"))
    a\x1b[31mb.png
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def one_line(text: str) -> str:
    r"""Make a message one printable line of at most 480 characters; what is too long loses its middle.

    Examples
    --------
    >>> one_line("is damaged:\n  line 3")
    'is damaged: line 3'
    >>> len(one_line("x" * 5000))
    480
    """
    line = printable(re.sub(r"\s*[\r\n]+\s*", " ", text.strip()))
    if len(line) <= _LONGEST_MESSAGE:
        return line
    end = _LONGEST_MESSAGE // 3  # the fix stands at the end of a message
    return f"{line[: _LONGEST_MESSAGE - end - 3]} … {line[-end:]}"


def shortened(value: object) -> str:
    """Write a value for a message: its repr, of which 60 characters are enough.

    Examples
    --------
    >>> shortened(1.5), shortened("x" * 5000)[-5:]
    ('1.5', "xxx…'")
    """
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole numbers of more than some thousand digits
        return f"a {type(value).__name__} of thousands of digits"
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 2]}…{text[-1]}"


class ElboroomError(Exception):
    """Base of both; its text is one line that names the value, what is allowed and the fix."""

    exit_code = 1

    def __init__(self, message: str = ""):
        super().__init__(one_line(message))


class UsageError(ElboroomError, ValueError):
    """The caller asked for something that cannot be: a wrong value, name, shape or path."""

    exit_code = 2


class FailureError(ElboroomError, RuntimeError):
    """The request was fine and the world was not: a full disk, a damaged file, no network."""


class DivergedError(FailureError):
    """Training ran, and left no model that is worth keeping.

    Attributes
    ----------
    reason : str
        How it was seen; the error's text goes on with what to do.
    """

    def __init__(self, reason: str, advice: str):
        super().__init__(f"{reason}, {advice}")
        self.reason = reason


class RunWarning(UserWarning):
    """A run can be read, but something about it must be known before its numbers are believed."""


class AnotherFailedError(ElboroomError):
    """Another process has met an error; the first one says which, the others only leave."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


class DataWarning(UserWarning):
    """Data look as if they were not what the model was trained on."""


def is_lack(error: BaseException) -> bool:
    """Whether what went wrong is that the disk or the memory had no room: no fault of the work itself."""
    if isinstance(error, FailureError | OSError | MemoryError):
        return not isinstance(error, DivergedError)
    return isinstance(error, RuntimeError) and "memory" in str(error)  # as torch says it


def reason_of(error: BaseException) -> str:
    """What went wrong, in one line.

    Examples
    --------
    >>> reason_of(MemoryError())
    'out of memory'
    """
    text = " ".join(str(error).split())
    return "out of memory" if isinstance(error, MemoryError) or "out of memory" in text else text


def nearest(name: str, known: Iterable[str]) -> str:
    """Name the known word closest to a mistyped one, as the end of an error message.

    Examples
    --------
    >>> nearest("minst", ["mnist", "digits"])
    "did you mean 'mnist'?"
    >>> nearest("xyzzy", ["mnist", "digits"])
    'known: digits, mnist'
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
