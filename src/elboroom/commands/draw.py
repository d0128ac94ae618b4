"""``figures``, ``reconstruct``, ``sample`` and ``traverse``: pictures out of a trained model."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elboroom import canvas, gallery, pictures, plates, sheets
from elboroom.commands.common import (
    console,
    load_model,
    output_file,
    read_example,
    run_data,
    save_figure,
    wrote,
)
from elboroom.errors import UsageError
from elboroom.files import write_atomic
from elboroom.model import VAE
from elboroom.run import Run
from elboroom.targets import refine


def figures(
    run: Run,
    source: str | None,
    only: Sequence[str],
    mark: Sequence[str],
    out: Path | None,
    device: str,
    *,
    resize: bool,
) -> None:
    """Draw a run's standard figures."""
    vae = load_model(run, device)
    marks = {Path(name).stem: read_example(name, vae, run, resize=resize) for name in mark}
    folder = out or run.path / "figures"
    for path in gallery.draw_all(
        vae, run_data(run, source), run.history, folder, marks=marks or None, only=only or None
    ):
        wrote(path)


def reconstruct(
    run: Run, images: Sequence[str], refine_steps: int, out: Path | None, device: str, *, resize: bool
) -> None:
    """Write the reconstruction of each image, and a sheet with all of them beside their originals."""
    vae = load_model(run, device)
    examples = np.stack([read_example(name, vae, run, resize=resize) for name in images])
    folder = out or run.path / "figures"
    codes = refine(vae, examples, steps=refine_steps) if refine_steps else None
    rebuilt = (vae.reconstruct(examples) if codes is None else vae.decode(codes).mean).cpu().numpy()
    names = _distinct([_file_stem(name) for name in images])
    if len(vae.shape) == 3:
        for name, image in zip(names, rebuilt, strict=True):
            _save_image(plates.to_uint8(image), folder / f"{name}-reconstruction.png")
    save_figure(sheets.friends(vae, examples, names, codes), folder / "reconstruct.png")
    losses = -vae.elbo(examples)
    for name, image, loss in zip(names, rebuilt - examples, losses.tolist(), strict=True):
        console().print(f"{name}: loss {loss:.2f} nats, mean squared error {np.square(image).mean():.5f}")


def sample(run: Run, n: int, out: Path | None, seed: int, device: str, *, observe: bool) -> None:
    """Decode draws from the prior: a sheet of pictures, or with .npy the numbers."""
    vae = load_model(run, device)
    path = output_file(out, run.path / "samples" / "samples.png", (".png", ".npy"))
    if path.suffix.lower() == ".npy" or observe:
        with canvas.seeded(vae, seed):
            drawn = vae.sample(n, observe=observe).cpu().numpy()
    if path.suffix.lower() == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, drawn)
        write_atomic(path, buffer.getvalue())
        wrote(path)
    elif observe:
        _need_images(vae, "--observe")
        columns = int(np.ceil(np.sqrt(n)))
        _save_image(plates.to_uint8(plates.tile(drawn, columns)), path)
    else:
        save_figure(pictures.samples(vae, n=n, seed=seed), path)


def traverse(
    run: Run,
    at: str | None,
    dims: Sequence[int],
    steps: int,
    span: float,
    out: Path | None,
    device: str,
    *,
    resize: bool,
) -> None:
    """Change one latent dimension at a time, around 0 or around the code of an example."""
    vae = load_model(run, device)
    wrong = [dim for dim in dims if not 0 <= dim < vae.latent_dim]
    if wrong:
        raise UsageError(f"--dims {wrong[0]}: the model has latent dimensions 0 to {vae.latent_dim - 1}")
    path = output_file(out, run.path / "figures" / "traversals.png", (".png",))
    x = read_example(at, vae, run, resize=resize)[None] if at is not None else None
    save_figure(pictures.traversals(vae, x, steps=steps, dims=dims or None, span=span), path)


def _need_images(vae: VAE, what: str) -> None:
    if len(vae.shape) != 3:
        raise UsageError(f"{what} needs images, and this model's examples are rows of {vae.shape[0]} numbers")


def _file_stem(name: str) -> str:
    """What to call the picture of an image file or of SET:INDEX, without any folder."""
    path = Path(name)
    return path.stem if path.exists() else path.name.replace(":", "-").strip("-")


def _distinct(names: Sequence[str]) -> list[str]:
    """Number names that occur twice, so that no file is written over another."""
    result: list[str] = []
    for name in names:
        free, number = name, 1
        while free in result:
            number += 1
            free = f"{name}-{number}"
        result.append(free)
    return result


def _save_image(pixels: np.ndarray[Any, Any], path: Path) -> None:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())
    wrote(path)
