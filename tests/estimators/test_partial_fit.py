"""Training batch by batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from elboroom.errors import FailureError
from elboroom.sklearn import VAETransformer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 1)) @ [[1.0, -2.0, 3.0]] + 0.3 * RNG.normal(size=(600, 3))


def model(**options: Any) -> VAETransformer:
    return VAETransformer(1, hidden=(16,), learning_rate=0.01, random_state=0, batch_size=50, **options)


@pytest.mark.parametrize("likelihood", ["auto", "gaussian"])
def test_it_learns_over_batches_and_repeats(likelihood: str) -> None:
    one, other = model(likelihood=likelihood), model(likelihood=likelihood)
    before = torch.random.get_rng_state()
    scores = []
    for _ in range(5):
        for batch in np.split(X, 3):
            one.partial_fit(batch)
            other.partial_fit(batch)
        scores.append(one.score(X))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert scores[-1] > scores[0] + 0.5
    assert np.array_equal(one.transform(X), other.transform(X))
    assert one.n_iter_ == len(one.history_) == 15


def test_adams_state_is_kept_between_calls() -> None:
    one = model().partial_fit(X)
    state = one._trainer.optimizer.state_dict()["state"][0]["step"]
    assert state == 12
    one.partial_fit(X)
    assert one._trainer.optimizer.state_dict()["state"][0]["step"] == 24
    assert not np.shares_memory(
        next(one.vae_.parameters()).detach().numpy(), next(one._trainer.vae.parameters()).detach().numpy()
    )


def test_it_continues_from_a_fitted_model_and_fit_starts_anew() -> None:
    one = model(epochs=20).fit(X)
    score, fresh = one.score(X), one.transform(X)
    one.partial_fit(X)
    assert one.score(X) > score - 0.3
    assert np.array_equal(one.fit(X).transform(X), fresh)
    assert not hasattr(one, "_trainer")


def test_a_loss_that_is_not_finite_leaves_the_model_as_it_was() -> None:
    one = model().partial_fit(X)
    before = one.transform(X)
    with pytest.raises(FailureError, match="the loss is"):
        one.partial_fit(1e30 * X)
    assert np.array_equal(one.transform(X), before)
