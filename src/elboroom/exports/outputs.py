"""What an exported encoder puts out, for each family of posteriors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from elboroom.models.hierarchical import HierarchicalPosterior
from elboroom.probability.flows import FlowPosterior
from elboroom.probability.full_gaussian import FullGaussian
from elboroom.probability.posteriors import Deterministic, DiagonalGaussian
from elboroom.probability.quantized import Quantized
from elboroom.probability.spherical import PowerSpherical


@dataclass(frozen=True)
class Output:
    """One tensor that describes q(z|x) of n examples.

    Attributes
    ----------
    name : str
        Its name in the exported files.
    read : callable
        Posterior → tensor (n, ...).
    holds : str
        What it holds: a phrase.
    """

    name: str
    read: Callable[[Any], Tensor]
    holds: str


def _of(name: str, holds: str) -> Output:
    return Output(name, lambda posterior: getattr(posterior, name), holds)


_CODE = "the code of each example"
OUTPUTS: dict[type, tuple[Output, ...]] = {
    DiagonalGaussian: (
        _of("mean", f"mean of q(z|x): {_CODE}"),
        _of("scale", "standard deviation of q(z|x): z = mean + scale · noise"),
    ),
    FullGaussian: (
        _of("mean", f"mean of q(z|x): {_CODE}"),
        Output("scale", lambda q: q.variance.sqrt(), "standard deviation of each number of z under q(z|x)"),
        Output(
            "factor",
            lambda q: q.mixing * q.scale[..., None, :],
            "factor of the covariance of q(z|x), which is factor · factorᵀ: z = mean + factor · noise",
        ),
    ),
    FlowPosterior: (_of("mean", f"image of the base's mean under the flow: {_CODE}"),),
    PowerSpherical: (
        _of("mean", f"direction of length 1 in which q(z|x) has its mode: {_CODE}"),
        _of("concentration", "concentration κ of q(z|x) around it, whose density grows with (1 + mean·z)^κ"),
    ),
    Deterministic: (_of("mean", _CODE),),
    Quantized: (
        _of("mean", "quantised code of each example"),
        _of("indices", "index of the codebook entry of each vector of the code"),
    ),
    HierarchicalPosterior: (
        Output(
            "mean",
            # Without its cache, whose lock in Python 3.11 cannot be traced.
            HierarchicalPosterior.mean.func,  # type: ignore[attr-defined]
            f"{_CODE}: of each layer the mean of q(z|x) given the means of those it depends on",
        ),
    ),
}
"""Type of posterior → outputs of its encoder."""

NO_SCALE: dict[type, str] = {
    FlowPosterior: "a flow's spread has no closed form",
    PowerSpherical: "on a sphere the concentration takes the place of the scale",
    Deterministic: "codes have no noise",
    Quantized: "codes have no noise",
    HierarchicalPosterior: "the spread of a layer depends on what is drawn for those it depends on",
}
"""Type of posterior → why its encoder puts out no scale."""

ONLY_MEAN: tuple[Output, ...] = (_of("mean", _CODE),)
"""Of posteriors of other types."""
