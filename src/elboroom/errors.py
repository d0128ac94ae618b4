"""The errors and warnings of elboroom, and the wording of messages."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

_LONGEST_MESSAGE = 480
_LONGEST_VALUE = 60


def printable(text: str) -> str:
    r"""Escape characters that a terminal interprets instead of showing, such as control characters.

    Examples
    --------
    >>> print(printable("a\x1b[31mb.png"))
    a\x1b[31mb.png
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def one_line(text: str) -> str:
    r"""Make a message one printable line of at most 480 characters; longer ones lose their middle.

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
    end = _LONGEST_MESSAGE // 3  # a message ends with the fix
    return f"{line[: _LONGEST_MESSAGE - end - 3]} … {line[-end:]}"


def shortened(value: object) -> str:
    """Format a value for a message: its repr, cut to 60 characters.

    Examples
    --------
    >>> shortened(1.5), shortened("x" * 5000)[-5:]
    ('1.5', "xxx…'")
    """
    try:
        text = repr(value)
    except ValueError:  # Python does not format integers of several thousand digits
        return f"a {type(value).__name__} of thousands of digits"
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 2]}…{text[-1]}"


class ElboroomError(Exception):
    """Base class of all errors: one line that names the value got, what is allowed and the fix."""

    exit_code = 1

    def __init__(self, message: str = ""):
        super().__init__(one_line(message))


class UsageError(ElboroomError, ValueError):
    """The request is invalid: a wrong value, name, shape or path."""

    exit_code = 2


class FailureError(ElboroomError, RuntimeError):
    """The request is valid but cannot be fulfilled: a full disk, a damaged file, no network."""


class DivergedError(FailureError):
    """Training diverged and left no usable model.

    Attributes
    ----------
    reason : str
        How the divergence showed. The text of the error continues with advice.
    """

    def __init__(self, reason: str, advice: str):
        super().__init__(f"{reason}, {advice}")
        self.reason = reason


class RunWarning(UserWarning):
    """A run can be used, but its results need caution."""


class AnotherFailedError(ElboroomError):
    """Another process failed. That process reports its error; this one only exits."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


class DataWarning(UserWarning):
    """Data look unlike those that the model was trained on."""


def is_lack(error: BaseException) -> bool:
    """Whether an error means that the disk or the memory is full, and not that the work is faulty."""
    if isinstance(error, FailureError | OSError | MemoryError):
        return not isinstance(error, DivergedError)
    return isinstance(error, RuntimeError) and "memory" in str(error)  # as torch reports it


def reason_of(error: BaseException) -> str:
    """Describe an error in one line.

    Examples
    --------
    >>> reason_of(MemoryError())
    'out of memory'
    """
    text = " ".join(str(error).split())
    return "out of memory" if isinstance(error, MemoryError) or "out of memory" in text else text


_FEW = 4


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the known name closest to a mistyped one, as the end of a message; of a few names, list all.

    Examples
    --------
    >>> nearest("minst", ["mnist", "digits"])
    "did you mean 'mnist'? Known: digits, mnist"
    >>> nearest("minst", ["mnist", "digits", "kmnist", "dsprites", "fashion-mnist"])
    "did you mean 'mnist'?"
    >>> nearest("xyzzy", ["mnist", "digits"])
    'known: digits, mnist'
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    names = ", ".join(known)
    if not close:
        return f"known: {names}"
    return f"did you mean {close[0]!r}?" + (f" Known: {names}" if len(known) <= _FEW else "")


def counted(n: int, noun: str, plural: str = "") -> str:
    """Write how many there are of something; the plural is the noun with an s if it is not given.

    Examples
    --------
    >>> counted(1, "row"), counted(2000, "row"), counted(2, "category", "categories")
    ('1 row', '2,000 rows', '2 categories')
    """
    return f"{n:,} {noun if n == 1 else plural or f'{noun}s'}"


def some(names: Sequence[str], most: int = 3) -> str:
    """Return the first few names, and how many more there are.

    Examples
    --------
    >>> some(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
