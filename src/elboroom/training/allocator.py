"""Keep freed memory: a step frees and asks for the same megabytes again, and each time they page-fault."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# The largest that glibc takes for the first; the second is when it gives memory back to the system.
_LARGEST_MMAP_THRESHOLD = 32 << 20
_TRIM_ABOVE = 512 << 20


def keep_freed_memory() -> bool:
    """Let glibc keep freed blocks of up to 32 MB for reuse; elsewhere nothing happens.

    Returns
    -------
    bool
        Whether the allocator was told so.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False  # another C library
    return bool(
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD) and mallopt(_M_TRIM_THRESHOLD, _TRIM_ABOVE)
    )
