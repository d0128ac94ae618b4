"""The mixed likelihood: each column against scipy, missing cells, and a whole training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import elboroom
from elboroom.config import Config
from elboroom.config.columns import Column
from elboroom.data.columns import from_columns
from elboroom.errors import UsageError
from elboroom.probability.mixed import MixedHead
from elboroom.training.prepare import build

NAN = float("nan")
# The families alternate, so that a wrong order of columns shows.
COLUMNS = (
    Column(name="age", kind="real", location=40.0, scale=12.0),
    Column(name="job", kind="category", categories=("cook", "nurse", "smith")),
    Column(name="smokes", kind="boolean", categories=("no", "yes")),
    Column(name="size", kind="real", location=-1.0, scale=0.1),
    Column(name="town", kind="category", categories=("a", "b")),
)
ROWS = torch.tensor([[31.0, 2, 1, -1.2, 0], [NAN, 0, 0, -0.7, NAN], [NAN] * 5], dtype=torch.float64)


def _head_and_features() -> tuple[Any, torch.Tensor]:
    head = MixedHead((5,), columns=COLUMNS).double()
    torch.manual_seed(0)
    return head, torch.randn(4, 3, *head.in_shape, dtype=torch.float64)


def _softmax(logits: Any) -> Any:
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def test_each_column_agrees_with_scipy() -> None:
    head, features = _head_and_features()
    found = head(features).log_prob_by_column(ROWS).numpy()
    f = features.numpy()
    gaussian, categorical, bernoulli = f[..., :4], f[..., 4:9], f[..., 9]
    scale = np.logaddexp(0, gaussian[..., 2:] + np.log(np.expm1(1 - 1e-3))) + 1e-3
    jobs, towns = _softmax(categorical[..., :3]), _softmax(categorical[..., 3:])
    for k in range(4):
        for b, row in enumerate(ROWS.tolist()):
            age = stats.norm(40 + 12 * gaussian[k, b, 0], 12 * scale[k, b, 0]).logpdf(row[0])
            size = stats.norm(-1 + 0.1 * gaussian[k, b, 1], 0.1 * scale[k, b, 1]).logpdf(row[3])
            smokes = stats.bernoulli(1 / (1 + np.exp(-bernoulli[k, b]))).logpmf(row[2])
            job = NAN if np.isnan(row[1]) else np.log(jobs[k, b, int(row[1])])
            town = NAN if np.isnan(row[4]) else np.log(towns[k, b, int(row[4])])
            wanted = np.nan_to_num([age, job, smokes, size, town])
            np.testing.assert_allclose(found[k, b], wanted, atol=1e-6)  # scales pass through float32


def test_the_sum_over_columns_is_the_log_likelihood_and_gradients_ignore_missing_cells() -> None:
    head, features = _head_and_features()
    p = head(features.requires_grad_())
    assert torch.equal(p.log_prob(ROWS), p.log_prob_by_column(ROWS).sum(-1))
    assert p.log_prob(ROWS)[:, 2].eq(0).all()
    p.log_prob(ROWS).sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()
    assert features.grad[:, 2].eq(0).all()
    assert features.grad[:, 1, 0].eq(0).all()
    assert features.grad[:, 0].ne(0).all()


def test_the_encoder_sees_standardised_numbers_categories_and_holes() -> None:
    head, _ = _head_and_features()
    assert head.input_shape == (13,)
    seen = head.standardize(ROWS)
    np.testing.assert_allclose(seen[0], [-0.75, -2, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(seen[1], [0, 3, 1, 0, 0, 0, 0, -1, 1, 0, 0, 0, 1], atol=1e-6)
    assert seen[2].tolist() == [0] * 8 + [1] * 5


def test_draws_have_the_probabilities_of_the_features() -> None:
    head, features = _head_and_features()
    torch.manual_seed(1)
    drawn = head(features[:1, :1].expand(20000, 1, -1)).sample()[:, 0]
    jobs = _softmax(features[0, 0, 4:7].numpy())
    counts = np.bincount(drawn[:, 1].long(), minlength=3) / 20000
    np.testing.assert_allclose(counts, jobs, atol=0.015)
    np.testing.assert_allclose(drawn[:, 2].mean(), torch.sigmoid(features[0, 0, 9]), atol=0.015)
    np.testing.assert_allclose(drawn[:, 0].mean(), 40 + 12 * features[0, 0, 0], atol=0.4)
    assert head(features).mean[0, 0, 1] == features[0, 0, 4:7].argmax()


def test_a_table_with_holes_is_trained_and_loaded_again(tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    job = rng.integers(0, 3, 600)
    age = 30 + 10 * job + 3 * rng.standard_normal(600)
    age[rng.random(600) < 0.1] = np.nan
    jobs = np.array(["cook", "nurse", "smith"], object)[job]
    jobs[rng.random(600) < 0.1] = None
    data = from_columns({"age": age, "job": jobs, "smokes": rng.random(600) < 0.3})
    config = Config().updated(hidden=(32,), epochs=8, batch_size=50, lr=5e-3, seed=1)
    vae = build(config, data)
    history = elboroom.fit(vae, data, config=config, out=tmp_path / "run", quiet=True)
    assert history[-1]["val_loss"] < history[0]["val_loss"] - 0.3
    again = elboroom.load(tmp_path / "run")
    x = data.x[:20]
    assert torch.equal(again.embed(x), vae.embed(x))
    assert again.config.columns == vae.config.columns
    assert again.config.columns[0].location == pytest.approx(np.nanmean(age), abs=1)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([1.0, 3, 0, 0, 0], "column 'job': 3 is not the number of a category; they are 0 to 2"),
        ([np.inf, 0, 0, 0, 0], "column 'age': a value is infinite"),
    ],
)
def test_wrong_cells_are_refused_by_column(row: list[float], said: str) -> None:
    vae = elboroom.VAE.build(shape=(5,), likelihood="mixed", columns=COLUMNS, hidden=(4,))
    with pytest.raises(UsageError) as error:
        vae.embed(np.array([row], np.float32))
    assert said in str(error.value).replace('"', "'")
