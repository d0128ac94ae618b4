"""A small run with two kinds of images, and models that need no training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from elboroom.cli.main import main
from elboroom.data.dataset import Dataset
from elboroom.latent.arrays import Numbers
from elboroom.models.vae import VAE

SIDE = 12


def build(latent_dim: int = 3, **fields: object) -> VAE:
    """An untrained model of grey 12×12 images."""
    torch.manual_seed(0)
    return VAE.build(shape=(SIDE, SIDE, 1), latent_dim=latent_dim, hidden=[16], **fields)


def kinds(n: int = 60) -> tuple[Numbers, Numbers]:
    """Dark and bright noisy images, uint8 (n, 12, 12, 1), in turns."""
    labels = np.arange(n) % 2
    noise = np.random.default_rng(0).integers(0, 80, (n, SIDE, SIDE, 1))
    return (noise + 150 * labels[:, None, None, None]).astype(np.uint8), labels


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test is in a folder of its own, has one thread, and leaves the noise as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path / ".cache"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def vae() -> VAE:
    return build()


@pytest.fixture
def data() -> Dataset:
    x, labels = kinds()
    split = (np.arange(60) >= 40).astype(np.uint8)
    return Dataset("toy", x, split=split, labels=labels, label_names=("person", "dog"), scale=255)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on labelled images ``toy.npz``, in a folder beside them."""
    folder = tmp_path_factory.mktemp("morphs")
    x, labels = kinds()
    split = np.arange(60) >= 40
    np.savez(
        folder / "toy.npz", images=x, labels=labels, split=split, label_names=np.array(["person", "dog"])
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ELBOROOM_CACHE", str(folder / "cache"))
        patch.setattr("elboroom.cli.training_run.draw_all", lambda *_, **__: [])
        small = "--latent-dim 3 --hidden 16 --epochs 3 --batch-size 8 --figures-every 0 --quiet"
        assert main(["train", str(folder / "toy.npz"), "--out", str(folder / "run"), *small.split()]) == 0
    return folder / "run"
