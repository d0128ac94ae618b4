"""Which examples are seen when: a function of seed and epoch alone."""

from __future__ import annotations

import numpy as np
import pytest

from elboroom.config import TrainingConfig
from elboroom.training.order import epoch_order, steps_per_epoch

INDICES = np.arange(3, 3 * 54, 3)  # 53 examples, in places that a mere count would miss


def flat(epoch: int, **fields: int) -> list[int]:
    return np.concatenate(epoch_order(INDICES, TrainingConfig(batch_size=8, **fields), epoch)).tolist()


def test_a_pass_is_a_permutation_with_its_last_small_batch() -> None:
    batches = epoch_order(INDICES, TrainingConfig(batch_size=8), 0)
    assert [len(batch) for batch in batches] == [8, 8, 8, 8, 8, 8, 5]
    assert sorted(np.concatenate(batches)) == INDICES.tolist()
    assert flat(0) != INDICES.tolist()


@pytest.mark.parametrize("fields", [{}, {"batches_per_epoch": 4}])
def test_depends_on_seed_and_epoch_alone(fields: dict[str, int]) -> None:
    first = flat(3, seed=1, **fields)
    np.random.seed(0)  # noqa: NPY002 — the generator of others must not matter
    flat(9, seed=4)
    assert flat(3, seed=1, **fields) == first
    # 53! orders and 53^32 draws: two alike would be no chance.
    others = [flat(4, seed=1, **fields), flat(3, seed=2, **fields), flat(1, seed=3, **fields)]
    assert first not in others


@pytest.mark.parametrize(("batches", "size"), [(1, 1), (4, 8), (3, 100)])
def test_with_replacement_draws_exactly_as_many(batches: int, size: int) -> None:
    config = TrainingConfig(batch_size=size, batches_per_epoch=batches)
    drawn = epoch_order(INDICES, config, 0)
    assert [len(batch) for batch in drawn] == [size] * batches
    assert set(np.concatenate(drawn)) <= set(INDICES)
    assert steps_per_epoch(len(INDICES), config) == batches


def test_with_replacement_every_example_is_as_likely_and_some_come_twice() -> None:
    drawn = np.concatenate(epoch_order(INDICES, TrainingConfig(batch_size=53, batches_per_epoch=400), 0))
    counts = np.bincount(np.searchsorted(INDICES, drawn), minlength=53)
    # Chi-square of 52 degrees of freedom: mean 52, standard deviation √104; five of them are never passed
    # by chance.
    assert np.square(counts - 400).sum() / 400 < 52 + 5 * np.sqrt(104)
    assert len(set(drawn[:53])) < 53


@pytest.mark.parametrize(("examples", "size", "steps"), [(53, 8, 7), (56, 8, 7), (57, 8, 8), (3, 100, 1)])
def test_steps_of_a_pass(examples: int, size: int, steps: int) -> None:
    config = TrainingConfig(batch_size=size)
    assert steps_per_epoch(examples, config) == steps
    assert len(epoch_order(np.arange(examples), config, 0)) == steps
