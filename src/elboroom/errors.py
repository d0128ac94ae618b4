"""The two errors a user may meet, the exit code each carries, and warnings."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ElboroomError(Exception):
    """Base of both; its text is one line that names the value, what is allowed and the fix."""

    exit_code = 1


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
