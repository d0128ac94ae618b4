"""The form of all data: an array of examples, their split and, if known, their labels."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from elboroom.config.columns import Column
from elboroom.config.shapes import COLOURS
from elboroom.data.centre import stored_of
from elboroom.data.examples import as_examples
from elboroom.data.labels import checked_labels
from elboroom.data.preparation import Preparation
from elboroom.data.rows import Array as Array  # re-exported for the rest of the package
from elboroom.data.rows import chunks as chunks
from elboroom.data.rows import take
from elboroom.errors import UsageError

Part = Literal["train", "test", "validation", "all"]

TRAIN, TEST, VALIDATION = 0, 1, 2
_PARTS = {"train": TRAIN, "test": TEST, "validation": VALIDATION}

_FINGERPRINT_BYTES = 64 << 20
_MUCH = 0.1  # a share left out that is worth a warning


@dataclass(frozen=True)
class Skipped:
    """One input that could not be used, and why."""

    path: str
    reason: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples with a fixed split; checked when built, so that the rest of the code can trust it.

    Attributes
    ----------
    name : str
        What the user called it.
    x : numpy.ndarray
        The examples: uint8 or float32, ``(n, h, w, c)`` for images, ``(n, t, d)`` for
        time series of t steps, ``(n, d)`` for rows; perhaps a memory
        map, or `Joined` ones, which may be larger than memory: `values` reads their files. Float16 and
        float64 become float32, and integers that fit become uint8, when the object is built.
    split : numpy.ndarray
        uint8 ``(n,)`` of `TRAIN`, `TEST` and `VALIDATION`.
    labels : numpy.ndarray, optional
        int64 ``(n,)``; they index `label_names` where there are any.
    label_names : tuple of str
        The names of labels 0, 1, …; may be empty.
    scale : float
        The model sees ``x / scale``: 255 for 8-bit pixels, 256 for the text files of the Haskell program, 1
        for floats and for images that are 0 or 1.
    published_split : bool
        Whether the split came with the data; if not, elboroom drew it.
    skipped : tuple of Skipped
        Inputs left out, with the reasons.
    origin : str
        Where the data came from, in a few words.
    vectors : numpy.ndarray, optional
        float32 ``(n, C)``: the condition of each example, such as its attributes.
    preparation : Preparation, optional
        How the examples were made of image files; None if that is not known.
    rows : numpy.ndarray, optional
        int64 ``(n,)``: which row of the source each example was, from 0 on, those that were left out
        counted too; None if none was left out.
    names : tuple of str
        Of the examples: their files, or what an index column says; may be empty.
    notes : tuple of str
        How the source was read, a fact each.
    columns : tuple of Column
        The columns of a table ``(n, d)`` of cells of different kinds, d of them; empty for all other data.
        Cells may then be missing, as nan.
    left_out : tuple of Column
        Columns of the table that are not in ``x``: identifiers, and those that are ignored.

    Raises
    ------
    UsageError
        If the lengths disagree, the type or shape is not one of the above, a float is nan or infinite, or
        nothing is left to train on.

    Examples
    --------
    >>> x = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1)
    >>> data = Dataset("tiny", x, split=np.array([0, 0, 1]), scale=255)
    >>> data.shape, len(data), data.indices("test").tolist()
    ((2, 2, 1), 3, [2])
    >>> print(data.describe())
    tiny: 2 train, 1 test, 2×2×1 uint8, no labels
    """

    name: str
    x: Array
    split: Array
    labels: Array | None = None
    label_names: tuple[str, ...] = ()
    scale: float = 1.0
    published_split: bool = False
    skipped: tuple[Skipped, ...] = ()
    origin: str = ""
    vectors: Array | None = None
    preparation: Preparation | None = None
    rows: Array | None = None
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    left_out: tuple[Column, ...] = ()

    def __post_init__(self) -> None:
        x = as_examples(self.x, self.name, missing=bool(self.columns))
        if self.columns and x.shape[1:] != (len(self.columns),):
            raise UsageError(f"{self.name}: {len(self.columns)} columns for rows of shape {x.shape[1:]}")
        set_field = object.__setattr__  # the class is frozen; these are the checked forms of its own fields
        set_field(self, "x", x)
        set_field(self, "split", _checked_split(self.split, len(x), self.name))
        set_field(self, "label_names", tuple(str(label) for label in self.label_names))
        set_field(self, "labels", checked_labels(self.labels, len(x), self.label_names, self.name))
        set_field(self, "vectors", _checked_vectors(self.vectors, len(x), self.name))
        for field in ("rows", "names"):
            found = getattr(self, field)
            if found is not None and len(found) not in (len(x), 0 if field == "names" else -1):
                raise UsageError(
                    f"{self.name}: {len(found)} {field} for {len(x)} examples; give one for each"
                )
        set_field(self, "scale", float(self.scale))
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise UsageError(f"{self.name}: scale is {self.scale}; it must be a positive number such as 255")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example: ``(h, w, c)``, ``(t, d)`` or ``(d,)``."""
        return tuple(self.x.shape[1:])

    @property
    def is_image(self) -> bool:
        """Whether an example is an image ``(h, w, c)``."""
        return self.x.ndim == 4

    def indices(self, part: Part) -> Array:
        """Rows of one part of the split, ascending.

        Parameters
        ----------
        part : {"train", "test", "validation", "all"}
            Which part.

        Returns
        -------
        numpy.ndarray
            int64; empty if the part is.

        Raises
        ------
        UsageError
            If there is no such part.
        """
        if part == "all":
            return np.arange(len(self), dtype=np.int64)
        if part not in _PARTS:
            raise UsageError(f"no part {part!r} in a data set; choose one of {', '.join(_PARTS)}, all")
        return np.flatnonzero(self.split == _PARTS[part]).astype(np.int64)

    def values(self, indices: Array | slice) -> Array:
        """Return these rows as the model sees them: ``x[indices] / scale``, float32 ``(len, *shape)``."""
        rows = np.asarray(take(self.x, indices), dtype=np.float32)
        return rows if self.scale == 1.0 else rows / np.float32(self.scale)

    def fingerprint(self, *, labels: bool = False) -> str:
        """SHA-256 (hexadecimal) over shape, type, split, contents, and vectors if there are any.

        With ``labels`` over them too, for a model that learns from them.
        Contents of up to 64 MB are hashed whole. Of larger ones, evenly spaced rows that add up to 64 MB
        are, so that it stays quick on memory maps: two such sets that differ only in rows between those have
        one fingerprint.
        """
        x, shown = stored_of(self.x), "" if stored_of(self.x) is self.x else f" {self.shape}"
        digest = hashlib.sha256(f"{x.shape} {x.dtype.str}{shown}".encode())
        digest.update(np.ascontiguousarray(self.split).data)
        for column in self.columns:
            meaning = (column.name, *column.categories, column.origin, column.step)
            digest.update(repr(meaning).encode("utf-8", "surrogatepass"))
        if self.vectors is not None:
            digest.update(np.ascontiguousarray(self.vectors).data)
        if labels and self.labels is not None:
            digest.update(np.ascontiguousarray(self.labels, np.int64).data)
        if x.nbytes <= _FINGERPRINT_BYTES:
            for rows in chunks(x):
                digest.update(np.ascontiguousarray(rows).data)
        else:
            count = max(2, _FINGERPRINT_BYTES // (x.nbytes // len(self)))
            spread = np.linspace(0, len(self) - 1, min(count, len(self)), dtype=np.int64)
            for some in np.array_split(spread, 16):
                digest.update(np.ascontiguousarray(take(x, some)).data)
        return digest.hexdigest()

    def with_validation(self, fraction: float, seed: int = 0) -> Dataset:
        """Move a share of the training examples to validation, drawn by `seed`.

        Parameters
        ----------
        fraction : float
            Share of the training examples, ``0 <= fraction < 1``; the count is rounded, and is at least one
            unless the fraction is 0.
        seed : int
            Which draw; one seed always gives one split.

        Raises
        ------
        UsageError
            If the fraction is out of range, or nothing is left to train on.
        """
        if not 0 <= fraction < 1:
            raise UsageError(
                f"validation fraction is {fraction}; it must be at least 0 and below 1, such as 0.1"
            )
        if fraction == 0:
            return self
        train = self.indices("train")
        count = max(1, round(fraction * len(train)))
        if count >= len(train):
            raise UsageError(
                f"{self.name}: a validation fraction of {fraction} takes all {len(train)} training examples; "
                "use a smaller fraction or more data"
            )
        split = self.split.copy()
        split[np.random.default_rng(seed).permutation(train)[:count]] = VALIDATION
        return dataclasses.replace(self, split=split)

    def label_name(self, label: int) -> str:
        """What a label is called; its number if it has no name."""
        return self.label_names[label] if 0 <= label < len(self.label_names) else str(label)

    def with_origin(self, origin: str) -> Dataset:
        """Return the same data set with another `origin`, without checking it again."""
        found = copy.copy(self)
        object.__setattr__(found, "origin", origin)
        return found

    def describe(self) -> str:
        """Describe the data set in one line: counts, shape, type, labels, origin and what was skipped."""
        counts = [(part, len(self.indices(part))) for part in ("train", "validation", "test")]
        facts = [f"{count:,} {part}" for part, count in counts if count or part == "train"]
        facts.append(f"{'×'.join(map(str, self.shape))} {self.x.dtype}")
        if self.is_image and self.shape[2] > COLOURS:
            facts.append(f"{self.shape[2]} bands, of which pictures show the first three")
        kinds = 0 if self.labels is None else len(self.label_names) or len(np.unique(self.labels))
        facts.append(f"{kinds or 'no'} label{'' if kinds == 1 else 's'}")
        whites = [] if self.preparation is None else [each.white for _, each in self.preparation.by_label]
        if whites and max(whites) < 65535:
            facts.append(f"16-bit files hold at most {max(whites):,}, which is taken for white")
        if self.skipped:
            facts.append(f"{len(self.skipped):,} skipped")
        return f"{self.name}: {', '.join(facts)}" + (f" (from {self.origin})" if self.origin else "")


def skipped_lines(data: Dataset, most: int = 5) -> list[str]:
    """Lines about what was left out: its share, as a warning if that is large, and the first reasons."""
    count = len(data.skipped)
    if not count:
        return []
    share = count / (count + len(data))
    lines = (
        [f"warning: {count:,} of {count + len(data):,} ({share:.0%}) are left out"] if share > _MUCH else []
    )
    lines += [f"skipped {skipped.path}: {skipped.reason}" for skipped in data.skipped[:most]]
    return lines + ([f"skipped {count - most:,} more, {count:,} in all"] if count > most else [])


def refuse_skipped(data: Dataset) -> None:
    """Refuse data of which anything was left out.

    Raises
    ------
    UsageError
        That names the first input and its reason.
    """
    if data.skipped:
        first = data.skipped[0]
        more = f" (and {len(data.skipped) - 1} more)" if len(data.skipped) > 1 else ""
        raise UsageError(f"{first.path}: {first.reason}{more}; correct or remove it")


def draw_split(n: int, fraction: float = 0.1) -> Array:
    """Draw the split of data that came without one: a fixed permutation, so one `n` has one split.

    At least one example is for testing as soon as there are two.

    Examples
    --------
    >>> int(draw_split(1000).sum()), int(draw_split(2).sum()), int(draw_split(1).sum())
    (100, 1, 0)
    """
    split = np.full(n, TRAIN, dtype=np.uint8)
    count = max(1, round(fraction * n)) if n >= 2 else 0
    split[np.random.default_rng(0).permutation(n)[:count]] = TEST
    return split


def _checked_split(split: Array, n: int, name: str) -> Array:
    split = np.asarray(split)
    if split.shape != (n,):
        raise UsageError(
            f"{name}: the split has shape {split.shape}; it must be ({n},), one number per example"
        )
    if not np.isin(split, (TRAIN, TEST, VALIDATION)).all():
        found = np.setdiff1d(split, (TRAIN, TEST, VALIDATION))[0].item()
        raise UsageError(
            f"{name}: the split contains {found!r}; it must be 0 (train), 1 (test) or 2 (validation)"
        )
    if not (split == TRAIN).any():
        raise UsageError(f"{name}: no example is for training; the split needs some 0 (train)")
    return split.astype(np.uint8, copy=False)


def _checked_vectors(vectors: Array | None, n: int, name: str) -> Array | None:
    if vectors is None:
        return None
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or len(vectors) != n or not vectors.shape[1]:
        raise UsageError(
            f"{name}: the vectors have shape {vectors.shape}; it must be ({n}, C), one per example"
        )
    if vectors.dtype.kind not in "biuf":
        raise UsageError(f"{name}: the vectors hold {vectors.dtype}; they must be numbers")
    with np.errstate(over="ignore"):  # what does not fit turns infinite, and is refused
        vectors = vectors.astype(np.float32, copy=False)
    bad = np.flatnonzero(~np.isfinite(vectors).all(1))
    if len(bad):
        raise UsageError(
            f"{name}: the vectors of {len(bad)} example(s) hold nan or infinite numbers, the first in row "
            f"{bad[0]} (counting from 0); fill them"
        )
    return vectors
