"""``figures``, ``reconstruct``, ``sample`` and ``traverse``: pictures out of a trained model."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elboroom.cli.commands.common import (
    described,
    fixed,
    free_files,
    load_model,
    named_condition,
    output_file,
    read_example,
    save_figure,
    save_seen,
    seen_data,
    wrote,
)
from elboroom.cli.commands.photos import is_changed, named_photo
from elboroom.cli.options import Prepare
from elboroom.errors import UsageError, printable
from elboroom.evaluation.health import check_finite
from elboroom.figures import by_class, conditional, grids, images, standard_set
from elboroom.io.files import write_atomic
from elboroom.latent import arrays
from elboroom.latent.arrays import DRAWS, losses_with_errors, numbers, with_error
from elboroom.latent.targets import refine
from elboroom.models.conditioning import apart, together
from elboroom.models.vae import VAE
from elboroom.runs.run import Run


def figures(
    run: Run,
    source: str | None,
    only: Sequence[str],
    mark: Sequence[str],
    out: Path | None,
    device: str,
    *,
    overwrite: bool,
    prepare: Prepare,
    label: str | None = None,
) -> None:
    """Draw a run's standard figures."""
    vae = load_model(run, device)
    examples = [read_example(name, vae, run, prepare=prepare, label=label) for name in mark]
    marks = dict(zip(_distinct([_file_stem(name) for name in mark]), examples, strict=True))
    folder = out or run.path / "figures"
    for path in standard_set.draw_all(
        vae,
        seen_data(run, vae, source),
        run.history,
        folder,
        marks=marks or None,
        only=only or None,
        condition=named_condition(vae, label),
        place=lambda paths: free_files(paths, named=out is not None, overwrite=overwrite),
    ):
        wrote(path)
    if any(is_changed(name, vae.shape, prepare) for name in mark):
        place = folder / "marked.png"
        save_seen(vae, mark, examples, free_files([place], named=False, overwrite=overwrite)[0])


def reconstruct(
    run: Run,
    images: Sequence[str],
    refine_steps: int,
    out: Path | None,
    device: str,
    *,
    overwrite: bool,
    prepare: Prepare,
    label: str | None = None,
) -> None:
    """Write the reconstruction of each image, and a sheet with all of them beside their originals."""
    vae = load_model(run, device)
    examples = together([read_example(name, vae, run, prepare=prepare, label=label) for name in images])
    folder = out or run.path / "figures"
    codes = refine(vae, examples, steps=refine_steps) if refine_steps else None
    condition = apart(examples)[1]
    rebuilt = numbers(vae.reconstruct(examples) if codes is None else vae.decode(codes, condition).mean)
    names = _distinct([_file_stem(name) for name in images])
    pictures_of = names if len(vae.shape) == 3 else []
    places = [folder / f"{name}-reconstruction.png" for name in pictures_of] + [folder / "reconstruct.png"]
    *each, sheet = free_files(places, named=out is not None, overwrite=overwrite)
    for place, image in zip(each, grids.images_of(vae, rebuilt), strict=False):
        _save_image(grids.to_uint8(image), place)
    save_figure(by_class.friends(vae, examples, [Path(name).name for name in images], codes), sheet)
    found = losses_with_errors(vae, examples)
    losses = [with_error(*loss) for loss in zip(*found, strict=True)]
    for name, image, loss in zip(names, rebuilt - numbers(examples), losses, strict=True):
        error = np.square(image).mean()
        print(
            f"{printable(name)}: loss {loss} nats (−ELBO, mean of {DRAWS} draws), "
            f"mean squared error {error:.5f}"
        )
    check_finite({"losses": found[0]}, str(run.path))


def sample(
    run: Run,
    n: int,
    out: Path | None,
    seed: int,
    device: str,
    *,
    overwrite: bool,
    observe: bool,
    label: str | None = None,
) -> None:
    """Decode draws from the prior: a sheet of pictures, or with .npy the numbers.

    Without a label a model that is conditional on labels draws as many of each, class after class.
    """
    vae = load_model(run, device)
    default = run.path / "samples" / "samples.png"
    path = output_file(out, default, (".png", ".npy"), overwrite=overwrite)
    if label is None and vae.condition is not None and vae.condition.kind == "labels":
        _sample_each(vae, n, path, seed, observe=observe)
        return
    vae = fixed(vae, label)
    if path.suffix.lower() == ".png" and not observe:
        title = "Samples: decoded draws from the prior" + ("" if label is None else f", given {label}")
        save_figure(images.samples(vae, n=n, seed=seed, title=title), path)
        return
    with arrays.seeded(vae, seed):
        drawn = vae.sample(n, observe=observe)
    _save_drawn(vae, numbers(drawn), int(np.ceil(np.sqrt(n))), path)


def _sample_each(vae: VAE, n: int, path: Path, seed: int, *, observe: bool) -> None:
    """About n draws in all, as many given each label: a row each."""
    assert vae.condition is not None
    labels = vae.condition.labels
    each = -(-n // len(labels))
    if path.suffix.lower() == ".png" and not observe:
        names = [vae.condition.name_of(place) for place in range(len(labels))]
        grid = conditional.conditional_grid(vae, labels.tolist(), names, each, seed)
        save_figure(grids.stack(grid, title=grids.titled(vae, conditional.GIVEN_EACH)), path)
        return
    with arrays.seeded(vae, seed):
        drawn = vae.sample(each * len(labels), condition=np.repeat(labels, each), observe=observe)
    _save_drawn(vae, numbers(drawn), each, path)


def _save_drawn(vae: VAE, drawn: arrays.Numbers, columns: int, path: Path) -> None:
    """Write draws as numbers, or side by side without margins."""
    if path.suffix.lower() == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, drawn)
        write_atomic(path, buffer.getvalue())
        wrote(path)
        return
    _need_images(vae, "--observe")
    _save_image(grids.to_uint8(grids.tile(grids.images_of(vae, drawn), columns)), path)


def traverse(
    run: Run,
    at: str | None,
    dims: Sequence[int],
    steps: int,
    span: float,
    out: Path | None,
    device: str,
    *,
    layer: int | None,
    overwrite: bool,
    prepare: Prepare,
    label: str | None = None,
) -> None:
    """Change one latent dimension at a time, around 0 or around the code of an example."""
    vae = load_model(run, device)
    wrong = [dim for dim in dims if not 0 <= dim < vae.latent_dim]
    if wrong:
        raise UsageError(f"--dims {wrong[0]}: the model has latent dimensions 0 to {vae.latent_dim - 1}")
    path = output_file(out, run.path / "figures" / "traversals.png", (".png",), overwrite=overwrite)
    x = None
    if at is None:
        vae = fixed(vae, label)
    else:
        example = read_example(at, vae, run, prepare=prepare, label=label)
        if is_changed(at, vae.shape, prepare):
            place = path.with_name(f"{path.stem}-at.png")
            save_seen(vae, [at], [example], free_files([place], named=False, overwrite=overwrite)[0])
        x, condition = apart(example[None])
        vae = vae if condition is None else vae.given(condition)
    around = "the middle of the prior" if at is None else f"the code of {Path(at).name}"
    title = f"What changes when one latent dimension does, around {around}"
    title += "" if label is None else f", given {label}"
    figure = images.traversals(vae, x, steps=steps, dims=dims or None, span=span, layer=layer, title=title)
    save_figure(figure, path)


def _need_images(vae: VAE, what: str) -> None:
    if len(vae.shape) != 3:
        raise UsageError(f"{what} needs images, and this model's examples are {described(vae.shape)}")


def _file_stem(name: str) -> str:
    """What to call the picture of an image file or of SET:INDEX, without any folder."""
    photo = named_photo(name)
    if photo is None:
        return Path(name).name.replace(":", "-").strip("-")
    path, face = photo
    return path.stem if face is None else f"{path.stem}-{face + 1}"


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
