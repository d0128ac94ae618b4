"""The endpoints of a morph: an example, the mean of a class, or an example moved along an attribute."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.cli.console import console
from elboroom.cli.inputs.examples import example_of, read_example
from elboroom.cli.inputs.model import condition_vector
from elboroom.cli.inputs.run_data import seen_data
from elboroom.cli.options import Prepare
from elboroom.data import Dataset
from elboroom.data.arrays import map_numbers
from elboroom.errors import UsageError, nearest
from elboroom.evaluation.examples import condition_of
from elboroom.evaluation.neighbours import embed_rows
from elboroom.figures.by_class import wrapped
from elboroom.figures.morphs import Morph
from elboroom.latent.arrays import Numbers, evenly
from elboroom.latent.paths import PATHS, linear
from elboroom.latent.targets import How, attribute_slope, attribute_vector, class_target, refine
from elboroom.models.conditioning import apart
from elboroom.models.vae import VAE, Array
from elboroom.runs.run import Run

_CLASS = re.compile(r"(?P<label>.+):(?P<how>[a-z]+)")
_CODES = 20_000  # most training examples that are encoded for an attribute or a density


@dataclass(frozen=True)
class Endpoint:
    """One end of a path: its name, its code (d,), and its example (*shape) if there is one.

    In a conditional model it also has a condition (C,).
    """

    name: str
    code: Tensor
    x: Array | None = None
    condition: Tensor | None = None


@dataclass(frozen=True)
class EndpointFinder:
    """Finds the endpoints that the user names, and the path between two.

    ``refining`` counts the gradient steps that refine the code of an image; ``label`` is the condition of
    images for a conditional model.
    """

    run: Run
    vae: VAE
    seed: int = 0
    refining: int = 0
    prepare: Prepare = "auto"
    label: str | None = None

    @cached_property
    def data(self) -> Dataset:
        """The run's data."""
        return seen_data(self.run, self.vae)

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels (n,) of the data."""
        if self.data.labels is None:
            raise UsageError(f"{self.data.name} has no labels; name images instead of classes")
        return self.data.labels

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Rows of evenly chosen training examples."""
        train = self.data.indices("train")
        return train[evenly(len(train), _CODES)]

    @cached_property
    def codes(self) -> Numbers:
        """Codes (n, d) of these rows."""
        return embed_rows(self.vae, self.data, self.rows)

    def label_of(self, name: str) -> int:
        """Find the label with this name; "dog" also finds the label of a folder "dogs"."""
        known = {self.data.label_name(int(label)): int(label) for label in np.unique(self.labels)}
        if name not in known and f"{name}s" in known:
            name = f"{name}s"
        if name not in known:
            raise UsageError(f"no label {name!r} in {self.data.name}; {nearest(name, known)}")
        return known[name]

    def find(self, name: str, place: int, of: Tensor | None = None) -> Endpoint:
        """Resolve an image file, SET:INDEX or LABEL:HOW; ``place`` varies the choice of LABEL:random."""
        label, how = _parsed(name)
        if how is None:
            x = read_example(name, self.vae, self.run, prepare=self.prepare, label=self.label)
            return self._encoded(Path(name).name, x)
        rows = np.flatnonzero(self.labels == self.label_of(label))
        if how == "random":  # only this example needs encoding
            rows = np.random.default_rng((self.seed, place)).choice(rows, 1)
        codes = torch.from_numpy(embed_rows(self.vae, self.data, rows))
        target = class_target(codes, self.labels[rows], self.label_of(label), how, of=of)
        if target.row is None:
            code = target.code.to(next(self.vae.parameters()))
            return Endpoint(name, code, condition=self._mean_condition(rows))
        row = int(rows[target.row])
        console().print(f"{name}: chose example :{row}")
        return self._encoded(f"{name} (:{row})", example_of(self.vae, self.data, row))

    def _encoded(self, name: str, x: Array) -> Endpoint:
        condition = self.vae.condition_vectors(apart(x[None])[1], 1)
        code = refine(self.vae, x[None], steps=self.refining)[0]
        return Endpoint(name, code, x, None if condition is None else condition[0])

    def _mean_condition(self, rows: NDArray[np.int64]) -> Tensor | None:
        if self.vae.condition is None:
            return None
        vectors = self.vae.condition_vectors(condition_of(self.vae.condition, self.data, rows), len(rows))
        return None if vectors is None else vectors.mean(0)

    def pairs(self, names: Sequence[str]) -> list[tuple[Endpoint, Endpoint]]:
        """Pair each of the first names with the last; LABEL:nearest is nearest to the other endpoint."""
        *first, last = names
        to_nearest = _parsed(last)[1] == "nearest"
        shared = None if to_nearest else self.find(last, len(first))
        pairs = []
        for place, name in enumerate(first):
            if to_nearest and _parsed(name)[1] == "nearest":
                raise UsageError(
                    f"{name} and {last}: one of the two must be an image, LABEL:random or LABEL:mean"
                )
            start = self.find(name, place, None if shared is None else shared.code)
            pairs.append((start, shared or self.find(last, place, start.code)))
        return pairs

    def moved(
        self, names: Sequence[str], toward: str, away: str | None, strength: float
    ) -> list[tuple[Endpoint, Endpoint]]:
        """Pair each example with its code moved along an attribute."""
        vector = (strength * self._attribute(toward, away)).to(next(self.vae.parameters()))
        words = f"{strength:+g} {Path(toward).stem}" + (f" − {away}" if away is not None else "")
        starts = [self.find(name, place) for place, name in enumerate(names)]
        return [(start, Endpoint(words, start.code + vector, condition=start.condition)) for start in starts]

    def relabelled(self, names: Sequence[str], label: str) -> list[tuple[Endpoint, Endpoint]]:
        """Pair each example with the same code under another condition."""
        if self.vae.condition is None:
            raise UsageError(
                f"--to-label {label}: this run's model is not conditional; --toward {label} moves the code"
            )
        condition = torch.from_numpy(condition_vector(self.vae, self.vae.condition.parse(label)))
        starts = [self.find(name, place) for place, name in enumerate(names)]
        pairs = []
        for start in starts:
            assert start.condition is not None
            code = self.vae.carried(start.code[None], start.condition, condition)[0]
            pairs.append((start, Endpoint(f"as {label}", code, condition=condition.to(code))))
        return pairs

    def morph(self, start: Endpoint, end: Endpoint, path: str, steps: int) -> Morph:
        """Make the path between two endpoints, on which the condition changes linearly."""
        condition, prior = None, self.vae.prior
        if start.condition is not None and end.condition is not None:
            condition = linear(start.condition, end.condition, steps)
            if hasattr(prior, "given"):  # one prior for the whole path: that of the mean condition
                with torch.no_grad():
                    prior = prior.given(condition.mean(0, keepdim=True))
        codes = PATHS[path](prior, lambda: self.codes)(start.code, end.code, steps)
        name = f"{wrapped(start.name)}\n→ {wrapped(end.name)}"
        return Morph(codes, start.x, end.x, name=name, refined=self.refining > 0, condition=condition)

    def _attribute(self, toward: str, away: str | None) -> Tensor:
        """Return the vector (d,) between labels, or of one standard deviation of the values in a .npy."""
        if Path(toward).suffix == ".npy":
            values = _read_values(Path(toward), len(self.data))[self.rows]
            return attribute_slope(self.codes, values) * float(np.nanstd(values))
        positive, negative = self.label_of(toward), None if away is None else self.label_of(away)
        return attribute_vector(self.codes, self.labels[self.rows], positive, negative)


def _parsed(name: str) -> tuple[str, How | None]:
    """Split "dog:random" into label and choice; the choice is None for a file or an example's index."""
    found = _CLASS.fullmatch(name)
    if found is None or Path(name).exists():
        return name, None
    if found["how"] not in get_args(How):
        raise UsageError(
            f"{name}: unknown choice {found['how']!r} after the label; {nearest(found['how'], get_args(How))}"
        )
    how: How = found["how"]  # type: ignore[assignment]
    return found["label"], how


def _read_values(path: Path, n: int) -> NDArray[np.float32]:
    values = map_numbers(path, "--toward").astype(np.float32)
    if values.shape != (n,):
        raise UsageError(
            f"--toward {path} has shape {values.shape}; give one number per example in the data's order, "
            f"({n},), NaN where unknown"
        )
    return values
