"""Batches whose gradients are added up make the step of one batch of as many examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from elboroom.config import Config
from elboroom.data import Dataset, load_data
from elboroom.errors import UsageError
from elboroom.objectives.recipes import recipe
from elboroom.training.loop import Training
from elboroom.training.prepare import build


@pytest.fixture(scope="module")
def some_digits() -> Dataset:
    digits = load_data("digits")
    assert digits.labels is not None
    split = np.zeros(230, np.int64)
    names = digits.label_names
    return Dataset("some digits", digits.x[:230], split, digits.labels[:230], names, digits.scale)


def trained(config: Config, data: Dataset) -> Training:
    training = Training(build(config, data), data, config, quiet=True)
    training.run()
    return training


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vae", {}),
        ("vae", {"binarize": "stochastic", "flip": True, "clip": 1.0, "validation": 0.1}),
        ("vae", {"batches_per_epoch": 4, "optimizer": "SGD", "lr": 1e-3}),
        ("iwae", {"num_samples": 3}),
        ("vae", {"condition": "labels"}),
        ("two-layer", {"hidden": None}),
        ("full-covariance", {}),
        ("vae", {"likelihood": "gaussian"}),
    ],
)
def test_accumulated_batches_are_one_batch(name: str, options: dict[str, Any], some_digits: Dataset) -> None:
    # 60 does not divide 230, nor 20 the last step's 50: all pieces must count by their size.
    base = {"hidden": [12], "latent_dim": 2, "epochs": 2, "precision": "fp32", "validation": 0.0, "seed": 3}
    fields = {key: value for key, value in {**base, **options}.items() if value is not None}
    if options.get("hidden", ...) is None:
        del fields["latent_dim"]
    whole = trained(recipe(name, Config(), batch_size=60, **fields), some_digits)
    pieces = trained(recipe(name, Config(), batch_size=20, accumulate=3, **fields), some_digits)
    assert pieces.engine.steps == whole.engine.steps
    for (key, a), b in zip(
        pieces.engine.vae.state_dict().items(), whole.engine.vae.state_dict().values(), strict=True
    ):
        # float32 sums in another order, through eight steps of Adam.
        assert torch.allclose(a, b, rtol=2e-4, atol=2e-6), key
    for row, other in zip(pieces.record.history, whole.record.history, strict=True):
        assert row.keys() == other.keys()
        for column in row.keys() - {"seconds", "images_per_second"}:
            expected = other[column]
            assert row[column] == expected or row[column] == pytest.approx(expected, rel=1e-4), column


def test_a_batch_that_the_model_keeps_statistics_of_is_not_divided(some_digits: Dataset) -> None:
    config = recipe("vq-vae", Config(), hidden=[12], accumulate=2)
    with pytest.raises(UsageError, match=r"accumulate = 2: the model keeps statistics of each batch \(\w"):
        Training(build(config, some_digits), some_digits, config, quiet=True)


def test_a_critic_that_is_scaled_by_the_whole_batch_does_not_divide_it(some_digits: Dataset) -> None:
    network = {"network": "spatial", "conv_width": 4, "conv_levels": 1}
    config = recipe("vae-gan", Config(), **network, accumulate=2)
    with pytest.raises(
        UsageError, match=r"accumulate = 2: patch_critic is scaled by .* set accumulate to 1$"
    ):
        Training(build(config, some_digits), some_digits, config, quiet=True)
