"""Hard links, with which an older checkpoint is kept without a copy."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""Errors of file systems without hard links."""


def replace_by_link(source: Path, target: Path) -> bool:
    """Replace ``target`` by a hard link to ``source``; False if the file system has no hard links."""
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        os.link(source, temporary)
        temporary.replace(target)
    except OSError as error:
        if error.errno in NO_LINKS:
            return False
        raise
    finally:
        # Renaming between two links to one file does nothing.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return True
