"""Conditions: a label or a vector for each example, for the encoder, the decoder and the prior.

A condition is a vector c of C numbers: a one-hot label, or any vector. The model is then one of p(x|c), and
the rate, ELBO and NLL of an example are those of x given c.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elboroom.errors import UsageError, nearest

Kind = Literal["labels", "vectors"]
Part = Literal["encoder", "decoder", "prior"]
Condition = (
    int | str | np.integer[Any] | Sequence[int] | Sequence[str] | Sequence[float] | Tensor | NDArray[Any]
)
"""One condition for all examples or one for each: labels by number or name, or vectors."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples with their conditions, for any function that takes examples of a conditional model.

    Attributes
    ----------
    x : array
        (n, *shape).
    condition : array
        Labels (n,) or vectors (n, C).

    Examples
    --------
    >>> pair = Examples(np.zeros((3, 4)), np.array([0, 1, 1]))[1:]
    >>> len(pair), pair.shape, pair.condition.tolist()
    (2, (2, 4), [1, 1])
    """

    x: Tensor | NDArray[Any]
    condition: Tensor | NDArray[Any]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, key: Any) -> Examples:
        return Examples(self.x[key], self.condition[key])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        x = self.x.detach().cpu().numpy() if isinstance(self.x, Tensor) else self.x
        return np.array(x, dtype) if copy else np.asarray(x, dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the examples, (n, *shape)."""
        return tuple(self.x.shape)

    @property
    def ndim(self) -> int:
        """Number of dimensions of the examples."""
        return self.x.ndim


Array = Tensor | NDArray[Any] | Examples


def apart(x: Array, condition: Condition | None = None) -> tuple[Tensor | NDArray[Any], Condition | None]:
    """Separate examples from their conditions, which are with the examples or given beside them.

    Raises
    ------
    UsageError
        If there are conditions in both places.
    """
    if not isinstance(x, Examples):
        return x, condition
    if condition is not None:
        raise UsageError("these examples have conditions of their own; leave condition= out")
    return x.x, x.condition


def together(examples: Sequence[Array]) -> Array:
    """Stack single examples (*shape), with their conditions if they have them."""
    x = np.stack([np.asarray(one) for one in examples])
    if not any(isinstance(one, Examples) for one in examples):
        return x
    return Examples(x, np.stack([np.asarray(one.condition) for one in examples if isinstance(one, Examples)]))


class Conditioning(nn.Module):
    """How a condition enters the encoder and the decoder of a VAE; a conditional prior has its own maps.

    The encoder reads x + A c, with a learned matrix A that starts at 0. The decoder reads the code joined by
    c, so it must take ``latent_dim`` + C numbers. The networks need not be made for conditions otherwise.

    Parameters
    ----------
    kind : {"labels", "vectors"}
        Whether conditions are labels or vectors.
    size : int
        C: length of a vector, or number of labels.
    shape : tuple of int
        Shape of one example.
    names : sequence of str
        Names of labels 0, 1, …; may be empty.
    ids : sequence of int
        If labels are numbers other than 0, 1, …, such as years: those numbers, one for each class. A label is
        then given by this number. Empty if labels are 0, 1, … or have names.
    parts : sequence of {"encoder", "decoder", "prior"}
        Parts that take the condition.

    Raises
    ------
    UsageError
        If ``size`` < 1, if parts are empty or unknown, or if names or distinct numbers are not as many as
        labels.

    Examples
    --------
    >>> conditioning = Conditioning("labels", 3, shape=(4,), names=("cat", "dog", "owl"))
    >>> conditioning.vectors("dog", 2, torch.zeros(())).tolist()
    [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
    """

    def __init__(
        self,
        kind: Kind,
        size: int,
        *,
        shape: Sequence[int],
        names: Sequence[str] = (),
        ids: Sequence[int] = (),
        parts: Sequence[str] = get_args(Part),
    ):
        super().__init__()
        if size < 1:
            raise UsageError(f"size = {size}: at least 1 is needed")
        for part in parts:
            if part not in get_args(Part):
                raise UsageError(
                    f"parts: no part {part!r} takes a condition; {nearest(part, get_args(Part))}"
                )
        if not parts:
            raise UsageError("parts is empty; name at least one of 'encoder', 'decoder' and 'prior'")
        if names and len(names) != size:
            raise UsageError(f"{len(names)} names for {size} labels; give one for each, or none")
        if ids and (names or len(set(ids)) != size):
            raise UsageError(
                f"{len(ids)} numbers for {size} labels; give a different one for each, or give names"
            )
        self.kind: str = kind
        self.size: int = size
        self.names: tuple[str, ...] = tuple(names)
        self.ids: tuple[int, ...] = tuple(int(each) for each in ids)
        self.parts: tuple[str, ...] = tuple(parts)
        self.to_input = nn.Linear(size, math.prod(shape), bias=False) if "encoder" in parts else None
        if self.to_input is not None:
            nn.init.zeros_(self.to_input.weight)

    @property
    def beside_code(self) -> int:
        """How many numbers of the condition the decoder reads beside the code."""
        return self.size if "decoder" in self.parts else 0

    def onto_input(self, x: Tensor, c: Tensor) -> Tensor:
        """Input of the encoder for x (b, *shape) with conditions (b, C)."""
        if self.to_input is None:
            return x
        return x + self.to_input(c).to(x.dtype).reshape(x.shape)

    def onto_code(self, z: Tensor, c: Tensor) -> Tensor:
        """Input of the decoder for codes z (..., b, d) with conditions (b, C)."""
        return torch.cat([z, c.expand(*z.shape[:-1], -1)], -1) if self.beside_code else z

    def vectors(self, condition: Condition, n: int, like: Tensor) -> Tensor:
        """Condition vectors of n examples, (n, C), with the dtype and device of ``like``.

        Parameters
        ----------
        condition : int, str or array
            A label by number or name, or labels (n,); or vectors (C,) or (n, C). With labels, a vector is a
            mixture of them, such as between two labels.
        n : int
            How many examples; a single condition is used for all of them.
        like : Tensor
            A tensor with the wanted dtype and device.

        Raises
        ------
        UsageError
            If there is no such label, or there is neither one condition nor n of them.
        """
        given = self._numbers(condition)
        if given.shape not in ((self.size,), (1, self.size), (n, self.size)):
            raise UsageError(
                f"got conditions of shape {_shape(condition)} for {n} example{'' if n == 1 else 's'}; give "
                + (f"one label or {n}" if self.kind == "labels" else f"({self.size},) or ({n}, {self.size})")
            )
        return given.to(like.device, like.dtype).expand(n, self.size)

    def describe(self) -> str:
        """Describe a valid condition, for messages."""
        if self.kind == "vectors":
            return f"a vector of {self.size} number{'' if self.size == 1 else 's'}"
        if self.names == tuple(map(str, range(self.size))) or not (self.names or self.ids):
            return f"a label, 0 to {self.size - 1}"
        names = [self.name_of(i) for i in range(min(self.size, 10))]
        return f"a label: {', '.join(names)}{', …' if self.size > len(names) else ''}"

    def name_of(self, position: int) -> str:
        """Name of the label at a position, or its number if it has no name."""
        if self.ids:
            return str(self.ids[position])
        return self.names[position] if self.names else str(position)

    @property
    def labels(self) -> NDArray[Any]:
        """All labels in order, (size,), in the form in which examples have them: numbers, or names.

        If names look like numbers other than their positions, labels are given by name only.

        Examples
        --------
        >>> Conditioning("labels", 2, shape=(4,), names=("1999", "2024")).labels.tolist()
        ['1999', '2024']
        """
        if self.ids:
            return np.array(self.ids)
        return np.array(self.names) if self._numbers_are_names else np.arange(self.size)

    @property
    def _numbers_are_names(self) -> bool:
        own = any(name != str(i) for i, name in enumerate(self.names))
        return own and any(_is_number(name) for name in self.names)

    def parse(self, text: str) -> int | str | NDArray[np.float64]:
        """Read a condition from text: a label's name (or its number if unnamed), or numbers with commas.

        Raises
        ------
        UsageError
            If there is no such label, or the text is not the right count of numbers.

        Examples
        --------
        >>> Conditioning("vectors", 2, shape=(4,)).parse("0.5,-1").tolist()
        [0.5, -1.0]
        """
        if self.kind == "labels":
            label: int | str = self.labels[self._position(text)].item()
            return label
        try:
            numbers = np.array([float(word) for word in text.split(",")])
        except ValueError:
            raise UsageError(f"{text!r} is not {self.describe()}, such as 0.5,1,0") from None
        if len(numbers) != self.size or not np.isfinite(numbers).all():
            raise UsageError(f"{text!r} has {len(numbers)} numbers; the model takes {self.describe()}")
        return numbers

    def _numbers(self, condition: Condition) -> Tensor:
        if isinstance(condition, str):
            return self._one_hot(torch.tensor(self._position(condition)))
        if isinstance(condition, Sequence) and any(isinstance(each, str) for each in condition):
            words = [str(each) for each in condition]
            positions = {word: self._position(word) for word in dict.fromkeys(words)}
            return self._one_hot(torch.tensor([positions[word] for word in words]))
        if isinstance(condition, np.ndarray) and condition.dtype.kind in "US":
            return self._numbers(condition.tolist() if condition.ndim else str(condition))
        try:
            given = torch.as_tensor(condition)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UsageError(f"condition: {error}; the model takes {self.describe()}") from None
        # Tensors, which training steps give, are not checked: that would wait for the device.
        if not isinstance(condition, Tensor) and not given.isfinite().all():
            raise UsageError(f"condition: not all numbers are finite; the model takes {self.describe()}")
        whole = not given.is_floating_point() and given.dtype != torch.bool
        if self.kind == "labels" and whole and given.ndim < 2:
            return self._one_hot(self._positions(given))
        return given

    def _positions(self, labels: Tensor) -> Tensor:
        """Positions of labels that are given as numbers."""
        labels = labels.long()
        if self._numbers_are_names and labels.numel():
            raise UsageError(
                f"label {int(labels.reshape(-1)[0])}: this model's labels have names that are numbers; give "
                f"the name as text, such as condition={self.names[0]!r}"
            )
        if not self.ids:
            places, known = labels, (labels >= 0) & (labels < self.size)
        else:
            ids, order = torch.tensor(self.ids, device=labels.device).sort()
            found = torch.searchsorted(ids, labels.contiguous()).clamp(max=self.size - 1)
            places, known = order[found], ids[found] == labels
        if not known.all():
            wrong = int(labels.reshape(-1)[(~known).reshape(-1)][0])
            raise UsageError(f"label {wrong}: the model takes {self.describe()}")
        return places

    def _one_hot(self, places: Tensor) -> Tensor:
        return (places[..., None] == torch.arange(self.size, device=places.device)).float()

    def _position(self, name: str) -> int:
        """Position of a label's name; "dog" also finds the label "dogs", as folders are often named.

        A label without a name goes by its number. If labels have names, a number is not a position.
        """
        if self.kind != "labels":
            raise UsageError(f"{name!r}: the model takes {self.describe()}, not labels")
        known = [self.name_of(i) for i in range(self.size)]
        for called in (name, f"{name}s"):
            if called in known:
                return known.index(called)
        hint = nearest(name, known) if self.names else f"the model takes {self.describe()}"
        raise UsageError(f"no label {name!r}; {hint}")


def _is_number(name: str) -> bool:
    """Whether a name is a whole number as Python writes it."""
    return name.removeprefix("-").isdecimal() and name.isascii()


def _shape(condition: Any) -> tuple[int, ...]:
    return tuple(np.shape(condition)) if not isinstance(condition, Tensor) else tuple(condition.shape)
