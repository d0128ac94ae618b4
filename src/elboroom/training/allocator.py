"""Let glibc keep freed memory for reuse, in a process that does nothing but train.

A step frees and allocates the same megabytes again. By default glibc may return them to the system, so that
every page faults at the next step. The setting holds for the whole process and cannot be undone exactly, as
glibc stops adapting its thresholds; so the command line makes it and :func:`elboroom.fit` does not.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# The largest value that glibc accepts for the size from which blocks are mapped one by one.
_LARGEST_MMAP_THRESHOLD = 32 << 20
# Free memory at the top of the heap from which it is returned to the system.
_TRIM_ABOVE = 512 << 20


def keep_freed_memory() -> bool:
    """Let glibc keep freed blocks of up to 32 MB for reuse, in the whole process and until it ends.

    Elsewhere nothing happens. Call it before :func:`elboroom.fit` in a script of your own that may
    use up to 512 MB more memory: convolutional networks and bounds of many samples then train 10 to 20 %
    faster on a CPU.

    Returns
    -------
    bool
        Whether the allocator accepted it.
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
