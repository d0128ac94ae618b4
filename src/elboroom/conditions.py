"""What a model is told beside an example: a label or a vector, for its encoder, decoder and prior.

A condition is a vector c of C numbers: the label one-hot, or any vector. The model is then one of p(x|c), and
all that it says of an example, its rate, ELBO and NLL, is of x given c.
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
"""One for all examples, or one for each: labels by number or name, or vectors."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples with their conditions; they go wherever the examples of a conditional model go.

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
        """Of the examples, (n, *shape)."""
        return tuple(self.x.shape)

    @property
    def ndim(self) -> int:
        """Of the examples."""
        return self.x.ndim


Array = Tensor | NDArray[Any] | Examples


def apart(x: Array, condition: Condition | None = None) -> tuple[Tensor | NDArray[Any], Condition | None]:
    """Examples and their conditions, wherever these stand.

    Raises
    ------
    UsageError
        If they stand in two places.
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


def in_turn(c: Tensor, n: int) -> Tensor:
    """Rows of c (m, C) over and over, (n, C): one for each of n codes, of which k · m are (k, m) in a row.

    Examples
    --------
    >>> in_turn(torch.tensor([[1], [2]]), 5).T.tolist()
    [[1, 2, 1, 2, 1]]
    """
    return c[torch.arange(n, device=c.device) % max(1, len(c))]


class Conditioning(nn.Module):
    """How a condition reaches the encoder and the decoder of a VAE; the prior has maps of its own.

    The encoder sees x + A c, with a learned map A that starts at 0; the decoder sees the code and c side by
    side, so it must take ``latent_dim`` + C numbers. No network has to know of conditions.

    Parameters
    ----------
    kind : {"labels", "vectors"}
        What a condition is given as.
    size : int
        C: numbers in a vector, or labels that there are.
    shape : tuple of int
        Of one example.
    names : sequence of str
        Of labels 0, 1, …; may be empty.
    parts : sequence of {"encoder", "decoder", "prior"}
        Which are told.

    Raises
    ------
    UsageError
        If ``size`` < 1, or there are no parts, unknown ones, or not as many names as labels.

    Examples
    --------
    >>> told = Conditioning("labels", 3, shape=(4,), names=("cat", "dog", "owl"))
    >>> told.vectors("dog", 2, torch.zeros(())).tolist()
    [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
    """

    def __init__(
        self,
        kind: Kind,
        size: int,
        *,
        shape: Sequence[int],
        names: Sequence[str] = (),
        parts: Sequence[str] = get_args(Part),
    ):
        super().__init__()
        if size < 1:
            raise UsageError(f"a condition of {size} numbers; at least 1 is needed")
        for part in parts:
            if part not in get_args(Part):
                raise UsageError(
                    f"parts: no part {part!r} takes a condition; {nearest(part, get_args(Part))}"
                )
        if not parts:
            raise UsageError("parts is empty: a condition goes to at least one of encoder, decoder and prior")
        if names and len(names) != size:
            raise UsageError(f"{len(names)} names for {size} labels; give one each, or none")
        self.kind: str = kind
        self.size: int = size
        self.names: tuple[str, ...] = tuple(names)
        self.parts: tuple[str, ...] = tuple(parts)
        self.to_input = nn.Linear(size, math.prod(shape), bias=False) if "encoder" in parts else None
        if self.to_input is not None:
            nn.init.zeros_(self.to_input.weight)

    @property
    def beside_code(self) -> int:
        """Numbers that the decoder gets beside the code."""
        return self.size if "decoder" in self.parts else 0

    def onto_input(self, x: Tensor, c: Tensor) -> Tensor:
        """What the encoder sees of x (b, *shape) with conditions (b, C)."""
        if self.to_input is None:
            return x
        return x + self.to_input(c).to(x.dtype).reshape(x.shape)

    def onto_code(self, z: Tensor, c: Tensor) -> Tensor:
        """What the decoder sees of codes z (..., b, d) with conditions (b, C)."""
        return torch.cat([z, c.expand(*z.shape[:-1], -1)], -1) if self.beside_code else z

    def vectors(self, condition: Condition, n: int, like: Tensor) -> Tensor:
        """Conditions of n examples as the parts take them, (n, C), with the dtype and device of ``like``.

        Parameters
        ----------
        condition : int, str or array
            A label, by number or name, or labels (n,); or vectors (C,) or (n, C). Where labels are meant a
            vector is a mixture of them, as one is on the way from one label to another.
        n : int
            How many examples; one condition is that of all of them.
        like : Tensor
            For dtype and device.

        Raises
        ------
        UsageError
            If there is no such label, or not one condition or n of C numbers.
        """
        given = self._numbers(condition)
        if given.shape not in ((self.size,), (1, self.size), (n, self.size)):
            raise UsageError(
                f"got conditions of shape {_shape(condition)} for {n} example{'' if n == 1 else 's'}; give "
                + (f"one label or {n}" if self.kind == "labels" else f"({self.size},) or ({n}, {self.size})")
            )
        return given.to(like.device, like.dtype).expand(n, self.size)

    def describe(self) -> str:
        """Say what a condition is, for messages."""
        if self.kind == "vectors":
            return f"a vector of {self.size} number{'' if self.size == 1 else 's'}"
        shown = ", ".join(self.names[:10]) + (", …" if len(self.names) > 10 else "")
        numbered = not self.names or self.names == tuple(map(str, range(self.size)))
        return f"a label, 0 to {self.size - 1}" + ("" if numbered else f" ({shown})")

    def name_of(self, label: int) -> str:
        """What a label is called; its number if it has no name."""
        return self.names[label] if self.names else str(label)

    def parse(self, text: str) -> int | NDArray[np.float64]:
        """Read a condition that was written down: a label's name or number, or numbers between commas.

        Raises
        ------
        UsageError
            If there is no such label, or the numbers are none.

        Examples
        --------
        >>> Conditioning("vectors", 2, shape=(4,)).parse("0.5,-1").tolist()
        [0.5, -1.0]
        """
        if self.kind == "labels":
            return self._label(text)
        try:
            numbers = np.array([float(word) for word in text.split(",")])
        except ValueError:
            raise UsageError(f"{text!r} is not {self.describe()}, such as 0.5,1,0") from None
        if len(numbers) != self.size or not np.isfinite(numbers).all():
            raise UsageError(f"{text!r} has {len(numbers)} numbers; the model takes {self.describe()}")
        return numbers

    def _numbers(self, condition: Condition) -> Tensor:
        if isinstance(condition, str):
            return self._one_hot(torch.tensor(self._label(condition)))
        if isinstance(condition, Sequence) and any(isinstance(each, str) for each in condition):
            return self._one_hot(torch.tensor([self._label(str(each)) for each in condition]))
        if isinstance(condition, np.ndarray) and condition.dtype.kind in "US":
            return self._numbers([str(each) for each in condition])
        try:
            given = torch.as_tensor(condition)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UsageError(f"condition: {error}; the model takes {self.describe()}") from None
        whole = not given.is_floating_point() and given.dtype != torch.bool
        return self._one_hot(given) if self.kind == "labels" and whole and given.ndim < 2 else given

    def _one_hot(self, labels: Tensor) -> Tensor:
        wrong = labels[(labels < 0) | (labels >= self.size)] if labels.ndim else labels[None]
        if wrong.numel() and not 0 <= int(wrong[0]) < self.size:
            raise UsageError(f"label {int(wrong[0])}: the model takes {self.describe()}")
        return (labels[..., None] == torch.arange(self.size, device=labels.device)).float()

    def _label(self, name: str) -> int:
        """Label of a name, or of a number written down; one of a folder called "dogs" is a "dog" too."""
        if self.kind != "labels":
            raise UsageError(f"{name!r}: the model takes {self.describe()}, and no labels")
        for known in (name, f"{name}s"):
            if known in self.names:
                return self.names.index(known)
        if name.isdecimal() and int(name) < self.size:
            return int(name)
        hint = nearest(name, self.names) if self.names else f"the model takes {self.describe()}"
        raise UsageError(f"no label {name!r}; {hint}")


def _shape(condition: Any) -> tuple[int, ...]:
    return tuple(np.shape(condition)) if not isinstance(condition, Tensor) else tuple(condition.shape)
