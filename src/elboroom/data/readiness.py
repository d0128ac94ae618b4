"""Whether there are enough examples of each class to train on."""

from __future__ import annotations

from collections.abc import Mapping

LEAST = 30  # examples of each class
MOST_TIMES = 10  # as many examples of one class as of another


def problems(counts: Mapping[str, int], what: str = "examples") -> list[str]:
    """Say why a data set with so many examples of each class is not fit to train on; empty if it is.

    Examples
    --------
    >>> problems({"people": 144, "dogs": 140})
    []
    >>> problems({"people": 144, "dogs": 9})
    ['there are too few examples to train on: 9 of dogs; at least 30 of each']
    >>> problems({"people": 900, "dogs": 40}, "faces")
    ['there are 22 times as many faces of people as of dogs (900 and 40); more than 10 times is too many']
    """
    if not counts:
        return [f"there are no {what}"]
    few = {name: count for name, count in counts.items() if count < LEAST}
    found = []
    if few:
        listed = ", ".join(f"{count} of {name}" for name, count in few.items())
        found.append(f"there are too few {what} to train on: {listed}; at least {LEAST} of each")
    most, least = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
    if not few and counts[most] > MOST_TIMES * counts[least]:
        found.append(
            f"there are {counts[most] // counts[least]} times as many {what} of {most} as of {least} "
            f"({counts[most]:,} and {counts[least]:,}); more than {MOST_TIMES} times is too many"
        )
    return found
