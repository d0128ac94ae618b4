"""How indices of quantised models are counted and scored, against counting by hand and brute force."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elboroom.config import Config
from elboroom.data import load_data
from elboroom.data.batches import Batches
from elboroom.evaluation import fitters
from elboroom.evaluation.fitting import fit_prior, sampled_codes, score_prior
from elboroom.evaluation.index_statistics import independent_log_prob, use_of_indices, why_alike
from elboroom.models.vae import VAE
from elboroom.objectives import recipe
from elboroom.probability.codes import AutoregressiveCodes
from elboroom.training import fit
from elboroom.training.prepare import build


def rows(n: int, seed: int = 0) -> Tensor:
    """Three places with four codes of unlike frequencies; the last place repeats the first."""
    rng = np.random.default_rng(seed)
    first, second = rng.choice(4, n, p=[0.6, 0.3, 0.1, 0]), rng.choice(4, n, p=[0.25, 0.25, 0.25, 0.25])
    return torch.from_numpy(np.stack([first, second, first], 1))


def test_use_is_that_of_counting_by_hand() -> None:
    indices = rows(500)
    use = use_of_indices(indices, 4)
    assert (use["rows"], use["different_rows"]) == (500, len({tuple(row) for row in indices.tolist()}))
    entropies = []
    for place in indices.T.numpy():
        p = np.bincount(place) / 500
        entropies.append(-(p[p > 0] * np.log(p[p > 0])).sum())
    assert use["perplexity"] == pytest.approx(np.exp(np.mean(entropies)), abs=1e-3)
    assert why_alike(use) is None
    assert why_alike(use_of_indices(indices.clamp(max=0), 4)) is not None


def test_independent_positions_are_their_frequencies() -> None:
    """Products of the frequencies at each place, although the third place repeats the first."""
    seen = rows(4000)
    every = torch.tensor(list(itertools.product(range(4), repeat=3)))
    chances = independent_log_prob(seen, every, 4).exp()
    assert float(chances.sum()) == pytest.approx(1, abs=1e-9)
    shares = [np.bincount(place, minlength=4) / 4000 for place in seen.T.numpy()]
    expected = [shares[0][a] * shares[1][b] * shares[2][c] for a, b, c in every.tolist()]
    np.testing.assert_allclose(chances, expected, rtol=0, atol=5e-4)  # a pseudo-count of at most 2


def test_the_pseudo_count_is_the_best_for_rows_left_out() -> None:
    """By brute force: each row is scored by the counts of all others."""
    seen = rows(12)[:, :2]
    one = torch.tensor([[3, 0]])  # 3 is never seen in the first place
    best = (-np.inf, 0.0)
    for more in (2.0**power for power in range(-20, 2)):
        total = 0.0
        for i, place in itertools.product(range(12), range(2)):
            others = np.delete(seen[:, place].numpy(), i)
            total += np.log(((others == seen[i, place].item()).sum() + more) / (11 + 4 * more))
        best = max(best, (total, more))
    more = best[1]
    expected = sum(
        np.log(((seen[:, i] == one[0, i]).sum().item() + more) / (12 + 4 * more)) for i in range(2)
    )
    assert float(independent_log_prob(seen, one, 4)) == pytest.approx(expected, rel=1e-9)


def test_codes_that_are_the_same_in_all_examples_have_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitters, "_CODE_EPOCHS", 1)
    vae = VAE.build(shape=(6,), hidden=[8], posterior="fsq", code_grid=(3,), fsq_levels=(4,))
    seen, same = rows(40), torch.tensor([[1, 2, 1]] * 9)
    fitted = fit_prior(seen, kind="autoregressive", quantizer=vae.posterior)
    scores = score_prior(vae, fitted, same, seen=seen)
    assert set(scores) == {"fitted", "uniform", "independent", "gain_over_uniform", "gain_over_independent"}
    assert all(one.error is None for one in scores.values())
    assert all(one.error is not None for one in (score_prior(vae, fitted, seen)["fitted"],))


CODES: dict[str, dict[str, Any]] = {
    "vq-vae": {"codebook_size": 16},
    "residual-vq": {"codebook_size": 16, "codebook_depth": 2},
}


@pytest.mark.parametrize("name", CODES)
def test_digits_are_better_explained_than_by_independent_positions(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held-out indices of a model that uses its codes, and draws from the prior."""
    for size, value in {"EPOCHS": 6, "LR": 1e-2}.items():
        monkeypatch.setattr(fitters, f"_CODE_{size}", value)
    monkeypatch.setattr(fitters, "_WIDTH", 16)
    monkeypatch.setattr(fitters, "_LAYERS", 1)
    data = load_data("digits")
    options = {"hidden": (64,), "code_grid": (4,), **CODES[name]}
    config = recipe(name, Config().updated(epochs=8, seed=0), **options)
    vae = build(config, data)
    fit(vae, data, config=config, quiet=True)
    batches = Batches(data, torch.device("cpu"))
    seen, unseen = (sampled_codes(vae, batches, np.asarray(data.indices(part))) for part in ("train", "test"))
    fitted = fit_prior(seen, kind="autoregressive", quantizer=vae.posterior)
    gains = score_prior(vae, fitted, unseen, seen=seen)
    for other in ("uniform", "independent"):
        gain = gains[f"gain_over_{other}"]
        assert gain.error is not None
        assert gain.value > 4 * gain.error
    assert isinstance(fitted.density, AutoregressiveCodes)
    torch.manual_seed(0)
    drawn = fitted.density.sample_indices(200)
    assert drawn.shape == (200, seen.shape[1])
    view = vae.with_prior(fitted.density)
    assert view.sample(5).shape == (5, 8, 8, 1)
    # Draws are as probable as held-out digits, within the spread of both.
    with torch.no_grad():
        own, held = (fitted.density.log_prob_of(some) for some in (drawn, unseen))
    assert abs(float(own.mean() - held.mean())) < 0.15 * abs(float(held.mean()))
