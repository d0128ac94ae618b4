"""Checks that a likelihood can score values, and that they are in the training data's units."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from elboroom.errors import DataWarning, UsageError

Range = tuple[float, float]

_ROUNDING = 1e-6  # bounds may be exceeded by this share, for rounding in float32
# Values may deviate from a level by this share of a step; 8-bit pixels scaled in float32 deviate far less.
_BETWEEN = 1e-3
_UNUSUAL = 0.5  # values this many widths of the training range outside it give a warning
_IMPOSSIBLE = 10.0  # pixels this many widths outside it must be in other units


def range_of(x: Tensor) -> Range:
    """Smallest and largest value: nan if any value is nan, (0, 0) for an empty tensor.

    Examples
    --------
    >>> range_of(torch.tensor([[0.5, -1.0]]))
    (-1.0, 0.5)
    """
    if not x.numel():
        return 0.0, 0.0
    low, high = torch.aminmax(x.detach())
    return float(low), float(high)


def check_bounds(
    found: Range, support: Range | None, what: str = "the values that the model's likelihood can score"
) -> None:
    """Check that values lie in a likelihood's support.

    Parameters
    ----------
    found : (float, float)
        Smallest and largest value.
    support : (float, float) or None
        The closed interval in which they must lie; None for any finite number.
    what : str
        What the interval contains, for the message.

    Raises
    ------
    UsageError
        If they do not, or one is not finite.

    Examples
    --------
    >>> check_bounds((0.0, 255.0), (0.0, 1.0))
    Traceback (most recent call last):
    elboroom.errors.UsageError: values from 0 to 255 lie outside [0, 1], ...; divide them by 255 if ...
    """
    low, high = found
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UsageError("some values are nan or infinite; remove or replace them")
    if support is None:
        return
    least, most = support
    if low >= least - _ROUNDING and high <= most + _ROUNDING * max(1.0, most):
        return
    limits = f"[{least:g}, {most:g}]" if most < math.inf else f"[{least:g}, ∞)"
    raise UsageError(
        f"values from {low:.6g} to {high:.6g} lie outside {limits}, {what}; {_fix(found, support)}"
    )


def _fix(found: Range, support: Range) -> str:
    """Suggest how to bring values into an interval."""
    (low, high), (least, most) = found, support
    if (least, most) != (0.0, 1.0):
        return f"give values of at least {least:g}" if most == math.inf else "rescale them"
    if low >= 0 and high <= 255:
        return "divide them by 255 if they are 8-bit pixels"
    if low >= -1 and high <= 1:
        return "map x to (x + 1) / 2 if they were scaled to [-1, 1]"
    return "rescale them to [0, 1]"


def between_levels(x: Tensor, spacing: float | None) -> float | None:
    """Find a value that is not a multiple of ``spacing``; None if there is none, or no spacing."""
    if spacing is None or not x.numel():
        return None
    steps = x.detach().double() / spacing if x.device.type != "mps" else x.detach() / spacing
    # Large counts in float32 have no fractional part.
    off = (steps - steps.round()).abs()
    worst = off.argmax()
    return float(x.reshape(-1)[worst]) if float(off.reshape(-1)[worst]) > _BETWEEN else None


def check_levels(x: Tensor, spacing: float | None) -> None:
    """Check that all values are levels of a discrete likelihood.

    Raises
    ------
    UsageError
        If one lies between two levels.
    """
    value = between_levels(x, spacing)
    if value is None or spacing is None:
        return
    if spacing == 1:
        raise UsageError(
            f"{value:.6g} is not one of the whole numbers that the model's likelihood takes; round the values"
        )
    raise UsageError(
        f"{value:.6g} is not one of the {round(1 / spacing) + 1} levels that the model's likelihood "
        f"takes, the "
        f"multiples of {spacing:.6g} from 0 to 1; round the values to levels"
    )


def other_units(found: Range, trained: Range | None, *, pixels: bool) -> str | None:
    """Check whether values look like those that a model was trained on.

    Parameters
    ----------
    found, trained : (float, float)
        Smallest and largest value of the new data, and of the training data if known.
    pixels : bool
        Whether they are pixels, which share one range.

    Returns
    -------
    str or None
        A warning if they exceed the training range by more than half its width.

    Raises
    ------
    UsageError
        If pixels exceed it by more than ten widths: they are in other units.

    Examples
    --------
    >>> other_units((0.0, 1.2), (0.0, 1.0), pixels=True)
    >>> other_units((0.0, 9.0), (0.0, 1.0), pixels=False)
    'values from 0 to 9, and the model was trained on values from 0 to 1: are they in the same units?'
    """
    if trained is None:
        return None
    (low, high), (least, most) = found, trained
    width = most - least
    if width <= 0:
        return None
    beyond = max(least - low, high - most) / width
    if beyond <= _UNUSUAL:
        return None
    said = f"values from {low:.6g} to {high:.6g}, and the model was trained on values from {least:.6g} to "
    if pixels and beyond > _IMPOSSIBLE:
        raise UsageError(f"{said}{most:.6g}; rescale them to the units of the training data")
    return f"{said}{most:.6g}: are they in the same units?"


def check_scale(scale: float, trained: Range | None) -> None:
    """Refuse uint8 pixels that ``scale`` maps to a small fraction of the training data's range.

    Raises
    ------
    UsageError
        If the training data's largest value is more than ten times as large.
    """
    most = 255.0 / scale
    if trained is not None and trained[1] > _IMPOSSIBLE * most:
        raise UsageError(
            f"uint8 pixels divided by {scale:g} are at most {most:g}, and the model was trained on values up "
            f"to {trained[1]:.6g}; give floats in those units"
        )


def check_values(
    x: Tensor,
    support: Range | None,
    spacing: float | None,
    trained: Range | None,
    *,
    pixels: bool,
    scored: bool = False,
) -> None:
    """Check examples (b, *shape) in model units before they reach a model, and warn of unusual values.

    Parameters
    ----------
    x : Tensor
        The examples.
    support, spacing
        Of the likelihood's head; the spacing matters only if the values are ``scored``.
    trained : (float, float) or None
        Smallest and largest value of the training data, if known.
    pixels : bool
        Whether the examples are images.
    scored : bool
        Whether their likelihood is wanted, and not only their code.

    Raises
    ------
    UsageError
        See :func:`check_bounds`, :func:`check_levels` and :func:`other_units`.
    """
    if torch.compiler.is_compiling() or (x.is_cuda and torch.cuda.is_current_stream_capturing()):
        return  # values cannot be read while compiling or capturing
    found = range_of(x)
    check_bounds(found, support)
    if scored:
        check_levels(x, spacing)
    warning = other_units(found, trained, pixels=pixels)
    if warning is not None:
        warnings.warn(warning, DataWarning, stacklevel=4)
