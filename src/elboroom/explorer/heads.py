"""The last operations of a program: from a decoder's features to the mean, from an encoder's to the code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from elboroom.explorer.columns import columns_op
from elboroom.explorer.layers import CannotRunError, Op, Translator
from elboroom.probability import BernoulliHead, DiagonalGaussianHead, GaussianHead
from elboroom.probability.bernoulli import Bernoulli
from elboroom.probability.discretized import CategoricalHead
from elboroom.probability.full_gaussian import FullGaussianHead, HouseholderHead
from elboroom.probability.location_scale import LaplaceHead, StudentTHead
from elboroom.probability.mixed import MixedHead
from elboroom.probability.posteriors import DeterministicHead
from elboroom.probability.spherical import PowerSphericalHead
from elboroom.probability.standardized import StandardizedHead


def mean_of(to: Translator, head: nn.Module) -> list[Op]:
    """Operations from a decoder's features of one example (*in_shape) to the likelihood's mean (*shape).

    Raises
    ------
    CannotRunError
        If the likelihood is of a type that the page cannot run.
    """
    return _chosen(_MEANS, head, "likelihood")(to, head)


def code_of(to: Translator, head: nn.Module) -> list[Op]:
    """Operations from an encoder's features of one example to its code, the posterior mean (d,).

    Raises
    ------
    CannotRunError
        If the posterior is of a type that the page cannot run.
    """
    return _chosen(_CODES, head, "posterior")(to, head)


_NAMES = {"VectorQuantizer": "vq", "FiniteScalarQuantizer": "fsq"}


def _chosen(
    table: dict[type, Callable[[Translator, Any], list[Op]]], head: nn.Module, what: str
) -> Callable[[Translator, Any], list[Op]]:
    if type(head) not in table:
        name = type(head).__name__.removesuffix("Head")
        raise CannotRunError(f"a {what} {_NAMES.get(name, name)}")
    return table[type(head)]


def _bernoulli(_to: Translator, head: BernoulliHead) -> list[Op]:
    name = "sigmoid" if head.family is Bernoulli else "continuousBernoulli"
    return [{"op": "activation", "name": name}]


def _location(_to: Translator, head: GaussianHead | LaplaceHead | StudentTHead) -> list[Op]:
    first: list[Op] = [{"op": "half"}] if head.learn_scale == "pixel" else []
    return first + ([{"op": "activation", "name": "sigmoid"}] if head.mean == "sigmoid" else [])


def _standardized(to: Translator, head: StandardizedHead) -> list[Op]:
    parts = {"gain": to.vector(head.spread), "shift": to.vector(head.location)}
    return [*mean_of(to, head.inner), {"op": "elementwise", **parts}]


def _first(_to: Translator, head: Any) -> list[Op]:
    return [{"op": "first", "count": head.latent_dim}]


_MEANS: dict[type, Callable[[Translator, Any], list[Op]]] = {
    BernoulliHead: _bernoulli,
    GaussianHead: _location,
    LaplaceHead: _location,
    StudentTHead: _location,
    CategoricalHead: lambda _to, head: [{"op": "expectedLevel", "levels": head.levels}],
    StandardizedHead: _standardized,
    MixedHead: columns_op,
}
_CODES: dict[type, Callable[[Translator, Any], list[Op]]] = {
    DiagonalGaussianHead: _first,
    FullGaussianHead: _first,
    HouseholderHead: _first,
    DeterministicHead: _first,
    PowerSphericalHead: lambda to, head: [*_first(to, head), {"op": "unit"}],
}
