"""``morph`` and ``neighbours``: ways between examples, and what lies near them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.cli.commands.common import (
    fixed,
    free_files,
    load_model,
    named_condition,
    output_file,
    read_example,
    save_figure,
    seen_data,
    wrote,
)
from elboroom.cli.commands.endpoints import Endpoint, EndpointFinder
from elboroom.cli.commands.photos import is_changed
from elboroom.cli.options import Prepare
from elboroom.errors import UsageError, printable
from elboroom.evaluation.health import check_finite
from elboroom.evaluation.neighbours import Space
from elboroom.evaluation.neighbours import nearest as nearest_examples
from elboroom.figures import by_class, morphs
from elboroom.figures.morphs import Morph
from elboroom.latent.arrays import numbers, seeded, standardizes
from elboroom.latent.paths import PATHS, linear
from elboroom.models.conditioning import Examples, together
from elboroom.models.vae import VAE, Array
from elboroom.runs.run import Run


def _on_the_way(a: Endpoint, b: Endpoint, steps: int) -> Tensor | None:
    """Conditions (steps, C) straight from one end's to the other's."""
    if a.condition is None or b.condition is None:
        return None
    return linear(a.condition, b.condition, steps)


def morph(
    run: Run,
    names: Sequence[str],
    *,
    walk: str,
    toward: str | None,
    away: str | None,
    strength: float,
    refining: int,
    steps: int,
    seed: int,
    out: Path | None,
    milliseconds: int,
    overwrite: bool,
    prepare: Prepare,
    device: str,
    label: str | None = None,
    to_label: str | None = None,
) -> None:
    """Walk from examples to another or along an attribute: a looping GIF, a film, a strip or a sheet."""
    vae = load_model(run, device)
    default, allowed = run.path / "figures" / "morph.gif", (".gif", ".mp4", ".png")
    path = output_file(out, default, allowed, overwrite=overwrite)
    kind = path.suffix.lower()
    if kind == ".mp4":
        morphs.find_ffmpeg(path)
    finder = EndpointFinder(run, vae, seed, refining, prepare, label)
    if to_label is not None:
        pairs = finder.relabelled(names, to_label)
    else:
        pairs = finder.pairs(names) if toward is None else finder.moved(names, toward, away, strength)
    ways = [_walked(finder, walk, a, b, steps) for a, b in pairs]
    if kind == ".png":
        if len(ways) == 1 and not refining:
            ends = f"From {pairs[0][0].name} to {pairs[0][1].name}"
            title = f"{ends}: decoded codes on a {walk} walk; originals are framed"
            save_figure(morphs.strip(vae, ways[0], title=title), path)
        else:
            save_figure(morphs.sheet(vae, ways), path)
        return
    conditions = [one.condition for one in ways if one.condition is not None]
    told = torch.cat(conditions) if conditions else None
    frames = morphs.path_frames(vae, *(one.path for one in ways), condition=told)
    save, size = (morphs.save_gif, 256) if kind == ".gif" else (morphs.save_mp4, 512)
    save(frames, path, size=size if len(ways) == 1 else 5 * size // 2, milliseconds=milliseconds)
    wrote(path)
    if any(is_changed(name, vae.shape, prepare) for name in names):  # frames do not show what was encoded
        place = path.with_name(f"{path.stem}-ends.png")
        save_figure(morphs.sheet(vae, ways), free_files([place], named=False, overwrite=overwrite)[0])


def _walked(finder: EndpointFinder, walk: str, a: Endpoint, b: Endpoint, steps: int) -> Morph:
    vae, condition = finder.vae, _on_the_way(a, b, steps)
    prior = vae.prior
    if condition is not None and hasattr(prior, "given"):  # that in the middle of the way
        with torch.no_grad():
            prior = prior.given(condition.mean(0, keepdim=True))
    path = PATHS[walk](prior, lambda: finder.codes)(a.code, b.code, steps)
    name = f"{by_class.wrapped(a.name)}\n→ {by_class.wrapped(b.name)}"
    return Morph(path, a.x, b.x, name=name, refined=finder.refining > 0, condition=condition)


def neighbours(
    run: Run,
    names: Sequence[str],
    *,
    samples: int,
    frames: int,
    n: int,
    space: Space,
    seed: int,
    out: Path | None,
    overwrite: bool,
    prepare: Prepare,
    device: str,
    label: str | None = None,
) -> None:
    """Draw images, samples or the frames of a morph beside the training examples nearest to them."""
    vae = load_model(run, device)
    path = output_file(out, run.path / "figures" / "neighbours.png", (".png",), overwrite=overwrite)
    data = seen_data(run, vae)
    if frames:
        (start, end), *more = EndpointFinder(run, vae, seed, prepare=prepare, told=label).pairs(names)
        if more:
            raise UsageError(f"--frames {frames} takes two images, the ends of a morph; got {len(names)}")
        labels = [f"frame {i + 1}" for i in range(frames)]
        condition = _on_the_way(start, end, frames)
        decoded = numbers(vae.decode(linear(start.code, end.code, frames), condition).mean)
        queries: Array = decoded if condition is None else Examples(decoded, numbers(condition))
    else:
        told = named_condition(vae, label)
        read = [read_example(name, vae, run, prepare=prepare, label=label) for name in names]
        queries = together([*read, *_sampled(fixed(vae, label) if samples else vae, samples, seed, told)])
        labels = [*(Path(name).name for name in names), *(f"sample {i + 1}" for i in range(samples))]
    found = nearest_examples(data, queries, n, space, vae=vae)
    check_finite({"distances": found.distances}, str(run.path))
    save_figure(by_class.neighbour_sheet(data, queries, labels, found, vae=vae), path)
    for name, rows, distances, usual, copied in zip(labels, *found, found.copied, strict=True):
        print(
            f"{printable(name)}: nearest is :{rows[0]} at {distances[0]:.4g}, and {usual:.4g} is usual "
            "around there" + ("; (nearly) a copy" if copied else "")
        )
    unit = "Euclidean, between codes"
    if space == "pixels":
        unit = f"root mean square differences per {'pixel' if data.is_image else 'number'}"
        unit += ", standardised" if standardizes(vae) else ""
    print(printable(f":N is example N of {data.name}; distances are {unit}"))


def _sampled(vae: VAE, n: int, seed: int, told: NDArray[Any] | None) -> list[Array]:
    """Draws from a model, each with the condition that was given."""
    with seeded(vae, seed):
        drawn = numbers(vae.sample(n)) if n else ()
    return [x if told is None else Examples(x, told) for x in drawn]
