"""Models on a hub: what is uploaded, what is fetched, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from elboroom import VAE, Run, fit, load
from elboroom.cli.main import main
from elboroom.errors import FailureError, UsageError
from elboroom.hub import fetching

from .fake_hub import FakeHub, running

huggingface_hub = pytest.importorskip("huggingface_hub", reason="models on a hub need huggingface_hub")
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with running(FakeHub()) as one:
        monkeypatch.setenv("HF_ENDPOINT", one.address)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        yield one


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "run"
    vae = VAE.build(shape=(8, 8, 1), latent_dim=2, hidden=[4], scale=16)
    fit(vae, "digits", out=path, epochs=1, quiet=True)
    return path


def _push(run: Path, repo: str = "me/digits", **options: object) -> str:
    return Run(run).model().push_to_hub(repo, run=run, token="hf_right", **options)  # type: ignore[arg-type]


def _same(one: VAE, other: VAE) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_model_goes_to_the_hub_and_comes_back(hub: FakeHub, run: Path) -> None:
    assert _push(run, private=True) == f"{hub.address}/me/digits"
    assert hub.private == {"me/digits": True}
    files = hub.commits["me/digits"][-1]
    assert {"model.safetensors", "config.json", "README.md", "elboroom.json"} <= set(files)
    assert not [name for name in files if name.endswith((".bin", ".pkl", ".pt", ".py"))]
    card = files["README.md"].decode()
    assert 'elboroom.load("hf://me/digits")' in card
    assert hub.cards == [card]  # which the hub checks before it takes it
    vae = load("hf://me/digits")
    assert _same(vae, load(run))
    assert vae.value_range == load(run).value_range
    assert _same(VAE.from_pretrained("hf://me/digits"), load(run))


def test_only_two_files_are_fetched(hub: FakeHub, run: Path) -> None:
    _push(run)
    hub.commits["me/digits"][-1] |= {
        "pytorch_model.bin": b"pickle",
        "modeling.py": b"evil",
        "x.safetensors": b"",
    }
    hub.requests.clear()
    load("hf://me/digits")
    names = {path.rpartition("/")[2] for _, path in hub.requests}
    assert names == {"elboroom.json", "model.safetensors"}


def test_a_revision_means_what_it_meant(hub: FakeHub, run: Path) -> None:
    _push(run)
    first = hub.identifier("me/digits", 1)
    VAE.build(shape=(3,), latent_dim=1, hidden=[2]).push_to_hub("me/digits", token="hf_right")
    assert load("hf://me/digits").shape == (3,)
    assert load(f"hf://me/digits@{first}").shape == (8, 8, 1)
    assert VAE.from_pretrained("hf://me/digits", revision=first).shape == (8, 8, 1)
    with pytest.raises(UsageError, match="hf://me/digits@v9: the repository has no revision 'v9'"):
        load("hf://me/digits@v9")
    with pytest.raises(UsageError, match="names another; give one of them"):
        VAE.from_pretrained("hf://me/digits@v1", revision="v2")


def test_without_a_network_the_cache_serves(hub: FakeHub, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _push(run)
    first = load("hf://me/digits")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing answers there
    assert _same(load("hf://me/digits"), first)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert _same(load("hf://me/digits"), first)
    with pytest.raises(
        FailureError, match="hf://me/other is not in the cache, and the hub cannot be reached"
    ):
        load("hf://me/other")


def test_what_was_changed_is_refused(hub: FakeHub, run: Path) -> None:
    _push(run)
    files = hub.commits["me/digits"][-1]
    weights = files["model.safetensors"]
    files["model.safetensors"] = weights[:-1] + bytes([weights[-1] ^ 1])
    with pytest.raises(UsageError, match=r"the SHA-256 of model\.safetensors is not that of elboroom\.json"):
        load("hf://me/digits")


@pytest.mark.parametrize(
    "manifest",
    [b"[1]", b"{", b'{"format": 1}', b'{"format": 1, "files": {"model.safetensors": 3}}', b'{"format": "x"}'],
)
def test_a_damaged_list_of_hashes_is_one_line(hub: FakeHub, run: Path, manifest: bytes) -> None:
    _push(run)
    hub.commits["me/digits"][-1]["elboroom.json"] = manifest
    with pytest.raises(UsageError, match="damaged"):
        load("hf://me/digits")


def test_a_newer_format_is_named(hub: FakeHub, run: Path) -> None:
    _push(run)
    hub.commits["me/digits"][-1]["elboroom.json"] = b'{"format": 2}'
    with pytest.raises(UsageError, match=r"has format 2, and this version .* upgrade elboroom"):
        load("hf://me/digits")


def test_files_that_are_too_large_are_not_fetched(
    hub: FakeHub, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _push(run)
    hub.sizes["model.safetensors"] = 30 << 30
    with pytest.raises(
        UsageError, match=r"model\.safetensors has 32\.212 GB, and at most 21\.475 GB are fetched"
    ):
        load("hf://me/digits")
    assert ("GET", "/me/digits/resolve/") not in [(m, p[:19]) for m, p in hub.requests if "model.safe" in p]
    hub.sizes = {"elboroom.json": 2 << 20}
    with pytest.raises(UsageError, match=r"elboroom\.json has 0\.002 GB"):
        load("hf://me/digits")


def test_what_the_hub_refuses_is_one_line(hub: FakeHub, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no such repository, or it is private; log in"):
        load("hf://me/nothing")
    hub.commits["me/other"], hub.branches["me/other"] = [{"config.json": b"{}"}], {"main"}
    with pytest.raises(UsageError, match=r"holds no model of elboroom: it has no elboroom\.json"):
        load("hf://me/other")
    with pytest.raises((FailureError, UsageError), match="hf://me/digits"):
        load(run).push_to_hub("me/digits", token="hf_wrong")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(FailureError, match="hf://me/digits: the hub does not answer"):
        _push(run)


def test_the_command_line(hub: FakeHub, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    assert main(["push", str(run), "--repo", "me/cli", "--license", "mit"]) == 0
    assert '\nlicense: "mit"\n' in hub.commits["me/cli"][-1]["README.md"].decode()
    assert main(["push", str(run)]) == 2
    assert main(["push", str(run), "--repo", "me/../x"]) == 2
    assert main(["push", str(run), "--out", str(tmp_path / "share")]) == 0
    assert json.loads((tmp_path / "share/elboroom.json").read_text())["format"] == 1


def test_without_huggingface_hub_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"the hub needs huggingface_hub; pip install 'elboroom\[hub\]'"):
        fetching.imported()
