"""Folders to share: the model comes back, and the card says what the run says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from elboroom import VAE, Run, fit, load
from elboroom.errors import UsageError
from elboroom.hub.card import card_of
from elboroom.hub.names import read_place
from elboroom.hub.origin import Origin
from elboroom.io.files import json_text


@pytest.fixture
def run(tmp_path: Path) -> Run:
    x = np.random.default_rng(0).integers(0, 256, (60, 6, 6), dtype=np.uint8)
    vae = VAE.build(shape=(6, 6, 1), latent_dim=2, hidden=[4])
    fit(vae, x, out=tmp_path / "run", epochs=3, beta=2.0, quiet=True)
    found = Run(tmp_path / "run")
    found.write_metrics(
        {
            "split": "test",
            "elbo": -29.27519,
            "elbo_stderr": 0.0479392,
            "nll": None,
            "examples": 6,
            "active_units": 2,
        }
    )
    for name in ("samples", "loss", "reconstructions"):
        (found.path / "figures").mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(found.path / f"figures/{name}.png")
    return found


def _metadata(card: str) -> dict[str, Any]:
    _, lines, _ = card.split("---\n", 2)
    return {key: json.loads(value) for key, value in (line.split(": ", 1) for line in lines.splitlines())}


def test_a_model_comes_back_from_a_folder(run: Run, tmp_path: Path) -> None:
    vae, folder = run.model(), tmp_path / "share"
    vae.save_pretrained(folder, run=run, license="mit")
    for other in (load(folder), VAE.from_pretrained(folder), load(str(folder))):
        assert not other.training
        assert (other.value_range, other.data_range) == (vae.value_range, vae.data_range)
        assert all(map(torch.equal, other.state_dict().values(), vae.state_dict().values()))
    vae.save_pretrained(folder)  # again, over it
    assert not (folder / "pictures").exists()


def test_the_card_holds_the_facts_of_the_run(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "share"
    run.model().save_pretrained(folder, run=run.path, license="cc-by-4.0")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "| ELBO, nats per example | -29.28 | ± 0.048 |" in card
    assert "| `beta` | `2.0` |" in card
    assert run.environment["data_fingerprint"] in card
    assert "Means of 6 test examples" in card
    assert "3 epochs" in card
    assert "Licence: cc-by-4.0." in card
    assert "6×6 grey images: 2 latent dimensions" in card
    facts = _metadata(card)
    assert facts["license"] == "cc-by-4.0"
    (result,) = facts["model-index"][0]["results"]
    assert [(one["type"], one["value"]) for one in result["metrics"]] == [
        ("elbo", -29.27519),
        ("active_units", 2),
    ]
    # Pictures of data stay where they are.
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == ["loss.png", "samples.png"]
    for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", card):
        assert (folder / target).is_file()
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code is not None
    exec(code[1], {})


def test_a_card_without_a_run_leaves_out_what_is_not_known(tmp_path: Path) -> None:
    VAE.build(shape=(3,), latent_dim=1, hidden=[2]).save_pretrained(tmp_path / "share")
    card = (tmp_path / "share/README.md").read_text(encoding="utf-8")
    for heading in ("Data", "Results", "Training", "Pictures"):
        assert f"## {heading}" not in card
    assert "The author has not stated a licence." in card
    assert "model-index" not in card
    assert not re.search(r"\b(None|null|nan|TODO|More Information Needed)\b", card)


def test_the_cards_metadata_is_what_the_hub_reads(run: Run, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the check of a card needs huggingface_hub")
    run.model().save_pretrained(tmp_path / "share", run=run, license="mit")
    data = hub.ModelCard.load(tmp_path / "share/README.md").data
    assert (data.library_name, data.license) == ("elboroom", "mit")
    assert [(one.metric_type, one.metric_value) for one in data.eval_results] == [
        ("elbo", -29.27519),
        ("active_units", 2),
    ]
    assert data.eval_results[0].dataset_split == "test"


def test_names_from_data_do_not_become_markup(run: Run, tmp_path: Path) -> None:
    environment = run.environment | {
        "data": "/home/me/<img src=x onerror=1>|`[a](b)\n---: 3 train",
        "command": [
            "/usr/bin/elboroom",
            "train",
            "/home/me/secret/my photos",
            "--out=/home/me/runs/a",
            "--beta",
            "2",
        ],
    }
    (run.path / "environment.json").write_text(json_text(environment))
    run.model().save_pretrained(tmp_path / "share", run=run)
    card = (tmp_path / "share/README.md").read_text(encoding="utf-8")
    body = card.split("---\n", 2)[2]
    assert "<img" not in body.replace("\\<img", "")
    assert "secret" not in card
    assert "/home" not in card
    assert "elboroom train 'my photos' --out=a --beta 2" in card
    assert card.count("\n---\n") == 1


def test_a_damaged_folder_is_refused(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "share"
    run.model().save_pretrained(folder)
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-4] + b"abcd")
    with pytest.raises(UsageError, match=r"the SHA-256 of model\.safetensors is not that of elboroom\.json"):
        load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"model\.safetensors is missing"):
        load(folder)
    with pytest.raises(UsageError, match=r"holds no model to share: it has no elboroom\.json"):
        VAE.from_pretrained(tmp_path)
    with pytest.raises(UsageError, match="is for names on the hub"):
        VAE.from_pretrained(folder, revision="main")


def test_other_folders_are_not_overwritten(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="contains other files"):
        run.model().save_pretrained(run.path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        run.model().save_pretrained(tmp_path / "file")
    with pytest.raises(UsageError, match="no run at"):
        run.model().save_pretrained(tmp_path / "new", run=tmp_path / "nothing")
    with pytest.raises(UsageError, match="run = 3: must be a Run or the folder of one"):
        run.model().save_pretrained(tmp_path / "new", run=3)
    with pytest.raises(UsageError, match="license = 'My own': must be an identifier"):
        card_of(Origin(run.config.model), "a", "My own", [])


def test_a_model_composed_in_python_is_refused(tmp_path: Path) -> None:
    vae = VAE.build(shape=(3,), latent_dim=1, hidden=[2])
    vae.config = None
    with pytest.raises(UsageError, match="this model was composed in Python"):
        vae.save_pretrained(tmp_path / "share")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "hf://",
        "hf://a/b/c",
        "hf://../b",
        "a b/c",
        "hf://me/x@",
        "hf://me/x@a b",
        "hf://me/x@../y",
        "hf://me/-x",
        "a//b",
        "hf://me/x--y",
    ],
)
def test_invalid_names(name: str) -> None:
    if name == "hf://me/x@":
        assert read_place(name).revision is None
        return
    with pytest.raises(UsageError, match="is no name on the hub; write hf://user/name"):
        read_place(name)
