"""Checks of data against a run: whether they are its own, and whether its model can take them."""

from __future__ import annotations

import numpy as np

from elboroom.data import Dataset
from elboroom.data.alike import of_files
from elboroom.data.preparation import USUAL_RANGES
from elboroom.errors import UsageError
from elboroom.evaluation.support import check_support, range_of_data, unlike_training
from elboroom.models.build import likelihood_of
from elboroom.runs.run import Run


def is_own(run: Run, data: Dataset, *, unknown: bool = False) -> bool:
    """Whether data are those that a run was trained on, in any location.

    Parameters
    ----------
    run : Run
        The run, which records the fingerprint of its data.
    data : Dataset
        The data, with the run's validation part split off.
    unknown : bool
        The result for a run without a fingerprint.
    """
    known = run.environment.get("data_fingerprint")
    return unknown if known is None else known == data.fingerprint(labels=run.config.model.learns_labels)


def check_suits(run: Run, data: Dataset) -> list[str]:
    """Check the shape and the values of other data than the run's.

    Returns
    -------
    list of str
        Warnings: if the values seem to be in other units than the training data, and if image files were
        prepared in another way than the run's.

    Raises
    ------
    UsageError
        If the model takes examples of another shape, or cannot score such values.
    """
    model = run.config.model
    if data.shape != model.shape:
        raise UsageError(f"{data.name} has examples of shape {data.shape}; the model takes {model.shape}")
    _check_pixels(run, data)
    head = likelihood_of(model, data.shape)
    binarize, spacing = run.config.data.binarize, getattr(head, "spacing", None)
    check_support(data, head.support, binarize, spacing, training=False)
    units = unlike_training(data, run.data_range)
    warnings = [] if units is None else [units]
    if of_files(data) and run.preparation.kind == "faces":
        warnings.append(
            f"{data.name} contains photos, which were cropped to the middle, but the run was trained on "
            f"aligned "
            "faces; prepare the photos with 'elboroom data faces'"
        )
    return warnings


def _check_pixels(run: Run, data: Dataset) -> None:
    """Refuse 8-bit pixels, a model's 0 to 1, if the run was trained on floats in another range."""
    low, high = run.preparation.value_range
    if not (data.is_image and data.x.dtype == np.uint8) or (low, high) not in USUAL_RANGES[1:]:
        return
    black, white = range_of_data(data)
    if (black, white) != (low, high):
        raise UsageError(
            f"{data.name} contains 8-bit pixels, which the model gets as {black:g} to {white:g}, but it was "
            f"trained on floats from {low:g} (black) to {high:g} (white); convert each pixel p to "
            f"{low:g} + p / 255 * {high - low:g}"
        )
