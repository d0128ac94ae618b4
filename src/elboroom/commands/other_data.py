"""Whether other data than a run's own suit its model."""

from __future__ import annotations

from elboroom.data import Dataset
from elboroom.errors import UsageError
from elboroom.evaluation.support import check_support, unlike_training
from elboroom.probability.choice import likelihood_of
from elboroom.run import Run


def check_suits(run: Run, data: Dataset) -> str | None:
    """Check the shape and the values of data that a run was not trained on.

    Returns
    -------
    str or None
        A warning if the values look as if they were in other units than the training data.

    Raises
    ------
    UsageError
        If the model takes examples of another shape, or cannot score such values.
    """
    model = run.config.model
    if data.shape != model.shape:
        raise UsageError(f"{data.name} holds examples of shape {data.shape}; the model takes {model.shape}")
    head = likelihood_of(model, data.shape)
    binarize, spacing = run.config.data.binarize, getattr(head, "spacing", None)
    check_support(data, head.support, binarize, spacing, training=False)
    return unlike_training(data, run.data_range)
