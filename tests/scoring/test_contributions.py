"""Parts of a score: their sum, and which of them are unusual."""

from __future__ import annotations

import numpy as np
import pytest

from elboroom.errors import UsageError
from elboroom.scoring.contributions import Contributions, Reason, top_reasons


def test_what_made_a_row_odd_is_what_is_above_the_usual() -> None:
    usual = np.array([5.0, 0.1, -2.0, 1.0])
    rows = Contributions(np.array([[5.5, 3.0, -1.0], [5.0, 0.1, -2.0]]), np.array([1.2, 0.0]))
    np.testing.assert_allclose(rows.total, [8.7, 3.1], rtol=1e-15)
    first, second = top_reasons(rows, ("job", "flag", "height"), usual)
    assert [reason.name for reason in first] == ["flag", "height", "job"]  # not job, which costs most nats
    assert first[0] == Reason("flag", 3.0, 2.9)
    assert second == []  # nothing is above the usual
    (all_of_them, _) = top_reasons(rows, ("job", "flag", "height"), usual, count=9)
    assert all_of_them[-1].name == "latent code"
    assert sum(reason.above for reason in all_of_them) == pytest.approx(8.7 - usual.sum(), abs=1e-12)


def test_columns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="got 1 names and 3 usual parts for 2 columns"):
        top_reasons(Contributions(np.zeros((4, 2)), np.zeros(4)), ("a",), np.zeros(3))
