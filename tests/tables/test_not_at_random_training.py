"""Models that learn why cells are missing: what they correct, refuse, keep and show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elboroom
from elboroom.cli.main import main
from elboroom.config import Config
from elboroom.config.columns import Column
from elboroom.data.batches import Batches
from elboroom.data.columns import from_columns
from elboroom.errors import UsageError
from elboroom.evaluation import evaluate, evaluate_columns, learned_mechanism
from elboroom.models.vae import VAE
from elboroom.training.prepare import build

from .exact import draw, linear_gaussian

FAST = {"hidden": (16,), "latent_dim": 1, "batch_size": 50, "lr": 1e-2, "validation": 0.0}
CONFIG = Config().updated(missing_mechanism="self_masking", decoder_hidden=(), epochs=30, **FAST)


def _censored(n: int = 1500) -> tuple[Any, Any]:
    """Two linear-Gaussian columns, of mean 10 and 0; the first is missing mostly where it is large."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=n)
    x = np.stack([10 + 3 * (z + 0.5 * rng.normal(size=n)), z + 0.5 * rng.normal(size=n)], 1)
    holes = rng.random(n) < 1 / (1 + np.exp(1 - 2 * (x[:, 0] - 10) / 3.35))
    return x, np.where(holes[:, None] & [True, False], np.nan, x)


def _train(x: Any, config: Config, **options: Any) -> VAE:
    data = from_columns({"pay": x[:, 0], "age": x[:, 1]})
    vae = build(config, data)
    elboroom.fit(vae, data, config=config, quiet=True, **options)
    return vae


def test_the_option_removes_the_bias_of_ignoring_the_mechanism() -> None:
    whole, x = _censored()
    holes = np.isnan(x[:, 0])
    found = {}
    for mechanism in ("ignorable", "self_masking"):
        vae = _train(x, CONFIG.updated(missing_mechanism=mechanism))
        torch.manual_seed(0)
        mean = vae.sample(20_000, observe=True)[:, 0].mean().item()
        imputed = elboroom.tables.impute(vae, x[holes], 100).x[:, 0]
        found[mechanism] = mean - whole[:, 0].mean(), (imputed - whole[holes, 0]).mean()
    # Given the other column the missing cells are 1.8 above what regression on the observed ones says.
    assert found["ignorable"][0] < -0.45
    assert found["ignorable"][1] < -1.5
    assert abs(found["self_masking"][0]) < 0.25
    assert abs(found["self_masking"][1]) < 0.45
    (learned,) = learned_mechanism(vae)
    # log-odds rise by 2 for 3.35 units; ``at`` is two deviations of the observed cells apart.
    low, _, high = (at["value"] for at in learned["at"])
    assert learned["name"] == "pay"
    assert learned["slope"] == pytest.approx(2 * (high - low) / 2 / 3.35, rel=0.35)
    assert learned["missing"] == vae.config.columns[0].missing


def test_without_a_slope_the_mechanism_changes_nothing_but_a_constant() -> None:
    rows = np.where(np.arange(4) % 2 == 1, np.nan, draw(3))
    plain, other = linear_gaussian(), linear_gaussian(missing_mechanism="self_masking")
    x = torch.from_numpy(rows)
    torch.manual_seed(0)
    log_weights = plain(x, 3).log_weights
    torch.manual_seed(0)
    # Without a known share the probability begins at one half.
    torch.testing.assert_close(other(x, 3).log_weights, log_weights + 4 * np.log(0.5), atol=1e-7, rtol=0)
    mine, its = (elboroom.tables.impute(vae, rows, 50) for vae in (plain, other))
    np.testing.assert_allclose(mine.x, its.x, rtol=1e-7)
    np.testing.assert_allclose(mine.ess, its.ess, rtol=1e-7)


def test_columns_without_missing_cells_have_no_mechanism() -> None:
    _, x = _censored(200)
    data = from_columns({"pay": x[:, 0], "age": x[:, 1]})
    vae = build(CONFIG, data)
    share = np.isnan(x[data.indices("train"), 0]).mean()
    assert [column.missing for column in vae.config.columns] == [pytest.approx(share), 0.0]
    assert [one["name"] for one in learned_mechanism(vae)] == ["pay"]
    p = vae.decode(np.zeros((1, 1)))
    both = p.log_prob_by_column(torch.tensor([[torch.nan, torch.nan]]))[0]
    assert both[0] < 0
    assert both[1] == 0  # a hole that training had none of is at random
    cells = torch.tensor([[9.0, 0.5]])
    gap = p.log_prob_by_column(cells) - p.log_prob_of_cells(cells)
    assert gap[0, 0] < 0
    assert gap[0, 1] == 0


def test_a_family_without_missing_cells_has_no_parameters() -> None:
    columns = [
        Column(name="pay", kind="real", missing=0.3),
        Column(name="kids", kind="count", missing=0.0),
        Column(name="job", kind="category", categories=("cook", "nurse"), missing=0.0),
    ]
    vae = VAE.build(shape=(3,), likelihood="mixed", columns=columns, missing_mechanism="self_masking")
    assert [p.numel() for p in vae.likelihood.mechanism.parameters()] == [1, 1]
    rows = np.array([[np.nan, 2.0, 1.0], [0.5, np.nan, np.nan], [np.nan, np.nan, np.nan]])
    terms = vae(torch.from_numpy(rows).float(), 4)
    terms.log_weights.sum().backward()
    assert all(p.grad is not None for p in vae.likelihood.parameters())
    found = elboroom.tables.impute(vae, rows, 30, 2)
    assert np.isfinite(found.draws).all()
    assert [one["name"] for one in learned_mechanism(vae)] == ["pay"]


def test_nats_of_cells_and_of_the_pattern_add_up_to_the_distortion() -> None:
    _, x = _censored(200)
    vae = _train(x, CONFIG.updated(epochs=2))
    data = from_columns({"pay": x[:, 0], "age": x[:, 1]})
    batches, rows = Batches(data, torch.device("cpu")), np.arange(200)
    whole = evaluate(vae, batches, rows, num_samples=100)
    assert whole["likelihood_of"] == "log p(observed cells, which cells are missing)"
    columns = evaluate_columns(vae, batches, rows, num_samples=100)
    total = sum(c["nats"] * c["observed"] / 200 + c["missing_nats"] for c in columns)
    assert total == pytest.approx(whole["distortion"], abs=5 * whole["distortion_stderr"] + 1e-4)
    assert columns[0]["missing_nats"] > 0.3
    assert columns[1]["missing_nats"] == 0


def test_it_is_refused_where_it_makes_no_sense() -> None:
    with pytest.raises(UsageError, match=r"missing_mechanism = 'self_masking' requires likelihood = 'mixed'"):
        VAE.build(shape=(3,), missing_mechanism="self_masking")
    with pytest.raises(UsageError, match=r"must be 'ignorable' or 'self_masking'"):
        Config().updated(missing_mechanism="censored")
    whole, _ = _censored(100)
    with pytest.raises(UsageError, match=r"missing_mechanism = 'self_masking' explains missing cells, and"):
        _train(whole, CONFIG)


def test_a_model_with_a_mechanism_is_kept_resumed_and_divided(tmp_path: Path) -> None:
    _, x = _censored(200)
    config = CONFIG.updated(epochs=4)
    vae = _train(x, config, out=tmp_path / "whole")
    part = _train(x, config.updated(epochs=2), out=tmp_path / "parts")
    data = from_columns({"pay": x[:, 0], "age": x[:, 1]})
    elboroom.fit(part, data, config=config, out=tmp_path / "parts", resume=True, quiet=True)
    loaded = elboroom.load(tmp_path / "parts")
    for one, other in zip(vae.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(one, other)
    assert learned_mechanism(loaded) == learned_mechanism(vae)
    assert learned_mechanism(loaded)[0]["slope"] != 0
    torch.manual_seed(0)
    first = vae.nll(x[:20], 50).value
    torch.manual_seed(0)
    assert torch.equal(loaded.nll(x[:20], 50).value, first)


def test_a_configuration_from_before_is_ignorable() -> None:
    old = {"shape": (1,), "likelihood": "mixed", "columns": [{"name": "a", "kind": "real"}]}
    vae = VAE.build(**old)
    assert vae.likelihood.mechanism is None
    assert not [name for name in vae.state_dict() if "mechanism" in name]
    assert vae.config.columns == (Column(name="a", kind="real"),)
    assert learned_mechanism(vae) == []
    assert learned_mechanism(VAE.build(shape=(3,))) == []


def test_the_command_line_trains_it_and_shows_what_it_learned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, x = _censored(200)
    cells = [f"{'' if np.isnan(a) else round(a, 3)},{round(b, 3)},{'no' if b < 0 else 'yes'}" for a, b in x]
    cells[5] = cells[5].rsplit(",", 1)[0] + ","
    (tmp_path / "rows.csv").write_text("\n".join(["pay,age,member", *cells, ""]))
    table, run = str(tmp_path / "rows.csv"), str(tmp_path / "run")
    options = ["--epochs", "2", "--hidden", "16", "--figures-every", "0", "--validation", "0"]
    assert main(["train", table, "--missing-mechanism", "self_masking", *options, "--out", run]) == 0
    said = capsys.readouterr().err
    assert "may stay too flat in so few steps; give --lr 5e-3 or --epochs 1000" in " ".join(said.split())
    assert main(["evaluate", run, "--split", "train", "--num-samples", "5"]) == 0
    shown = capsys.readouterr().out
    assert "how likely a cell of this value is missing" in shown
    assert max(map(len, shown.splitlines()[1:])) <= 80
    assert main(["evaluate", run, "--split", "train", "--num-samples", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found["missing_mechanism"]] == ["pay", "member"]
    assert [at["value"] for at in found["missing_mechanism"][1]["at"]] == ["no", "yes"]
    assert main(["impute", run, "--out", str(tmp_path / "filled.csv"), "--num-samples", "20"]) == 0
    assert (tmp_path / "filled.csv").read_text().count("\n") == 201


def test_the_imputer_has_the_option() -> None:
    from elboroom.sklearn import VAEImputer

    whole, x = _censored(600)
    holes = np.isnan(x[:, 0])
    bias = {}
    for mechanism in ("ignorable", "self_masking"):
        options = {"n_components": 1, "hidden": (16,), "epochs": 40, "batch_size": 50, "learning_rate": 1e-2}
        imputer = VAEImputer(missing_mechanism=mechanism, random_state=0, validation_fraction=0.0, **options)
        filled = imputer.fit(x).transform(x)
        bias[mechanism] = (filled - whole)[holes, 0].mean()
    assert bias["ignorable"] < -1.2
    assert abs(bias["self_masking"]) < 0.8
    with pytest.raises(UsageError, match="missing_mechanism = 'self_masking' explains missing cells"):
        imputer.fit(whole)
