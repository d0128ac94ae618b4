"""The columns of a table: what each holds, and how the model sees it."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from elboroom.config.sections import Positive, Section

ColumnKind = Literal[
    "real", "positive", "count", "ordinal", "category", "boolean", "datetime", "identifier", "ignored"
]
KINDS: tuple[ColumnKind, ...] = get_args(ColumnKind)
Family = Literal[
    "gaussian",
    "student_t",
    "log_normal",
    "mixture",
    "quantile",
    "poisson",
    "negative_binomial",
    "zero_inflated_negative_binomial",
    "categorical",
    "ordinal",
    "bernoulli",
]
"""The likelihood of one column of a table."""

# Kind → its likelihoods, the default first; identifiers and ignored columns are not modelled.
FAMILIES: dict[ColumnKind, tuple[Family, ...]] = {
    "real": ("gaussian", "student_t", "quantile", "mixture"),
    "positive": ("log_normal", "gaussian", "student_t", "quantile", "mixture"),
    "count": (
        *("negative_binomial", "zero_inflated_negative_binomial", "poisson"),
        *("gaussian", "student_t", "quantile", "mixture"),
    ),
    "ordinal": ("ordinal", "categorical"),
    "category": ("categorical",),
    "boolean": ("bernoulli", "categorical"),
    "datetime": ("gaussian", "student_t", "quantile", "mixture"),
    "identifier": (),
    "ignored": (),
}
COUNTS: tuple[Family, ...] = ("negative_binomial", "zero_inflated_negative_binomial", "poisson")
"""Families of counts: probabilities of 0, 1, 2, …."""
LOGGED: tuple[Family, ...] = ("log_normal", "quantile", "mixture")
"""Families that take the logarithm of positive numbers."""
MIXTURE_COMPONENTS = 5
WITH_CATEGORIES: tuple[ColumnKind, ...] = ("ordinal", "category", "boolean")
NOT_MODELLED: tuple[ColumnKind, ...] = ("identifier", "ignored")


class Column(Section):
    """One modelled column of a table.

    In a data set, a category, an ordinal level or a boolean is the index of its name in ``categories``; a
    missing cell is NaN.

    Examples
    --------
    >>> Column(name="job", kind="category", categories=("cook", "nurse")).family
    'categorical'
    """

    name: str
    """Heading of the column."""
    kind: ColumnKind
    """What the cells are."""
    family: Family | None = None
    """Likelihood of a cell. Default: the first in ``FAMILIES`` for the kind."""
    categories: tuple[str, ...] = ()
    """Names of the values 0, 1, … of a category, ordinal or boolean column."""
    location: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """Subtracted before the networks see a number; the mean of the training data.

    Of columns that are ``logged`` it is the mean of log x, of counts that of log(1 + x), and for student_t
    the median; ``scale`` likewise.
    """
    scale: Positive = 1.0
    """Divides what is left; the standard deviation of the training data."""
    knots: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = ()
    """Quantiles of the training data, increasing, of log x if the column is ``logged``: those that
    ``levels`` belong to, or where the components of a mixture start.
    """
    levels: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = ()
    """What the quantile family maps the ``knots`` to: quantiles of the standard normal distribution."""
    missing: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the training cells that are missing, where the model has a mechanism for them; or None."""
    unit: str = ""
    """Unit of the numbers, for tables and pictures; it changes no value."""
    unseen: Literal["refuse", "missing"] = "refuse"
    """What a category that is not in ``categories`` is at use: an error, or a missing cell."""
    dtype: str = ""
    """Type that the column had where it came from, as pandas names it; empty for text files."""
    whole: bool = False
    """Whether all numbers were whole, so that draws are rounded when they are written."""
    decimals: Annotated[int, Field(ge=0)] | None = None
    """Most decimals of a number in a text file; None if that is not known."""
    comma: bool = False
    """Whether a comma marked the decimals."""
    step: Literal["", "day", "hour", "minute", "second"] = ""
    """Unit of a date, which is the number of steps since ``origin``."""
    origin: str = ""
    """First day of the dates, in ISO 8601."""
    date_format: str = ""
    """Format of the dates in a text file, as for ``datetime.strptime``."""
    timezone: str = ""
    """Time zone of the dates in a table in memory; they are counted in UTC."""

    @model_validator(mode="before")
    @classmethod
    def _with_family(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and fields.get("family") is None and fields.get("kind") in FAMILIES:
            first = FAMILIES[fields["kind"]][:1]
            return {**fields, "family": first[0] if first else None}
        return fields

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        allowed = FAMILIES[self.kind]
        if self.family not in (allowed or (None,)):
            raise ValueError(
                f"column {self.name!r}: family = {self.family!r}; a column of kind {self.kind} takes "
                f"{' or '.join(map(repr, allowed)) or 'none'}"
            )
        if self.kind in WITH_CATEGORIES and len(self.categories) < 2:
            raise ValueError(
                f"column {self.name!r}: a column of kind {self.kind} needs two categories or more"
            )
        if len(set(self.categories)) < len(self.categories):
            raise ValueError(f"column {self.name!r}: a category is named twice")
        if self.family == "quantile":
            _check_knots(self)
        return self

    @property
    def logged(self) -> bool:
        """Whether the likelihood is one of log x.

        Examples
        --------
        >>> Column(name="income", kind="positive").logged
        True
        """
        return self.kind == "positive" and self.family in LOGGED


def _check_knots(column: Column) -> None:
    if len(column.knots) != len(column.levels) or len(column.knots) == 1:
        raise ValueError(
            f"column {column.name!r}: {len(column.knots)} knots and {len(column.levels)} levels; "
            "give equally many, at least two"
        )
    for values in (column.knots, column.levels):
        if any(low >= high for low, high in pairwise(values)):
            raise ValueError(f"column {column.name!r}: knots and levels must increase")
