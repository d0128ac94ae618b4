"""``morph``, ``neighbours`` and ``report``: ways between examples, and whether to believe what is on them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom import morphs, sheets
from elboroom.canvas import Numbers, evenly, numbers, seeded
from elboroom.commands.common import (
    condition_vector,
    console,
    example_of,
    fixed,
    load_model,
    named_condition,
    output_file,
    read_example,
    run_data,
    save_figure,
    shown,
    wrote,
)
from elboroom.conditions import Examples, apart, together
from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.data.conditioned import conditions_of
from elboroom.errors import UsageError, nearest
from elboroom.evaluation.classes import ClassReport, report_classes
from elboroom.evaluation.neighbours import Space, embed_rows
from elboroom.evaluation.neighbours import nearest as nearest_examples
from elboroom.model import VAE, Array
from elboroom.morphs import Morph
from elboroom.run import Run
from elboroom.targets import How, attribute_slope, attribute_vector, class_target, refine
from elboroom.walks import WALKS, linear

_CLASS = re.compile(r"(?P<label>.+):(?P<how>[a-z]+)")
_CODES = 20_000  # most training examples whose codes tell what an attribute is and where codes are dense


@dataclass(frozen=True)
class _End:
    """Where a walk starts or ends: its name, its code (d,), and its example (*shape) if there is one.

    In a conditional model it has a condition (C,) as well.
    """

    name: str
    code: Tensor
    x: Array | None = None
    condition: Tensor | None = None


@dataclass(frozen=True)
class _Finder:
    """Finds the ends that people name, in a run's data where need be."""

    run: Run
    vae: VAE
    seed: int = 0
    refining: int = 0
    resize: bool = False
    told: str | None = None  # what a conditional model is told of images, as --label

    @cached_property
    def data(self) -> Dataset:
        """The run's own."""
        return run_data(self.run)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Theirs, (n,)."""
        if self.data.labels is None:
            raise UsageError(f"{self.data.name} has no labels; name images instead of classes")
        return self.data.labels

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Training examples that stand for all, evenly taken."""
        train = self.data.indices("train")
        return train[evenly(len(train), _CODES)]

    @cached_property
    def codes(self) -> Numbers:
        """Codes (n, d) of ``rows``."""
        return embed_rows(self.vae, self.data, self.rows)

    def label(self, name: str) -> int:
        """Which label has this name; one of a folder called "dogs" is a "dog" too."""
        known = {self.data.label_name(int(label)): int(label) for label in np.unique(self.labels)}
        if name not in known and f"{name}s" in known:
            name = f"{name}s"
        if name not in known:
            raise UsageError(f"no label {name!r} in {self.data.name}; {nearest(name, known)}")
        return known[name]

    def find(self, name: str, place: int, of: Tensor | None = None) -> _End:
        """Resolve an image file, SET:INDEX or LABEL:HOW; ``place`` tells random ones apart."""
        label, how = _parsed(name)
        if how is None:
            x = read_example(name, self.vae, self.run, resize=self.resize, label=self.told)
            return self._encoded(Path(name).name, x)
        rows = np.flatnonzero(self.labels == self.label(label))
        if how == "random":  # of one example the code is enough
            rows = np.random.default_rng((self.seed, place)).choice(rows, 1)
        codes = torch.from_numpy(embed_rows(self.vae, self.data, rows))
        target = class_target(codes, self.labels[rows], self.label(label), how, of=of)
        if target.row is None:
            code = target.code.to(next(self.vae.parameters()))
            return _End(name, code, condition=self._mean_condition(rows))
        row = int(rows[target.row])
        console().print(f"{name} is :{row}")
        return self._encoded(f"{name} (:{row})", example_of(self.vae, self.data, row))

    def _encoded(self, name: str, x: Array) -> _End:
        condition = self.vae.told(apart(x[None])[1], 1)
        code = refine(self.vae, x[None], steps=self.refining)[0]
        return _End(name, code, x, None if condition is None else condition[0])

    def _mean_condition(self, rows: NDArray[np.int64]) -> Tensor | None:
        if self.vae.condition is None:
            return None
        told = self.vae.told(conditions_of(self.data, self.vae.condition)[rows], len(rows))
        return None if told is None else told.mean(0)

    def pairs(self, names: Sequence[str]) -> list[tuple[_End, _End]]:
        """Each of the first names with the last; "nearest" is to the other end."""
        *first, last = names
        to_nearest = _parsed(last)[1] == "nearest"
        shared = None if to_nearest else self.find(last, len(first))
        pairs = []
        for place, name in enumerate(first):
            if to_nearest and _parsed(name)[1] == "nearest":
                raise UsageError(f"{name} and {last}: one of the two must be an image, random or mean")
            start = self.find(name, place, None if shared is None else shared.code)
            pairs.append((start, shared or self.find(last, place, start.code)))
        return pairs

    def moved(
        self, names: Sequence[str], toward: str, away: str | None, strength: float
    ) -> list[tuple[_End, _End]]:
        """Each example, and where an attribute takes its code."""
        vector = (strength * self._attribute(toward, away)).to(next(self.vae.parameters()))
        words = f"{strength:+g} {Path(toward).stem}" + (f" − {away}" if away is not None else "")
        starts = [self.find(name, place) for place, name in enumerate(names)]
        return [(start, _End(words, start.code + vector, condition=start.condition)) for start in starts]

    def relabelled(self, names: Sequence[str], label: str) -> list[tuple[_End, _End]]:
        """Each example, and the same with another condition."""
        if self.vae.condition is None:
            raise UsageError(
                f"--to-label {label}: this run's model is not conditional; --toward {label} moves codes there"
            )
        told = torch.from_numpy(condition_vector(self.vae, self.vae.condition.parse(label)))
        starts = [self.find(name, place) for place, name in enumerate(names)]
        pairs = []
        for start in starts:
            assert start.condition is not None
            code = self.vae.carried(start.code[None], start.condition, told)[0]
            pairs.append((start, _End(f"as {label}", code, condition=told.to(code))))
        return pairs

    def _attribute(self, toward: str, away: str | None) -> Tensor:
        """From one label to another; or one standard deviation of the values in a .npy."""
        if Path(toward).suffix == ".npy":
            values = _read_values(Path(toward), len(self.data))[self.rows]
            return attribute_slope(self.codes, values) * float(np.nanstd(values))
        positive, negative = self.label(toward), None if away is None else self.label(away)
        return attribute_vector(self.codes, self.labels[self.rows], positive, negative)


def _on_the_way(a: _End, b: _End, steps: int) -> Tensor | None:
    """Conditions (steps, C) straight from one end's to the other's."""
    if a.condition is None or b.condition is None:
        return None
    return linear(a.condition, b.condition, steps)


def _parsed(name: str) -> tuple[str, How | None]:
    """Label and choice of "dog:random"; no choice in what is a file or an example's index."""
    found = _CLASS.fullmatch(name)
    if found is None or Path(name).exists():
        return name, None
    if found["how"] not in get_args(How):
        raise UsageError(
            f"{name}: after a label stands how to choose; {nearest(found['how'], get_args(How))}"
        )
    how: How = found["how"]  # type: ignore[assignment]
    return found["label"], how


def _read_values(path: Path, n: int) -> NDArray[np.float32]:
    try:
        values = np.load(path, allow_pickle=False).astype(np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"--toward {path}: cannot be read as numbers ({error})") from None
    if values.shape != (n,):
        raise UsageError(
            f"--toward {path} holds {values.shape}; give one number per example in the data's order, ({n},), "
            "NaN where it is not known"
        )
    return values


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
    resize: bool,
    device: str,
    label: str | None = None,
    to_label: str | None = None,
) -> None:
    """Walk from examples to another or along an attribute: a looping GIF, a film, a strip or a sheet."""
    vae = load_model(run, device)
    path = output_file(out, run.path / "figures" / "morph.gif", (".gif", ".mp4", ".png"))
    kind = path.suffix.lower()
    if kind == ".mp4":
        morphs.find_ffmpeg(path)
    finder = _Finder(run, vae, seed, refining, resize, label)
    if to_label is not None:
        pairs = finder.relabelled(names, to_label)
    else:
        pairs = finder.pairs(names) if toward is None else finder.moved(names, toward, away, strength)
    ways = [_walked(finder, walk, a, b, steps) for a, b in pairs]
    if kind == ".png":
        single = len(ways) == 1 and not refining
        save_figure(morphs.strip(vae, ways[0]) if single else morphs.sheet(vae, ways), path)
        return
    conditions = [one.condition for one in ways if one.condition is not None]
    told = torch.cat(conditions) if conditions else None
    frames = morphs.path_frames(vae, *(one.path for one in ways), condition=told)
    save, size = (morphs.save_gif, 256) if kind == ".gif" else (morphs.save_mp4, 512)
    save(frames, path, size=size if len(ways) == 1 else 5 * size // 2, milliseconds=milliseconds)
    wrote(path)


def _walked(finder: _Finder, walk: str, a: _End, b: _End, steps: int) -> Morph:
    vae, condition = finder.vae, _on_the_way(a, b, steps)
    prior = vae.prior
    if condition is not None and hasattr(prior, "given"):  # that in the middle of the way
        with torch.no_grad():
            prior = prior.given(condition.mean(0, keepdim=True))
    path = WALKS[walk](prior, lambda: finder.codes)(a.code, b.code, steps)
    name = f"{sheets.wrapped(a.name)}\n→ {sheets.wrapped(b.name)}"
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
    resize: bool,
    device: str,
    label: str | None = None,
) -> None:
    """Draw images, samples or the frames of a morph beside the training examples nearest to them."""
    vae = load_model(run, device)
    path = output_file(out, run.path / "figures" / "neighbours.png", (".png",))
    data = run_data(run)
    if frames:
        (start, end), *more = _Finder(run, vae, seed, resize=resize, told=label).pairs(names)
        if more:
            raise UsageError(f"--frames {frames} takes two images, the ends of a morph; got {len(names)}")
        labels = [f"frame {i + 1}" for i in range(frames)]
        condition = _on_the_way(start, end, frames)
        decoded = numbers(vae.decode(linear(start.code, end.code, frames), condition).mean)
        queries: Array = decoded if condition is None else Examples(decoded, numbers(condition))
    else:
        told = named_condition(vae, label)
        read = [read_example(name, vae, run, resize=resize, label=label) for name in names]
        queries = together([*read, *_sampled(fixed(vae, label) if samples else vae, samples, seed, told)])
        labels = [*(Path(name).name for name in names), *(f"sample {i + 1}" for i in range(samples))]
    found = nearest_examples(data, queries, n, space, vae=vae)
    save_figure(sheets.neighbour_sheet(data, queries, labels, found), path)
    for name, rows, distances, usual, copied in zip(labels, *found, found.copied, strict=True):
        console().print(
            f"{name}: nearest is :{rows[0]} at {distances[0]:.4g}, and {usual:.4g} is usual around there"
            + ("; (nearly) a copy" if copied else "")
        )


def _sampled(vae: VAE, n: int, seed: int, told: NDArray[Any] | None) -> list[Array]:
    """Draws from a model, each with the condition that was given."""
    with seeded(vae, seed):
        drawn = numbers(vae.sample(n)) if n else ()
    return [x if told is None else Examples(x, told) for x in drawn]


def report(
    run: Run,
    source: str | None,
    split: Literal["test", "validation", "train", "all"],
    seed: int,
    device: str,
    *,
    as_json: bool,
) -> None:
    """Print how well each class is rebuilt, and as what."""
    data, vae = run_data(run, source), load_model(run, device)
    if data.labels is None:
        raise UsageError(f"{data.name} has no labels, so there are no classes to report on")
    where = next(vae.parameters()).device
    batches = Batches(data, where, binarize=run.config.data.binarize)
    if not len(data.indices(split)):
        raise UsageError(f"{data.name} has no {split} examples; choose another --split")
    names = [data.label_name(label) for label in range(int(data.labels.max()) + 1)]
    rows, reference = data.indices(split), data.indices("train")
    found = report_classes(vae, batches, data.labels, rows, reference, names, seed=seed)
    print(
        json.dumps(found.as_dict())
        if as_json
        else _table(found, f"{shown(run.path)} on {data.name}, {split}")
    )


def _table(found: ClassReport, what: str) -> str:
    """A line per class, and the warnings."""
    measures = [name for name in ("distortion", "rate", "mse", "ssim") if name in found.measures]
    width = max(12, *map(len, found.names))
    heads = [f"{name:>12}" for name in ("examples", *measures, "originals", "rebuilt", "codes")]
    lines = [
        f"{what} examples: nats per example; share nearest to the mean of their own class",
        f"  {'':<{width}}{''.join(heads)}",
    ]
    for i, name in enumerate(found.names):
        cells = [f"{found.counts[i]:>12,}"]
        cells += [f"{found.measures[m][i]:>12.{1 if m in ('distortion', 'rate') else 4}f}" for m in measures]
        cells += [f"{shares[i, i]:>12.0%}" for shares in found.seen_as.values()]
        lines.append(f"  {name:<{width}}{''.join(cells)}")
    return "\n".join([*lines, *(f"warning: {line}" for line in found.warnings())])
