"""Data sets and loaders of PyTorch: every example is read once, into memory."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np

from elboroom.data.arrays import from_array
from elboroom.data.dataset import Dataset
from elboroom.data.ecosystem.asked import Asked, as_words
from elboroom.data.memory import require_memory
from elboroom.data.rows import Array
from elboroom.errors import UsageError, shortened

_BATCH = 256


def from_torch(source: Any, asked: Asked) -> Dataset:
    """Make a data set of a ``torch.utils.data.Dataset`` or ``DataLoader``.

    An example is a tensor, an array or a picture of Pillow, or a tuple or list of one and its label. Images
    with the channels first, as torchvision has them, are brought to channels last. A loader is read in the
    order of its batches; if it only shuffles, in the order of its data set.

    Raises
    ------
    UsageError
        If an example is something else, examples differ in shape, some have no label, or memory is short.
    """
    for name in ("label_column", "layer"):
        if getattr(asked, name) is not None:
            raise UsageError(
                f"{name} = {getattr(asked, name)!r}: a data set of PyTorch has no columns; leave it out"
            )
    is_loader = hasattr(source, "collate_fn")
    base = source.dataset if is_loader else source
    name = type(base).__name__
    grown = _Grown(name, _count(base))
    for x, labels in _loaded(source) if is_loader else _batches(source, name):
        grown.add(x, labels)
    x, found = grown.finish()
    classes = getattr(base, "classes", None) or ()
    names = tuple(map(str, classes)) if found is not None and found.dtype.kind == "i" else ()
    if found is not None and len(names) and (found.min() < 0 or found.max() >= len(names)):
        names = ()
    x, moved = _channels_last(x)
    notes = ["every example was read once; random changes of a transform are not repeated"]
    notes += ["the channels, which came first, were moved last"] if moved else []
    return from_array(
        x,
        name,
        labels=found,
        label_names=names,
        series=False if moved else None,
        origin="a data set of PyTorch",
        notes=tuple(notes),
    )


class _Grown:
    """An array of examples that grows batch by batch."""

    def __init__(self, name: str, count: int | None):
        self._name = name
        self._count = count
        self._x: list[Array] = []
        self._labels: list[Array | None] = []
        self._rows = 0

    def add(self, x: Array, labels: Array | None) -> None:
        if self._x and x.shape[1:] != self._x[0].shape[1:]:
            raise UsageError(
                f"{self._name}: examples have shapes {self._x[0].shape[1:]} and {x.shape[1:]}; they must be "
                "alike"
            )
        if self._x and (labels is None) != (self._labels[0] is None):
            raise UsageError(f"{self._name}: some examples have a label and others have none")
        total = max(self._count or 0, self._rows + len(x))
        needed = 2 * total * (x.nbytes // max(1, len(x)))  # the parts, and then the whole
        if not self._x or self._count is None:
            require_memory(needed, f"{self._name}: {total:,} examples are read into memory", self._name)
        self._x.append(x)
        self._labels.append(labels)
        self._rows += len(x)

    def finish(self) -> tuple[Array, Array | None]:
        if not self._rows:
            raise UsageError(f"{self._name}: has no examples")
        labels = None
        if self._labels[0] is not None:
            labels = as_words(
                np.concatenate([part for part in self._labels if part is not None]).tolist(), self._name
            )
        return np.concatenate(self._x), labels


def _count(source: Any) -> int | None:
    try:
        return len(source)
    except TypeError:  # an iterable data set
        return None


def _batches(source: Any, name: str) -> Iterator[tuple[Array, Array | None]]:
    """Yield examples of a data set stacked, in its order."""
    count = _count(source)
    examples = iter(source) if count is None else (source[i] for i in range(count))
    while some := list(islice(examples, _BATCH)):
        pairs = [_pair(one, name) for one in some]
        values = [_array(x, name) for x, _ in pairs]
        if len({(one.shape, one.dtype) for one in values}) > 1:
            shapes = sorted({str(one.shape) for one in values})
            raise UsageError(f"{name}: examples have shapes {' and '.join(shapes[:2])}; they must be alike")
        labels = [label for _, label in pairs]
        if any(label is None for label in labels) and any(label is not None for label in labels):
            raise UsageError(f"{name}: some examples have a label and others have none")
        yield np.stack(values), None if labels[0] is None else np.array([_label(one, name) for one in labels])


def _loaded(loader: Any) -> Iterator[tuple[Array, Array | None]]:
    """Yield the batches of a loader; one that only shuffles is read in the order of its data set."""
    from torch.utils.data import RandomSampler

    name = type(loader.dataset).__name__
    sampler = getattr(loader, "sampler", None)
    whole = isinstance(sampler, RandomSampler) and not sampler.replacement and not loader.drop_last
    batches: Any = loader
    if (
        whole
        and sampler is not None
        and len(sampler) == len(loader.dataset)
        and loader.batch_size is not None
    ):
        size, data = loader.batch_size, loader.dataset
        starts = range(0, len(data), size)
        batches = (
            loader.collate_fn([data[i] for i in range(start, min(start + size, len(data)))])
            for start in starts
        )
    for batch in batches:
        x, labels = _pair(batch, name)
        found = _array(x, name)
        if found.ndim < 2:
            raise UsageError(
                f"{name}: a batch has shape {found.shape}; its first axis must be that of the examples"
            )
        yield found, None if labels is None else np.asarray(_plain(labels)).reshape(-1)


def _pair(example: Any, name: str) -> tuple[Any, Any]:
    if isinstance(example, tuple | list):
        if len(example) not in (1, 2):
            raise UsageError(
                f"{name}: an example has {len(example)} parts; it must be an array, or an array and its label"
            )
        return example[0], example[1] if len(example) == 2 else None
    return example, None


def _plain(value: Any) -> Any:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def _array(value: Any, name: str) -> Array:
    is_array = hasattr(value, "__array__") or hasattr(value, "__array_interface__")  # tensors; pictures
    if not is_array or isinstance(value, np.generic):
        raise UsageError(
            f"{name}: an example is {shortened(value)}, of type {type(value).__name__}; it must be a tensor, "
            "an array or a picture"
        )
    found = np.asarray(_plain(value))
    if found.dtype.kind not in "biuf" or not found.ndim:
        raise UsageError(
            f"{name}: an example contains {found.dtype} of shape {found.shape}; it must contain numbers"
        )
    return found


def _label(value: Any, name: str) -> Any:
    found = np.asarray(_plain(value))
    if found.ndim:
        raise UsageError(f"{name}: a label has shape {found.shape}; it must be one number or word")
    return found.item()


def _channels_last(x: Array) -> tuple[Array, bool]:
    """Move the channels of images (n, c, h, w) last, if the first axis can only be theirs."""
    if x.ndim == 4 and x.shape[1] in (1, 3) and x.shape[3] not in (1, 3):
        return np.ascontiguousarray(np.moveaxis(x, 1, -1)), True
    return x, False
