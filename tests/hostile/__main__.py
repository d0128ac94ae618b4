"""Count hostile inputs that get a bad answer: ``python -m tests.hostile [long]``."""

from __future__ import annotations

import collections
import sys

from .everything import all_cases, judged

if __name__ == "__main__":
    wanted = all_cases(long="long" in sys.argv)
    bad: collections.Counter[str] = collections.Counter()
    total: collections.Counter[str] = collections.Counter()
    for case, complaints in judged(wanted):
        total[case.kind] += 1
        bad[case.kind] += bool(complaints)
        for complaint in complaints[:1]:
            print(f"{case}: {complaint}".encode("unicode_escape").decode(), flush=True)
    for kind, count in total.items():
        print(f"{kind:<16} {bad[kind]:>5} of {count:>5}")
    print(f"{sum(bad.values())} of {sum(total.values())} hostile inputs get a bad answer")
