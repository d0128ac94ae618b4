"""The model of a run, and the condition that --label gives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from elboroom.errors import UsageError
from elboroom.models.conditioning import Condition
from elboroom.models.vae import VAE
from elboroom.runs.run import Run
from elboroom.training.devices import find_device


def load_model(run: Run, device: str) -> VAE:
    """Load a run's model onto a device."""
    return run.model().to(find_device(device))


def named_condition(vae: VAE, label: str | None) -> NDArray[Any] | None:
    """Parse the value of --label into a condition vector (C,); None if there is no label.

    Raises
    ------
    UsageError
        If the model is not conditional, or does not know the label.
    """
    if label is None:
        return None
    if vae.condition is None:
        raise UsageError(f"--label {label}: this run's model is not conditional; leave it out")
    return condition_vector(vae, vae.condition.parse(label))


def condition_vector(vae: VAE, condition: Condition) -> NDArray[Any]:
    """Convert one condition to the vector (C,) that the networks of a conditional model take."""
    vectors = vae.condition_vectors(condition, 1)
    assert vectors is not None
    found: NDArray[Any] = vectors[0].cpu().numpy()
    return found


def conditioned(vae: VAE, label: str | None) -> VAE:
    """Condition a model on the value of --label.

    Raises
    ------
    UsageError
        If the model is conditional and there is no --label, or the label does not fit.
    """
    condition = named_condition(vae, label)
    if condition is not None:
        return vae.given(condition)
    if vae.condition is not None:
        raise UsageError(f"--label is missing: the model is conditional on {vae.condition.describe()}")
    return vae


def described(shape: Sequence[int]) -> str:
    """Describe examples that are not images, by their shape.

    Examples
    --------
    >>> described((5,)), described((100, 3))
    ('rows of 5 numbers', 'time series of 100 steps and 3 channels')
    """
    if len(shape) == 1:
        return f"rows of {shape[0]} numbers"
    return f"time series of {shape[0]} steps and {shape[1]} channel{'' if shape[1] == 1 else 's'}"
