"""The entries, the records that are kept in the repository, and the page that is made of them."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from elboroom.config import Config
from elboroom.data import NAMED, load_data
from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.reproduction import ENTRIES, Entry
from elboroom.reproduction.results import figure_of, read_record, read_records, settings, table
from elboroom.training.step.lr_schedules import rehearse

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "benchmarks" / "results" / "reproduction"
ROWS = [(entry, row) for entry in ENTRIES.values() for row in entry.rows]
IDS = [f"{entry.name}-{row}" for entry, row in ROWS]


@pytest.mark.parametrize(("entry", "row"), ROWS, ids=IDS)
def test_every_setting_is_a_configuration(entry: Entry, row: str) -> None:
    config = entry.config(row)
    assert isinstance(config, Config)
    assert entry.source in NAMED
    assert entry.arxiv == "" or re.fullmatch(r"\d{4}\.\d{5}", entry.arxiv)
    assert entry.row(row).hours > 0
    json.dumps(entry.setting(row), allow_nan=False)


def test_the_schedule_of_the_iwae_paper() -> None:
    """3^i passes at 0.001 · 10^(−i/7), i = 0 … 7: 3,280 in all."""
    config = ENTRIES["iwae-l1"].config("vae-1")
    assert config.training.epochs == 3280
    expected = [1e-3 * 10 ** (-i / 7) for i in range(8) for _ in range(3**i)]
    assert rehearse(config.optimizer, 3280) == pytest.approx(expected[:1000], rel=1e-12)
    milestones = config.optimizer.lr_schedule_options["milestones"]
    assert milestones == [1, 4, 13, 40, 121, 364, 1093]
    assert 1093 + 3**7 == 3280


def weights_of(entry: str, row: str) -> dict[str, tuple[int, ...]]:
    vae = VAE.build(ENTRIES[entry].config(row).model, shape=(28, 28, 1))
    return {name: tuple(p.shape) for name, p in vae.named_parameters() if p.ndim > 1}


def test_networks_are_those_of_the_papers() -> None:
    shapes = list(weights_of("iwae-l1", "vae-1").values())
    assert shapes == [(200, 784), (200, 200), (100, 200), (200, 50), (200, 200), (784, 200)]
    assert sorted(weights_of("iwae-l2", "vae-1").values()) == sorted(
        [
            *[(200, 784), (200, 200), (200, 200), (100, 100), (100, 100), (100, 100)],  # q(h1|x), q(h2|h1)
            *[(100, 50), (100, 100), (200, 100), (200, 100), (200, 200), (784, 200)],  # p(h1|h2), p(x|h1)
        ]
    )
    vamp = weights_of("vamp", "vamp")
    assert vamp["prior.raw_inputs"] == (500, 28, 28, 1)
    # Two matrices of 300 units in each gated layer.
    assert [s for s in vamp.values() if len(s) == 2] == [
        *[(600, 784), (600, 300), (80, 300)],
        *[(600, 40), (600, 300), (784, 300)],
    ]


@pytest.mark.parametrize("layers", ["3", "6", "12"])
def test_ladders_have_about_a_million_weights_a_layer(layers: str) -> None:
    vae = VAE.build(ENTRIES["ladder"].config(layers).model, shape=(28, 28, 1))
    assert len(vae.layers) == int(layers)  # type: ignore[attr-defined]
    millions = sum(p.numel() for p in vae.parameters()) / 1e6
    assert 0.6 * int(layers) < millions < 1.4 * int(layers)


def test_output_biases_start_from_the_mean_image() -> None:
    """And are trained from there: they do not return to it when a run is resumed."""
    from elboroom.training.loop import Training
    from elboroom.training.prepare import build

    data = load_data("digits")
    config = Config().updated(latent_dim=2, hidden=[4], output_bias="data", epochs=1, init="xavier")
    vae = build(config, data)
    training = Training(vae, data, config, quiet=True)
    training.start()
    mean = torch.from_numpy(data.x[training.train_indices]).double().mean(0) / 16
    bias = [p for name, p in vae.decoder.named_parameters() if name.endswith("bias")][-1]
    expected = torch.logit(mean.clamp(0.001, 0.999)).flatten()
    torch.testing.assert_close(bias.detach().double(), expected, rtol=1e-6, atol=1e-6)
    training.run()
    learned = bias.detach().clone()
    assert (learned.double() - expected).abs().max() > 1e-4
    training.start()
    assert torch.equal(bias, learned)


def test_reached_allows_the_margin_on_the_right_side() -> None:
    nll, gap = ENTRIES["vamp"], ENTRIES["mig"]
    assert nll.reached("vamp", 85.57 + 0.2 - 1e-9)
    assert nll.reached("vamp", 80.0)
    assert not nll.reached("vamp", 85.57 + 0.2 + 1e-9)
    assert gap.reached("beta-tcvae", 0.9)
    assert gap.reached("beta-tcvae", 0.46)
    assert not gap.reached("beta-tcvae", 0.44)


@pytest.mark.parametrize("path", sorted(RECORDS.glob("*.json")), ids=lambda path: path.stem)
def test_kept_records_are_sound(path: Path) -> None:
    found = read_record(path)
    entry, row = ENTRIES[found["name"]], found["row"]
    assert path.stem == f"{entry.name}-{row}-seed-{found['seed']}"
    assert found["setting"] == json.loads(json.dumps(entry.setting(row)))  # the entry has not changed since
    assert found["published"]["value"] == entry.row(row).published
    assert found["reached"] == entry.reached(row, found["ours"]["value"])
    whole = entry.config(row).training
    assert found["shortened"] or whole.patience or found["epochs"] == whole.epochs
    assert math.isfinite(found["ours"]["value"])
    assert found["ours"]["examples"] == 10_000
    assert min(found["seconds"].values()) > 0


def test_the_page_shows_the_kept_records() -> None:
    spec = importlib.util.spec_from_file_location("write", ROOT / "docs" / "write_reproduction.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.PAGE.read_text(encoding="utf-8")
    assert page == module.written(page), "run 'python docs/write_reproduction.py'"
    slow = {name: entry for name, entry in ENTRIES.items() if not name.endswith("-fast")}
    assert page.count("\n| `") == len(slow) + len(ROWS)
    for entry in slow.values():
        assert f"| `{entry.name}` | {entry.title} |" in settings(slow)


def test_the_table_shows_what_was_run_and_what_was_not(tmp_path: Path) -> None:
    one: dict[str, Any] = {
        "format": 1, "name": "iwae-l1", "row": "vae-5", "paper": "", "arxiv": "", "setting": {},
        "departures": [], "shortened": False, "published": {}, "margin": 0.2, "reached": True, "seed": 0,
        "ours": {"value": 86.4321, "error": 0.0042}, "epochs": 3280, "version": "1", "command": "",
        "seconds": {"training": 3000.0, "measuring": 600.0},
        "machine": {"device": "cpu", "processor": "a processor", "threads": 1},
    }  # fmt: skip
    (tmp_path / "one.json").write_text(json.dumps(one))
    other = {**one, "seed": 1, "reached": False, "shortened": True, "epochs": 10}
    (tmp_path / "two.json").write_text(json.dumps(other))
    lines = table(ENTRIES, read_records(tmp_path)).splitlines()
    assert "| `iwae-l1` | `vae-1` | 86.76 | not run yet | – | – | – | – |" in lines
    ours = "**86.43 ± 0.004**, 86.43 ± 0.004 (shortened)"
    assert (
        f"| `iwae-l1` | `vae-5` | 86.47 | {ours} | 0, 1 | 3,280, 10 | 2.00 | a processor, 1 thread |" in lines
    )
    assert "| `rae-fid` | `rae` | 9.9 | not run yet | – | – | – | – |" in lines
    assert figure_of({**one, "ours": {"value": 0.5, "error": None}}) == "**0.50**"


def test_damaged_records_are_refused(tmp_path: Path) -> None:
    for content in ("{", "[]", '{"format": 1}'):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(UsageError, match=r"bad\.json"):
            read_record(tmp_path / "bad.json")
