"""LPIPS against its formula, written out in float64 on random weights; and what is refused."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from elboroom.config import Config
from elboroom.config.objective import ObjectiveConfig
from elboroom.data import Dataset
from elboroom.errors import UsageError
from elboroom.models.terms import Terms
from elboroom.models.vae import VAE
from elboroom.objectives import Objective
from elboroom.objectives.lpips import LPIPS
from elboroom.runs.run import Run
from elboroom.training import fit
from elboroom.training.prepare import build

LENGTHS = {"alex": (2, 5, 8, 10, 12), "vgg": (4, 9, 16, 23, 30)}  # layers up to each of the five


@cache
def trunk(kind: str) -> nn.Sequential:
    """``features`` of torchvision's AlexNet or VGG-16, as its source lists them."""
    if kind == "alex":
        convolutions = [(3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1)]
        convolutions += [(384, 256, 3, 1, 1), (256, 256, 3, 1, 1)]
        layers: list[nn.Module] = []
        for i, (c, d, kernel, stride, padding) in enumerate(convolutions):
            layers += [nn.Conv2d(c, d, kernel, stride, padding), nn.ReLU()]
            layers += [nn.MaxPool2d(3, 2)] if i in (0, 1, 4) else []
    else:
        layers, channels = [], 3
        for width in [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0]:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()] if width else [nn.MaxPool2d(2)]
            channels = width or channels
    with torch.random.fork_rng():
        torch.manual_seed(len(layers))
        for layer in layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.normal_(layer.bias, std=0.3)
    return nn.Sequential(*layers).requires_grad_(False)


@cache
def heads(kind: str) -> dict[str, Tensor]:
    widths = [trunk(kind)[: length - 1][-1].out_channels for length in LENGTHS[kind]]
    draw = torch.Generator().manual_seed(1)
    return {f"lin{k}.model.1.weight": torch.rand(1, c, 1, 1, generator=draw) for k, c in enumerate(widths)}


def weights(kind: str) -> dict[str, Tensor]:
    return {f"features.{name}": value for name, value in trunk(kind).state_dict().items()} | heads(kind)


def by_hand(kind: str, x: np.ndarray, y: np.ndarray) -> float:
    """Eq. 1 for one pair of images (h, w, 3) from -1 to 1."""
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    own = trunk(kind).double()
    total = 0.0
    for k, length in enumerate(LENGTHS[kind]):
        features = []
        for image in (x, y):
            start = torch.tensor(((image - shift) / scale).transpose(2, 0, 1)[None])
            found = own[:length](start)[0].numpy()
            features.append(found / np.sqrt((found**2).sum(0, keepdims=True)))
        w = heads(kind)[f"lin{k}.model.1.weight"].double().numpy()[0, :, 0, 0]
        total += float((w[:, None, None] * (features[0] - features[1]) ** 2).sum(0).mean())
    trunk(kind).float()
    return total


def terms_of(x: Tensor, means: Tensor) -> Terms:
    return SimpleNamespace(x=x, likelihood=SimpleNamespace(mean=means))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("kind", "shape", "values"),
    [("alex", (31, 40, 3), (0, 1)), ("vgg", (16, 21, 3), (0, 1)), ("alex", (35, 33, 1), (-1, 1))],
)
def test_it_is_the_published_formula(kind: str, shape: tuple[int, ...], values: tuple[float, float]) -> None:
    """Two codes of two examples of unlike colours; a shift of [0, 1] or of other channels would differ."""
    draw = torch.Generator().manual_seed(2)
    low, high = values
    x = low + (high - low) * torch.rand(2, *shape, generator=draw) * torch.tensor([0.4, 0.7, 1.0])[: shape[2]]
    means = x + 0.2 * torch.randn(2, 2, *shape, generator=draw)
    penalty = LPIPS(weights(kind), shape, values)
    wide = [((part.double().numpy() - low) * 2 / (high - low) - 1) for part in (x, means)]
    real, drawn = (np.repeat(part, 3, -1) if shape[2] == 1 else part for part in wide)
    distances = [by_hand(kind, real[i], drawn[k, i]) for k in range(2) for i in range(2)]
    assert min(distances) > 0.01
    assert penalty(terms_of(x, means)).item() == pytest.approx(np.mean(distances) * np.prod(shape), rel=2e-4)


def test_names_of_the_package_and_of_torchvision_are_one() -> None:
    """The package lpips keeps the trunk by slices, the five layers twice, and shift and scale."""
    slices, at = {}, 0
    for name, value in weights("alex").items():
        if name.startswith("features."):
            at = next(i for i, length in enumerate(LENGTHS["alex"], 1) if int(name.split(".")[1]) < length)
            name = name.replace("features.", f"net.slice{at}.")
        slices[name] = value
        if name.startswith("lin"):
            slices[f"lins.{name[3]}.model.1.weight"] = value
    slices["scaling_layer.shift"] = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
    slices["scaling_layer.scale"] = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)
    classified = weights("alex") | {"classifier.1.weight": torch.zeros(2, 2)}
    x = torch.rand(1, 31, 31, 3, generator=torch.Generator().manual_seed(3))
    one, other = (LPIPS(found, (31, 31, 3))(terms_of(x, x[None].flip(2))) for found in (slices, classified))
    assert one == other > 0
    slices["scaling_layer.shift"] = torch.zeros(1, 3, 1, 1)
    with pytest.raises(UsageError, match="are for images with scaling_layer"):
        LPIPS(slices, (31, 31, 3))


def test_equal_pictures_cost_nothing_and_flat_ones_have_a_slope() -> None:
    """Where all features of a layer are zero their length has no slope of its own; there is no NaN then."""
    dark = {name: -value.abs() if name.endswith("bias") else value for name, value in weights("alex").items()}
    dark["features.0.weight"] = torch.zeros_like(dark["features.0.weight"])
    x = torch.zeros(1, 31, 31, 3)
    for found in (dark, weights("alex")):
        means = x[None].clone().requires_grad_()
        value = LPIPS(found, (31, 31, 3))(terms_of(x, means))
        value.backward()
        assert value.item() == 0
        assert means.grad is not None
        assert torch.isfinite(means.grad).all()
    with torch.autocast("cpu", torch.bfloat16):  # small differences need float32
        nearly = LPIPS(weights("alex"), (31, 31, 3))(terms_of(x + 0.5, x[None] + 0.501))
    exact = LPIPS(weights("alex"), (31, 31, 3))(terms_of(x + 0.5, x[None] + 0.501))
    assert nearly == exact > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lin4.model.1.weight": None}, "lin4.model.1.weight is missing"),
        ({"features.0.weight": torch.zeros(64, 3, 7, 7)}, "features.0.weight has shape"),
        ({"features.1.running_mean": torch.zeros(64)}, "features.1.running_mean has shape"),
        ({"lin0.model.1.weight": -torch.ones(1, 64, 1, 1)}, "negative weights"),
    ],
)
def test_other_weights_are_refused(change: dict[str, Any], said: str) -> None:
    found = {name: value for name, value in (weights("alex") | change).items() if value is not None}
    with pytest.raises(UsageError, match=re.escape(said)):
        LPIPS(found, (31, 31, 3))


@pytest.mark.parametrize("shape", [(31, 31, 2), (31, 31, 4), (40,), (30, 64, 3)])
def test_other_images_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="penalty lpips"):
        LPIPS(weights("alex"), shape)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    own, other = tmp_path / "trunk.safetensors", tmp_path / "heads.safetensors"
    every = weights("alex")
    save_file({name: value.contiguous() for name, value in every.items() if name[0] == "f"}, own)
    save_file({name: value for name, value in every.items() if name[0] == "l"}, other)
    return str(own), str(other)


def test_files_are_safetensors_and_those_that_are_expected(files: tuple[str, str], tmp_path: Path) -> None:
    vae = VAE.build(shape=(31, 31, 1), latent_dim=2, hidden=(4,))

    def made(*paths: str, sha256: tuple[str, ...] = ()) -> Objective:
        config = ObjectiveConfig(penalties={"lpips": 1.0}, lpips_weights=paths, lpips_sha256=sha256)
        return Objective.from_config(config, 3, vae=vae, examples=10)

    right = tuple(hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in files)
    objective = made(*files, sha256=right)
    assert not objective.state_dict()
    assert not list(objective.parameters())
    with pytest.raises(UsageError, match=f"has SHA-256 {right[1]}, and 0000"):
        made(*files, sha256=(right[0], "0" * 64))
    pickle = tmp_path / "alex.pth"
    torch.save(heads("alex"), pickle)
    with pytest.raises(
        UsageError, match=r"alex\.pth: weights are read from \.safetensors only.*convert it"
    ) as no:
        made(files[0], str(pickle))
    assert "\n" not in str(no.value)
    with pytest.raises(UsageError, match=r"has features\.\d\.\w+, as another file"):
        made(files[0], files[0])
    with pytest.raises(UsageError, match="there is no file"):
        made(str(tmp_path / "none.safetensors"))
    with pytest.raises(UsageError, match="give its files as lpips_weights"):
        ObjectiveConfig(penalties={"lpips": 1.0})
    with pytest.raises(UsageError, match="no effect without the penalty lpips"):
        ObjectiveConfig(lpips_weights=files)
    with pytest.raises(UsageError, match="1 values for 2 files"):
        ObjectiveConfig(penalties={"lpips": 1.0}, lpips_weights=files, lpips_sha256=("a",))


def test_a_run_is_resumed_with_its_own_weights_only(files: tuple[str, str], tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float32)  # as trainings have it
    x = np.random.default_rng(0).integers(0, 256, (6, 31, 31, 1), dtype=np.uint8)
    data = Dataset("noise", x, np.zeros(6), scale=255)

    def config(epochs: int, paths: tuple[str, ...] = files) -> Config:
        small = {"latent_dim": 2, "hidden": (4,), "batch_size": 3, "validation": 0.0, "figures_every": 0}
        return Config().updated(penalties={"lpips": 0.1}, lpips_weights=paths, epochs=epochs, **small)

    def trained(own: Config, **more: Any) -> list[dict[str, Any]]:
        return fit(build(own, data), data, config=own, quiet=True, **more)

    whole = trained(config(2))
    out = tmp_path / "run"
    trained(config(1), out=out)
    kept = Run(out).config.objective
    assert kept.lpips_weights == files
    assert kept.lpips_sha256 == tuple(hashlib.sha256(Path(p).read_bytes()).hexdigest() for p in files)
    assert max(part.stat().st_size for part in out.rglob("*.safetensors")) < 1e6  # without the network
    Path(files[0]).rename(tmp_path / "moved.safetensors")
    moved = (str(tmp_path / "moved.safetensors"), files[1])
    changed = tmp_path / "changed.safetensors"
    save_file({name: 2 * value for name, value in heads("alex").items()}, changed)
    with pytest.raises(UsageError, match=r"lpips_sha256 = .* was started with"):
        trained(config(2, (moved[0], str(changed))), out=out, resume=True)
    again = trained(config(2, moved), out=out, resume=True)
    assert [row["loss"] for row in again] == [row["loss"] for row in whole]
    assert whole[-1]["penalty_lpips"] > 0
