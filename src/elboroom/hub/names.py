"""Names of repositories on the hub: ``hf://user/name@revision``."""

from __future__ import annotations

import re
from typing import NamedTuple

from elboroom.errors import UsageError, shortened

SCHEME = "hf://"
INSTALL = "pip install 'elboroom[hub]'"
_PART = r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?"
_REPO = re.compile(rf"(?:{_PART}/)?{_PART}")
_REVISION = re.compile(r"[\w./-]{1,200}")


class Place(NamedTuple):
    """A repository, and the branch, tag or commit of it; None for its main branch."""

    repo: str
    revision: str | None

    def __str__(self) -> str:
        return f"{SCHEME}{self.repo}" + (f"@{self.revision}" if self.revision else "")


def read_place(name: str, revision: str | None = None) -> Place:
    """Read ``hf://user/name``, ``hf://user/name@revision`` or the same without ``hf://``.

    Raises
    ------
    UsageError
        If it is no such name, or names a revision and ``revision`` another.

    Examples
    --------
    >>> read_place("hf://me/digits@v1")
    Place(repo='me/digits', revision='v1')
    """
    repo, _, own = name.removeprefix(SCHEME).partition("@")
    if revision is not None and own and own != revision:
        raise UsageError(f"revision = {revision!r}, and {name} names another; give one of them")
    revision = revision or own or None
    wrong = not _REPO.fullmatch(repo) or ".." in repo or "--" in repo
    wrong = wrong or (revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision))
    if wrong:
        raise UsageError(
            f"{shortened(name)} is no name on the hub; write hf://user/name or hf://user/name@revision"
        )
    return Place(repo, revision)
