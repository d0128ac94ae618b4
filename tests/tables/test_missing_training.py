"""Training with holes: gradients, the bound of several samples, and cells hidden from the encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elboroom
from elboroom.config import Config
from elboroom.config.columns import Column
from elboroom.data.columns import from_columns
from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.objectives import Objective, elbo, iwae, recipe
from elboroom.training.prepare import build

from .exact import conditional, draw, linear_gaussian

THREE = (
    Column(name="a", kind="real", location=5.0, scale=2.0),
    Column(name="b", kind="category", categories=("x", "y", "z")),
    Column(name="c", kind="real", location=-1.0, scale=0.5),
)


def _table(n: int = 400) -> Any:
    """A table of one factor with a tenth of its cells missing."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=n)
    cells = {name: w * z + 0.3 * rng.normal(size=n) for name, w in (("a", 2.0), ("b", -1.0), ("c", 0.5))}
    for values in cells.values():
        values[rng.random(n) < 0.1] = np.nan
    return from_columns(cells)


@pytest.mark.parametrize(("bound", "k"), [(elbo, 1), (elbo, 3), (iwae(), 5)])
def test_a_column_without_a_single_cell_leaves_the_gradient_of_a_model_without_it(bound: Any, k: int) -> None:
    torch.manual_seed(0)
    whole = VAE.build(shape=(3,), likelihood="mixed", columns=THREE, hidden=(7,), latent_dim=2).double()
    less = VAE.build(shape=(2,), likelihood="mixed", columns=THREE[:2], hidden=(7,), latent_dim=2).double()
    # Inputs of the encoder: a, c, one-hot b, and the three flags; features: means of a, c, their scales, b.
    seen, features = [0, 2, 3, 4, 5, 6], [0, 2, 4, 5, 6]
    with torch.no_grad():
        for mine, other in zip(less.parameters(), whole.parameters(), strict=True):
            if mine.shape == other.shape:
                mine.copy_(other)
        less.encoder[0].weight.copy_(whole.encoder[0].weight[:, seen])
        less.encoder[0].bias.copy_(whole.encoder[0].bias + whole.encoder[0].weight[:, 7])  # its flag is 1
        less.decoder[-1].weight.copy_(whole.decoder[-1].weight[features])
        less.decoder[-1].bias.copy_(whole.decoder[-1].bias[features])
    x = torch.tensor([[4.0, 0], [7.5, 2], [torch.nan, 1], [5.5, torch.nan]], dtype=torch.float64)
    losses = []
    for vae, rows in ((less, x), (whole, torch.cat([x, torch.full((4, 1), torch.nan).double()], 1))):
        torch.manual_seed(1)
        loss = Objective(bound=bound, num_samples=k)(vae(rows, k), 0)
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    close = {"rtol": 1e-10, "atol": 1e-12}
    torch.testing.assert_close(less.encoder[0].weight.grad, whole.encoder[0].weight.grad[:, seen], **close)
    torch.testing.assert_close(less.encoder[0].bias.grad, whole.encoder[0].bias.grad, **close)
    torch.testing.assert_close(less.decoder[-1].weight.grad, whole.decoder[-1].weight.grad[features], **close)
    assert whole.decoder[-1].weight.grad[[1, 3]].eq(0).all()


def test_missing_iwae_is_the_bound_of_the_observed_cells_and_tightens_with_k() -> None:
    config = recipe("missing-iwae")
    assert (config.objective.bound, config.objective.num_samples) == ("iwae", 20)
    vae = linear_gaussian(widening=1.6)
    rows = torch.from_numpy(np.where(np.arange(4) % 3 == 1, np.nan, draw(1)).repeat(4000, 0))
    exact = linear_gaussian().nll(rows[:1], 2).value.item()
    torch.manual_seed(0)
    gaps = []
    for k in (2, 20, 100):
        objective = Objective.from_config(config.updated(num_samples=k).objective, 1)
        gaps.append(objective(vae(rows, k), 0).item() - exact)
    assert 0.01 < gaps[1] < gaps[0] / 4
    assert 0 < gaps[2] < gaps[1] / 3
    terms = vae(rows, 20)
    by_hand = terms.likelihood.log_prob_by_column(rows)[..., [0, 2, 3]].sum(-1)
    assert torch.equal(by_hand, terms.log_likelihood)  # the sum over the observed columns alone
    log_w = by_hand + terms.prior.log_prob(terms.z) - terms.posterior.log_prob(terms.z)
    found = Objective.from_config(config.objective, 1)(terms, 0)
    torch.testing.assert_close(found, -(log_w.logsumexp(0) - np.log(20)).mean())


def test_dropped_cells_are_hidden_from_the_encoder_and_scored_all_the_same() -> None:
    vae = VAE.build(shape=(3,), likelihood="mixed", columns=THREE, hidden=(7,), drop_cells=0.4)
    x = torch.tensor([[4.0, 0.0, -1.0], [torch.nan, 2.0, 0.0]]).repeat(5000, 1)
    vae.train()
    torch.manual_seed(0)
    seen = vae.likelihood.standardize(x)
    hidden = seen[:, -3:].bool()
    share = hidden[:, 1:].float().mean(0)
    assert ((share - torch.tensor([0.4, 0.4])).abs() < 0.02).all()
    assert hidden[1::2, 0].all()
    assert seen[:, 2:5][hidden[:, 1]].eq(0).all()
    assert (seen[:, 2:5].sum(1) == (~hidden[:, 1])).all()
    terms = vae(x)
    each = terms.likelihood.log_prob_by_column(x)[0]
    assert each[:, 1:].ne(0).all()
    assert each[1::2, 0].eq(0).all()
    again = [vae.encode(x).mean for _ in range(2)]  # in use nothing is hidden
    assert torch.equal(*again)
    assert len(again[0].round(decimals=4).unique(dim=0)) == 2


def test_dropped_cells_give_a_bound_below_the_one_without() -> None:
    """Exact on the linear-Gaussian model: log p(x_obs) − E KL(p(z|kept) ‖ p(z|observed))."""
    vae = linear_gaussian()
    x = torch.from_numpy(draw(1).repeat(20_000, 0))
    exact = vae.nll(x[:1], 2).value
    vae.likelihood.drop_cells = 0.5
    torch.manual_seed(0)
    vae.train()
    with torch.no_grad():
        terms = vae(x)
        bound = elbo(terms, torch.tensor(1.0))
        q, full = terms.posterior, linear_gaussian().encode(x[:1])
        normal = torch.distributions.MultivariateNormal
        gap = torch.distributions.kl_divergence(
            normal(q.mean, q.covariance), normal(full.mean, full.covariance)
        )
        assert gap.mean() > 0.5
        noise = (-exact - bound - gap).std() / np.sqrt(len(x))
        assert (-exact - bound).mean().item() == pytest.approx(gap.mean().item(), abs=4 * noise.item())


def test_a_training_with_dropped_cells_resumes_exactly(tmp_path: Path) -> None:
    data = _table()
    config = Config().updated(hidden=(16,), batch_size=50, drop_cells=0.3, epochs=4)
    whole = build(config, data)
    elboroom.fit(whole, data, config=config, out=tmp_path / "whole", quiet=True)
    for epochs in (2, 4):
        vae = build(config, data)
        part = config.updated(epochs=epochs)
        elboroom.fit(vae, data, config=part, out=tmp_path / "parts", resume=epochs == 4, quiet=True)
    for a, b in zip(whole.parameters(), vae.parameters(), strict=True):
        assert torch.equal(a, b)
    assert elboroom.load(tmp_path / "parts").likelihood.drop_cells == 0.3
    # Accumulated over two halves of each batch, the noise is that of the whole batch.
    halves = build(config, data)
    half = config.updated(batch_size=25, accumulate=2)
    elboroom.fit(halves, data, config=half, quiet=True)
    for a, b in zip(whole.parameters(), halves.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_drop_cells_is_for_tables() -> None:
    with pytest.raises(UsageError, match=r"drop_cells = 0\.2 requires likelihood = 'mixed'"):
        VAE.build(shape=(3,), drop_cells=0.2)
    with pytest.raises(UsageError, match=r"drop_cells"):
        VAE.build(shape=(3,), likelihood="mixed", columns=THREE, drop_cells=1.0)
    assert Config().updated(drop_cells=0.2).model.drop_cells == 0.2  # auto becomes mixed on a table


def test_a_trained_model_imputes_nearly_as_well_as_the_exact_conditional() -> None:
    rows = draw(3000)
    rng = np.random.default_rng(1)
    holes = np.where(rng.random(rows.shape) < 0.2, np.nan, rows)
    data = from_columns({name: holes[:, i] for i, name in enumerate("abcd")})
    config = recipe("missing-iwae", latent_dim=2, hidden=(32,), epochs=20, batch_size=100, lr=5e-3)
    vae = build(config, data)
    elboroom.fit(vae, data, config=config, quiet=True)
    tried = holes[:300]
    found = elboroom.tables.impute(vae, tried, 300).x
    best = tried.copy()
    for row in best:
        hole = np.isnan(row)
        if hole.any():
            row[hole] = conditional(row.copy())[0]
    scale = rows.std(0)
    missing = np.isnan(tried)

    def error(filled: Any) -> Any:
        return np.sqrt((((filled - rows[:300]) / scale)[missing] ** 2).mean())

    assert error(best) < 0.6
    assert error(found) < 1.1 * error(best)
