"""Which combinations elboroom accepts, and which of those are tried."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache

from elboroom.errors import UsageError

from .combinations import ALL, Combination, config_of


@cache
def refused() -> dict[Combination, str]:
    """Combinations that elboroom refuses, each with what it says."""
    found = {}
    for one in ALL:
        try:
            config_of(one)
        except UsageError as error:
            found[one] = str(error)
    return found


ACCEPTED: tuple[Combination, ...] = tuple(one for one in ALL if one not in refused())


Aspect = Callable[[Combination], tuple[object, ...]]
ONCE: tuple[Aspect, ...] = (
    lambda one: (one.recipe,),
    lambda one: (one.likelihood,),
    lambda one: (one.network, one.told),
    lambda one: (one.network, "num_samples" in one.fields),
)
EACH: tuple[Aspect, ...] = (
    *ONCE,
    lambda one: (one.network, one.likelihood),
)


def covering(combinations: Sequence[Combination], aspects: Sequence[Aspect]) -> tuple[Combination, ...]:
    """Few that show all there is of each aspect: first those that show most that is new."""
    shown = {one: {(i, aspect(one)) for i, aspect in enumerate(aspects)} for one in combinations}
    chosen: list[Combination] = []
    met: set[tuple[int, tuple[object, ...]]] = set()
    for new in range(len(aspects), 0, -1):
        for one in combinations:
            if len(shown[one] - met) >= new:
                chosen.append(one)
                met |= shown[one]
    return tuple(chosen)


_WHOLE = os.environ.get("ELBOROOM_BATTERY") == "all"
USED = TRAINED = ACCEPTED if _WHOLE else covering(ACCEPTED, EACH)
"""What is asked for a pass, put to use and trained: every recipe, and every network with every likelihood.

``make battery`` tries all that are accepted.
"""
RESUMED = ACCEPTED if _WHOLE else covering(ACCEPTED, ONCE)
"""What is resumed, trained in each precision, and by two processes: every recipe, network and likelihood."""
