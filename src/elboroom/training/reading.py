"""Data as a configuration says that they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from elboroom.config import Config
from elboroom.config.columns import Column
from elboroom.config.kinds import declared_kinds
from elboroom.config.shapes import with_spare
from elboroom.data import Dataset
from elboroom.data.formats import Options
from elboroom.data.image_tree import Otherwise
from elboroom.data.loading import checked_options, load
from elboroom.data.table_set import Reading


def options_for(config: Config, *, mixed: bool, columns: Sequence[Column] = ()) -> Options:
    """How data are read for a configuration.

    Without a ``mixed`` likelihood and without kinds of columns a table is read as plain numbers. Image files
    of several sizes get the size that random crops are usually taken from, if there are such.
    """
    own = config.data
    reading = Reading(declared_kinds(own.kinds), tuple(columns), unseen=own.unseen)
    return replace(
        checked_options(own.size, own.channels, own.strict),
        otherwise=None if own.random_crop is None else Otherwise(*with_spare(own.random_crop)),
        reading=reading if mixed or own.kinds else None,
        encoding=own.encoding,
        label_column=own.label_column,
        layer=own.layer,
    )


def load_as(config: Config, data: Any, *, mixed: bool, columns: Sequence[Column] = ()) -> Dataset:
    """Load data as the command line does for a configuration.

    A table is brought to the columns of a model, if there are some; see :func:`options_for`.
    """
    return load(data, options_for(config, mixed=mixed, columns=columns))
