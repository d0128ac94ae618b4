"""Which values a likelihood can score, and whether new data are in the units of the training data."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from elboroom.errors import DataWarning, UsageError

Range = tuple[float, float]

_ROUNDING = 1e-6  # bounds may be exceeded by this share, as by arithmetic in float32
# Values may be this share of a step off: 8-bit pixels that were scaled in float32 are off by far less.
_BETWEEN = 1e-3
_UNUSUAL = 0.5  # values this many widths of the training range outside it are spoken of
_IMPOSSIBLE = 10.0  # pixels this many widths outside it are in other units


def range_of(x: Tensor) -> Range:
    """Smallest and largest value; nan if there is one, (0, 0) of an empty tensor.

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
    """Make sure that values lie where a likelihood is defined.

    Parameters
    ----------
    found : (float, float)
        Smallest and largest value.
    support : (float, float) or None
        The closed interval that they must lie in; None for any finite number.
    what : str
        What that interval holds, for the message.

    Raises
    ------
    UsageError
        If they do not, or one is not finite; the message starts with the values.

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
    """What would bring values into an interval."""
    (low, high), (least, most) = found, support
    if (least, most) != (0.0, 1.0):
        return f"give values of at least {least:g}" if most == math.inf else "bring them there"
    if low >= 0 and high <= 255:
        return "divide them by 255 if they are 8-bit pixels"
    if low >= -1 and high <= 1:
        return "map x to (x + 1) / 2 if they were scaled to [-1, 1]"
    return "bring them into [0, 1]"


def between_levels(x: Tensor, spacing: float | None) -> float | None:
    """Find a value that is no multiple of ``spacing``; None if all are, or any may be."""
    if spacing is None or not x.numel():
        return None
    steps = x.detach().double() / spacing if x.device.type != "mps" else x.detach() / spacing
    # Of large counts in float32 no fraction is left that could be off.
    off = (steps - steps.round()).abs()
    worst = off.argmax()
    return float(x.reshape(-1)[worst]) if float(off.reshape(-1)[worst]) > _BETWEEN else None


def check_levels(x: Tensor, spacing: float | None) -> None:
    """Make sure that a likelihood of discrete values gets such values.

    Raises
    ------
    UsageError
        If one lies between two levels.
    """
    value = between_levels(x, spacing)
    if value is None or spacing is None:
        return
    if spacing == 1:
        raise UsageError(f"the model's likelihood takes whole numbers, and {value:.6g} is not one")
    raise UsageError(
        f"the model's likelihood is one of {round(1 / spacing) + 1} levels, the multiples of {spacing:.6g} "
        f"from 0 to 1, and {value:.6g} lies between two of them; round the values to levels"
    )


def other_units(found: Range, trained: Range | None, *, pixels: bool) -> str | None:
    """Say whether values look like those a model was trained on.

    Parameters
    ----------
    found, trained : (float, float)
        Smallest and largest value of the new data, and of the training data if that is known.
    pixels : bool
        Whether they are the values of images, which have one range.

    Returns
    -------
    str or None
        A warning if they go beyond the training range by more than half its width.

    Raises
    ------
    UsageError
        If pixels are ten widths beyond it: they are in other units.

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
        raise UsageError(f"{said}{most:.6g}; bring them to the units of the training data")
    return f"{said}{most:.6g}: are they in the same units?"


def check_scale(scale: float, trained: Range | None) -> None:
    """Refuse uint8 pixels that come to a fraction of the training data's range when divided by ``scale``.

    Raises
    ------
    UsageError
        If the model was trained on floats that run at least ten times as far.
    """
    most = 255.0 / scale
    if trained is not None and trained[1] > _IMPOSSIBLE * most:
        raise UsageError(
            f"uint8 pixels are divided by {scale:g}, which makes at most {most:g}, and the model was trained "
            f"on values up to {trained[1]:.6g}; give floats in those units"
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
    """Check examples (b, *shape) in model units before a model sees them, and warn of unusual ones.

    Parameters
    ----------
    x : Tensor
        The examples.
    support, spacing
        Of the likelihood's head; the spacing matters only where the values are ``scored``.
    trained : (float, float) or None
        Smallest and largest value of the training data, if known.
    pixels : bool
        Whether the examples are images.
    scored : bool
        Whether the likelihood of the values is asked for, or only their code.

    Raises
    ------
    UsageError
        See :func:`check_bounds`, :func:`check_levels` and :func:`other_units`.
    """
    if torch.compiler.is_compiling() or (x.is_cuda and torch.cuda.is_current_stream_capturing()):
        return  # no number can be read here
    found = range_of(x)
    check_bounds(found, support)
    if scored:
        check_levels(x, spacing)
    warning = other_units(found, trained, pixels=pixels)
    if warning is not None:
        warnings.warn(warning, DataWarning, stacklevel=4)
