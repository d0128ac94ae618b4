"""How a model takes arrays: examples and codes, checked and brought to its device, dtype and units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom.errors import UsageError, shortened
from elboroom.models.chunks import bytes_at_once
from elboroom.models.conditional import Conditional
from elboroom.models.conditioning import Array, Condition, Examples, apart
from elboroom.probability.support import check_scale, check_values

_MOST = 10**9  # examples or draws in one call


class Inputs(Conditional):
    """A module that takes examples and codes as arrays or tensors; :class:`elboroom.VAE` is one.

    Attributes
    ----------
    shape : tuple of int
        Shape of one example.
    latent_dim : int
        Length of a code.
    scale : float
        uint8 inputs are divided by it.
    data_range : (float, float) or None
        Smallest and largest value of the training data in model units, if known.
    likelihood : nn.Module
        The head of p(x|z); its ``support`` and ``spacing`` say which values can be scored.
    """

    shape: tuple[int, ...]
    latent_dim: int
    scale: float
    data_range: tuple[float, float] | None
    likelihood: Any

    @overload
    def as_input(self, x: Tensor | NDArray[Any], *, scored: bool = ...) -> Tensor: ...
    @overload
    def as_input(self, x: Examples, *, scored: bool = ...) -> Examples: ...
    def as_input(self, x: Array, *, scored: bool = False) -> Tensor | Examples:
        """Bring an array (b, *shape) to the model's device and units; examples keep their conditions.

        Raises
        ------
        UsageError
            If its shape is not (b, *shape), or :meth:`check_values` refuses its values.
        """
        if isinstance(x, Examples):
            return Examples(self.as_input(x.x, scored=scored), x.condition)
        tensor = as_tensor(x)
        self._check_shape(tensor)
        weight = self._weight()
        if tensor.dtype == torch.uint8:
            check_scale(self.scale, self.data_range)
            # One pass for the usual float32: division of uint8 gives torch's default dtype.
            units = (tensor.to(weight.device) / self.scale).to(weight.dtype)
        elif tensor.is_floating_point() or tensor.dtype == torch.bool:
            units = tensor.to(weight.device, weight.dtype)
        else:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UsageError(
                f"got {kind} numbers; give pixels as uint8, or floats in which {self.scale:g} is 1.0"
            )
        self.check_values(units, scored=scored)
        return units

    def check_values(self, x: Tensor, *, scored: bool = False) -> None:
        """Check the values of examples (b, *shape) in model units, as every method that takes arrays does.

        Warns if they lie far outside the range of the training data.

        Raises
        ------
        UsageError
            If values are not finite or lie outside the likelihood's support, if they are to be ``scored``
            and lie between its levels, or if pixels are in other units than the training data.
        """
        head = self.likelihood
        if self.accepts_missing:
            head.check_values(x, scored=scored)
            return
        check_values(
            x,
            head.support,
            getattr(head, "spacing", None),
            self.data_range,
            pixels=len(self.shape) == 3,
            scored=scored,
        )

    @property
    def accepts_missing(self) -> bool:
        """Whether missing cells may be given as NaN."""
        return bool(getattr(self.likelihood, "accepts_missing", False))

    def _pieces(
        self, x: Array, condition: Condition | None, rows: int, *, scored: bool = False
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Inputs and condition vectors as the model takes them, ``rows`` at a time.

        To a GPU they are moved in one go if it has room for them, and checked once, as the host waits then.
        """
        x, condition = apart(x, condition)
        tensor = as_tensor(x)
        self._check_shape(tensor)
        c = self.condition_vectors(condition, len(tensor))
        many = examples_at_once(self._weight().device, tensor[:1])
        moved = rows if many is None else rows * max(1, many // rows)
        for start in range(0, max(len(tensor), 1), moved):
            inputs = self.as_input(tensor[start : start + moved], scored=scored)
            for i in range(0, max(len(inputs), 1), rows):
                of_rows = slice(start + i, start + i + rows)
                yield inputs[i : i + rows], None if c is None else c[of_rows]

    def _check_shape(self, x: Tensor) -> None:
        if x.shape[1:] != self.shape or x.ndim == 0:
            wanted = ", ".join(map(str, self.shape))
            raise UsageError(f"got an array of shape {tuple(x.shape)}; the model takes (n, {wanted})")

    def _as_code(self, z: Tensor | NDArray[Any]) -> Tensor:
        code = as_tensor(z)
        if code.ndim == 0 or code.shape[-1] != self.latent_dim:
            raise UsageError(
                f"got codes of shape {tuple(code.shape)}; the model takes (..., {self.latent_dim})"
            )
        weight = self._weight()
        return code.to(weight.device, weight.dtype)


def as_tensor(array: Tensor | NDArray[Any]) -> Tensor:
    """Make a tensor of real numbers from an array, without a copy where that is possible.

    Raises
    ------
    UsageError
        If it holds no numbers, or complex ones.
    """
    if isinstance(array, np.ndarray) and not (array.flags.writeable and array.flags.c_contiguous):
        array = array.copy()  # torch refuses reversed views, and warns of read-only memory maps
    try:
        tensor = torch.as_tensor(array)
    except (TypeError, ValueError, RuntimeError):
        kind = str(array.dtype) if isinstance(array, np.ndarray) else type(array).__name__
        raise UsageError(f"got {shortened(kind)}; the model takes an array or a tensor of numbers") from None
    if tensor.is_complex():
        raise UsageError("got complex numbers; the model takes real ones")
    return tensor


def examples_at_once(device: torch.device, example: Tensor) -> int | None:
    """How many examples like one (1, *shape) to move to a GPU and to check at a time; None for the CPU."""
    room = bytes_at_once(device)
    # As they are, as float32, and in float64 against levels.
    needed = example.numel() * (example.element_size() + 4 + 3 * 8)
    return None if room is None else max(1, room // max(1, needed))


def check_count(name: str, value: int, least: int) -> None:
    """Check a number of samples, steps or examples that was given as the argument ``name``.

    Raises
    ------
    UsageError
        If it is not a whole number from ``least`` to 10⁹.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise UsageError(f"{name} = {shortened(value)}: a whole number is needed")
    if value < least:
        raise UsageError(f"{name} = {shortened(value)}: at least {least} is needed")
    if value > _MOST:
        raise UsageError(f"{name} = {shortened(value)}: at most {_MOST:,} is allowed")
