"""Time series: which arrays are taken for some, and that they are drawn as lines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from elboroom.cli.main import main
from elboroom.data import load_data
from elboroom.errors import UsageError
from elboroom.figures import grids, morphs, standard_set, style
from elboroom.latent.arrays import Numbers
from elboroom.models.vae import VAE

from .conftest import history

PALETTE = [tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in style.PALETTE]
GREY = (0x99, 0x99, 0x99)


def waves(n: int = 40, t: int = 20, d: int = 3) -> Numbers:
    """Sine waves of one to three periods, each channel a third of a period later."""
    rng = np.random.default_rng(0)
    phase = rng.uniform(0, 2 * np.pi, (n, 1, 1)) + 2 * np.pi * np.arange(d) / d
    periods = np.arange(n)[:, None, None] % 3 + 1
    return np.sin(2 * np.pi * periods * np.linspace(0, 1, t)[:, None] + phase).astype(np.float32)


def colours(image: Numbers) -> set[tuple[int, ...]]:
    """Colours of lines, of the palette and grey; edges blend with what is beside them."""
    found = {tuple(colour) for colour in grids.to_uint8(image).reshape(-1, 3).tolist()}
    return found & {*PALETTE, GREY}


@pytest.mark.parametrize(
    ("saved", "shape"),
    [
        ({"a.npy": waves()}, (20, 3)),  # floats too narrow for a picture
        ({"a.npy": waves(d=8)}, (20, 8, 1)),
        ({"a.npy": (100 * (waves() + 1)).astype(np.uint8)}, (20, 3, 1)),
        ({"a.npz": {"x": waves(d=12)}}, (20, 12)),  # the name says it
        ({"a.npz": {"images": waves()}}, (20, 3, 1)),
        ({"a.npz": {"x": (100 * (waves(d=12) + 1)).astype(np.uint8)}}, (20, 12, 1)),
        ({"a-0.npy": waves(), "a-1.npy": waves()}, (20, 3)),
    ],
)
def test_what_is_a_time_series(saved: dict[str, object], shape: tuple[int, ...], tmp_path: Path) -> None:
    for name, content in saved.items():
        if isinstance(content, dict):
            np.savez(tmp_path / name, **content)
        else:
            np.save(tmp_path / name, content)
    data = load_data(tmp_path / name if len(saved) == 1 else str(tmp_path / "a-*.npy"))
    assert data.shape == shape
    assert data.is_image == (len(shape) == 3)


def test_each_channel_is_a_line_and_an_input_is_grey() -> None:
    x = waves(2)
    assert colours(grids.as_images(x)[0]) == set(PALETTE[:3])
    assert colours(grids.as_images(x[..., :1])[0]) == {PALETTE[0]}
    both = colours(grids.as_images(x, x + 1)[0])
    assert both == {GREY, *PALETTE[:3]}
    rows = colours(grids.as_images(x[..., 0], x[..., 0] + 1)[0])  # a row is a series of one channel
    assert rows == colours(grids.as_images(x[..., :1], x[..., :1] + 1)[0]) == {GREY, PALETTE[1]}


def test_lines_follow_the_values() -> None:
    """A rising channel above a falling one: where they start and end in the chart."""
    rise = np.linspace(0, 1, 30)
    chart = grids.as_images(np.stack([rise, -rise], 1)[None].astype(np.float32), size=(100, 100))[0]
    blue = np.abs(chart - np.array([0, 0x72, 0xB2]) / 255).sum(-1) < 0.2
    red = np.abs(chart - np.array([0xD5, 0x5E, 0]) / 255).sum(-1) < 0.2
    heights = [np.flatnonzero(line[:, column]).mean() for line in (blue, red) for column in (8, 92)]
    np.testing.assert_allclose(heights, [49, 11, 51, 89], atol=2)


def test_every_figure_of_a_time_series_is_drawn(tmp_path: Path) -> None:
    np.savez(tmp_path / "waves.npz", x=waves(), labels=np.arange(40) % 3)
    data = load_data(tmp_path / "waves.npz")
    torch.manual_seed(0)
    vae = VAE.build(shape=data.shape, latent_dim=3, hidden=[16], likelihood="gaussian")
    written = standard_set.draw_all(vae, data, history(2), tmp_path / "figures", marks={"odd": data.x[0]})
    names = {path.stem for path in written}
    assert {"reconstructions", "samples", "traversals", "morph", "manifold", "samples_by_class"} <= names
    with Image.open(tmp_path / "figures" / "reconstructions.png") as image:
        assert len(colours(np.asarray(image.convert("RGB")) / 255)) > 3
    assert morphs.morph_frames(vae, data.x[0], data.x[1], steps=2).shape == (2, 160, 240, 3)


def test_a_time_series_goes_all_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ELBOROOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("elboroom.cli.training_run.draw_all", lambda *_, **__: [])
    np.save("waves.npy", waves())
    small = "--latent-dim 2 --hidden 16 --epochs 2 --batch-size 8 --likelihood gaussian --quiet"
    assert main(["train", "waves.npy", "--out", "run", *small.split()]) == 0
    assert main(["data", "show", "waves.npy"]) == 0
    assert "20×3" in capsys.readouterr().out
    for line in ("sample run --n 4", "traverse run", "morph run :0 :1 --steps 3", "reconstruct run :0 :2"):
        assert main(line.split()) == 0, line
    assert main(["sample", "run", "--n", "4", "--out", "s.npy"]) == 0
    assert np.load("s.npy").shape == (4, 20, 3)
    assert main(["evaluate", "run", "--num-samples", "10"]) == 0
    assert main(["embed", "run", "waves.npy", "--out", "z.npy"]) == 0
    Image.new("L", (3, 20)).save("photo.png")
    assert main(["reconstruct", "run", "photo.png"]) == 2
    assert (
        "photo.png: the model takes time series of 20 steps and 3 channels, not images"
        in capsys.readouterr().err
    )


def test_convolutions_are_for_images() -> None:
    with pytest.raises(UsageError, match="conv"):
        VAE.build(shape=(20, 3), network="conv", latent_dim=2, likelihood="gaussian")
