"""What is imputed in a row depends on this row alone, wherever it stands."""

from __future__ import annotations

import numpy as np
import pytest

from elboroom.config.columns import Column
from elboroom.models.vae import VAE
from elboroom.tables import impute

COLUMNS = [
    Column(name="age", kind="real", location=40, scale=12),
    Column(name="pay", kind="positive", location=10, scale=0.5),
    Column(name="kids", kind="count", location=0.5, scale=0.7),
    Column(name="job", kind="category", categories=("cook", "nurse", "smith")),
]


def _rows(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = np.stack(
        [rng.normal(40, 12, n), rng.lognormal(10, 0.5, n), rng.poisson(1.5, n), rng.integers(0, 3, n)], 1
    )
    x[rng.random(x.shape) < 0.4] = np.nan
    x[::7] = np.nan
    return x


@pytest.mark.parametrize("options", [{}, {"missing_mechanism": "self_masking"}, {"posterior": "full"}])
@pytest.mark.parametrize("labels", [False, True])
def test_a_row_is_imputed_alike_wherever_it_stands(options: dict, labels: bool) -> None:
    columns = [column.model_copy(update={"missing": 0.3}) for column in COLUMNS]
    if labels:
        options = {**options, "condition": "labels", "condition_dim": 2}
    vae = VAE.build(shape=(4,), likelihood="mixed", columns=columns, hidden=(8,), **options)
    x = _rows(40)
    condition = np.arange(40) % 2 if labels else None
    found = impute(vae, x, 60, condition=condition)
    some = np.random.default_rng(1).permutation(40)[:23]
    part = impute(vae, x[some], 60, 3, condition=None if condition is None else condition[some])
    for name in ("x", "spread", "ess", "pareto_k"):  # to what float32 products of other sizes differ by
        np.testing.assert_allclose(getattr(part, name), getattr(found, name)[some], rtol=2e-4, err_msg=name)


def test_drawn_tables_are_independent_from_row_to_row() -> None:
    """Rows of one pattern get their own draws: an error common to all rows would not average out."""
    vae = VAE.build(shape=(4,), likelihood="mixed", columns=COLUMNS, hidden=(8,))
    rows = np.full((200, 4), np.nan)
    rows[:, 0] = 40.0
    draws = impute(vae, rows, 400, 2).draws
    pay = np.log(draws[0, :, 1])
    assert np.unique(pay).size == 200
    assert abs(np.corrcoef(pay, np.log(draws[1, :, 1]))[0, 1]) < 4 / np.sqrt(200)
