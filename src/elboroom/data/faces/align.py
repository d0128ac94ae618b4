"""How the photos of each folder are aligned, and the size of the crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, get_args

import numpy as np

from elboroom.data.preparation import Align
from elboroom.errors import UsageError, nearest

ALIGNS: tuple[str, ...] = get_args(Align)
AUTO: Align = "auto"


def checked_shape(size: Any, channels: Any) -> tuple[int, int, int]:
    """Return height, width and channels of a crop.

    Raises
    ------
    UsageError
        If they are not 8 to 1024 pixels, or 1 or 3 channels.
    """
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(sides) != 2 or not all(isinstance(side, int | np.integer) and 8 <= side <= 1024 for side in sides):
        raise UsageError(f"size is {size!r}; give a whole number of pixels, 8 to 1024, or height and width")
    if channels not in (1, 3):
        raise UsageError(f"channels is {channels!r}; it must be 1 (grey) or 3 (colour)")
    return int(sides[0]), int(sides[1]), int(channels)


def parse_align(words: Sequence[str], kinds: Sequence[str]) -> dict[str, Align]:
    """Read the alignment method of each folder, as in ``people=detect dogs=crop``, or one word for all.

    Parameters
    ----------
    words : sequence of str
        ``FOLDER=METHOD`` for some folders, or ``METHOD`` for all others.
    kinds : sequence of str
        The names of the folders.

    Returns
    -------
    dict of str to str
        One of `ALIGNS` for each folder; "auto" where none is given.

    Raises
    ------
    UsageError
        For an unknown folder or method, or two methods for one folder.

    Examples
    --------
    >>> parse_align(["dogs=crop"], ["people", "dogs"])
    {'people': 'auto', 'dogs': 'crop'}
    >>> parse_align(["none"], ["people", "dogs"])
    {'people': 'none', 'dogs': 'none'}
    """
    given: dict[str, Align] = {}
    for word in words:
        kind, equals, method = word.rpartition("=")
        if method not in ALIGNS:
            raise UsageError(
                f"align {word!r}: {method!r} is not an alignment method; choose one of {', '.join(ALIGNS)}"
            )
        if equals and kind not in kinds:
            raise UsageError(f"align {word!r}: no folder is named {kind!r}; {nearest(kind, kinds)}")
        if kind in given:
            what = f"{kind!r} is given two methods" if kind else "all folders are given two methods"
            raise UsageError(f"align {word!r}: {what}, {given[kind]} and {method}; give one")
        given[kind] = cast("Align", method)
    return {kind: given.get(kind, given.get("", AUTO)) for kind in kinds}
