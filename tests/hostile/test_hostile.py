"""Whatever is given to elboroom, the answer is valid or one line that a person can read.

``make hostile`` runs the long form; ``python -m tests.hostile`` counts.
"""

from __future__ import annotations

import os

import pytest

from .everything import all_cases, judged

LONG = os.environ.get("ELBOROOM_HOSTILE") == "long"


def test_every_hostile_input_gets_a_good_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELBOROOM_TRACEBACK", raising=False)
    cases = all_cases(long=LONG)
    bad = [f"{case}: {complaints[0]}" for case, complaints in judged(cases) if complaints]
    assert len(cases) > (2500 if LONG else 500)
    assert not bad, "\n".join(bad)
