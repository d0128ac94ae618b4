"""Scales that are learned for each column instead of given by the decoder, and their lower bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from tests.tables.test_families import EVERY, MASSES, cells_of, column_of, draw, softplus_from

import elboroom
from elboroom.config import Config
from elboroom.config.columns import Column
from elboroom.data.columns import from_columns
from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.probability.mixed import MixedHead
from elboroom.training.prepare import build

double = pytest.mark.usefixtures("float64")
RATE = 10.0  # of shared parameters
REAL = Column(name="age", kind="real", location=40.0, scale=12.0)
SIZE = Column(name="size", kind="real", location=-1.0, scale=0.1)
JOB = Column(name="job", kind="category", categories=("cook", "nurse", "smith"))


@double
def test_shared_scales_and_their_bound_agree_with_scipy() -> None:
    head = MixedHead((3,), columns=(REAL, JOB, SIZE), observation_scale="shared", least_scale=0.3)
    assert head.in_shape == (2 + 3,)
    raw = np.array([-0.4, 0.25])
    (own,) = (family for family in head.families if family.shared is not None)
    own.shared.data = torch.from_numpy(raw)
    features = draw(head, 4, 5)
    rows = torch.tensor([[31.0, 2, -1.2], [60, 0, -0.7], [45, 1, -1.1], [0, 0, -1.0], [41, 1, -0.9]])
    found = head(features).log_prob_by_column(rows).detach().numpy()
    scale = softplus_from(RATE * raw, 1, 0.3)
    assert scale[0] == pytest.approx(0.3 + np.log1p(np.exp(-4) * np.expm1(0.7)))
    for i, (place, column) in enumerate(((0, REAL), (2, SIZE))):
        mean = column.location + column.scale * features.numpy()[..., i]
        wanted = stats.norm(mean, column.scale * scale[i]).logpdf(rows[:, place].numpy())
        np.testing.assert_allclose(found[..., place], wanted, rtol=1e-9)


@double
@pytest.mark.parametrize(("kind", "family"), EVERY)
def test_every_family_is_that_of_a_decoder_which_always_gives_these_scales(kind: Any, family: Any) -> None:
    columns = (column_of(kind, family), JOB, column_of(kind, family, "other", scale=3.0))
    free, shared = (MixedHead((3,), columns=columns, observation_scale=scale) for scale in ("cell", "shared"))
    features = draw(shared, 4, 5)
    parts = []
    for i, (one, each) in enumerate(zip(shared.families, features.split(shared._widths, -1), strict=True)):
        if one.shared is not None:
            one.shared.data = torch.linspace(-0.2, 0.3, len(one.shared))
            each = torch.cat([each, RATE * one.shared.data.expand(4, 5, -1)], -1)
        assert each.shape[-1] == free._widths[i]
        parts.append(each)
    cells = torch.arange(5.0) % 2 if (kind, family) in MASSES else torch.from_numpy(cells_of(kind)[:5])
    rows = torch.stack([cells, torch.arange(5.0) % 3, cells], -1)
    found = shared(features).log_prob_by_column(rows)
    assert torch.equal(found, free(torch.cat(parts, -1)).log_prob_by_column(rows))


@pytest.mark.parametrize("least", [1e-3, 0.4])
def test_the_scale_of_maximum_likelihood_is_the_standard_deviation_or_the_bound(least: float) -> None:
    x = torch.randn(500, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = x * torch.tensor([0.2, 3.0]) + 1
    columns = [Column(name=name, kind="real") for name in "ab"]
    head = MixedHead((2,), columns=columns, observation_scale="shared", least_scale=least).double()
    mean = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([mean, *head.parameters()], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        value = -head(mean.expand(500, 2)).log_prob(x).mean()
        value.backward()
        return value

    search.step(loss)
    scale = np.asarray(softplus_from(RATE * head.families[0].shared.detach().numpy(), 1, least))
    wanted = np.maximum(x.std(0, correction=0).numpy(), least)
    np.testing.assert_allclose(scale, wanted, rtol=1e-3)


def test_a_trained_model_is_saved_loaded_and_resumed_with_its_scales(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cells = {"a": rng.normal(size=300), "n": rng.poisson(3.0, 300), "j": rng.choice(["x", "y"], 300)}
    data = from_columns(cells, kinds={"n": "count"})
    config = Config().updated(
        hidden=(16,), batch_size=50, epochs=4, observation_scale="shared", least_scale=0.2
    )
    whole = build(config, data)
    elboroom.fit(whole, data, config=config, out=tmp_path / "whole", quiet=True)
    for epochs in (2, 4):
        vae = build(config, data)
        part = config.updated(epochs=epochs)
        elboroom.fit(vae, data, config=part, out=tmp_path / "parts", resume=epochs == 4, quiet=True)
    for a, b in zip(whole.parameters(), vae.parameters(), strict=True):
        assert torch.equal(a, b)
    loaded = elboroom.load(tmp_path / "parts")
    assert (loaded.likelihood.observation_scale, loaded.likelihood.least_scale) == ("shared", 0.2)
    shared = [family.shared for family in loaded.likelihood.families]
    assert [scale is None for scale in shared] == [False, False, True]
    assert all(scale.abs().min() > 0 for scale in shared if scale is not None)
    x = torch.as_tensor(data.x[:20])
    assert torch.equal(
        loaded.likelihood(torch.zeros(4)).log_prob(x), whole.likelihood(torch.zeros(4)).log_prob(x)
    )


def test_a_model_saved_before_there_were_shared_scales_loads(tmp_path: Path) -> None:
    vae = VAE.build(shape=(1,), likelihood="mixed", columns=(REAL,), hidden=(4,))
    assert not [name for name in vae.state_dict() if "shared" in name]
    vae.save(tmp_path / "model.safetensors")
    assert elboroom.load(tmp_path / "model.safetensors").likelihood.in_shape == (2,)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"observation_scale": "shared"}, r"observation_scale = 'shared' requires likelihood = 'mixed'"),
        ({"least_scale": 0.1}, r"least_scale = 0\.1 requires likelihood = 'mixed'"),
        ({"likelihood": "mixed", "least_scale": 0.5}, r"least_scale = 0\.5: must be below 0\.5"),
        (
            {"likelihood": "mixed", "observation_scale": "row"},
            r"observation_scale = 'row': must be 'cell' or",
        ),
    ],
)
def test_what_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        VAE.build(shape=(1,), **({"columns": (REAL,)} if "likelihood" in options else {}), **options)
