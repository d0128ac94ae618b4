"""``elboroom data show``: what a data set contains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from elboroom.cli.options import DATA, Positional, Verb
from elboroom.config.options import Option

if TYPE_CHECKING:
    from elboroom.data import Dataset

_SHOWN_LABELS = 50
_WIDTH, _WIDEST = 80, 120


@dataclass(frozen=True, kw_only=True)
class DataShow(Verb):
    """Describe a data set: shapes, split, labels, values and skipped files; of a table, each column."""

    source: Annotated[Positional[str], DATA]
    strict: Annotated[bool, Option(help="Stop at a damaged file instead of skipping it.")] = False
    kinds: Annotated[
        str,
        Option(
            metavar="NAME=KIND",
            old=("columns",),
            help="Kinds of columns of a table that are not to be inferred, as in 'zip=category, id=ignored, "
            "rating=ordinal:low<mid<high'; 'numbers' reads all columns as plain numbers.",
        ),
    ] = ""
    encoding: Annotated[
        str | None, Option(metavar="NAME", help="Encoding of a text table, such as windows-1252.")
    ] = None

    def __call__(self) -> None:
        """Print it."""
        from elboroom.cli.console import line_width, print_result
        from elboroom.cli.parser import in_options
        from elboroom.data import load_data
        from elboroom.data.dataset import skipped_lines
        from elboroom.data.rows import extent
        from elboroom.data.table_summary import summary_lines

        data = load_data(self.source, strict=self.strict, kinds=self.kinds, encoding=self.encoding)
        lines = [data.describe(), *map(in_options, data.notes)]
        if data.labels is not None:
            lines.append("labels  " + _labels(data))
        if data.columns:
            lines = [line for line in lines if not line.startswith("missing cells")]  # the table shows them
            print_result(*lines, *skipped_lines(data, most=10), "")
            print(*summary_lines(data, min(line_width() or _WIDTH, _WIDEST)), sep="\n")
            return
        low, high = extent(data.x)
        lines.append(
            f"values  {low:g} to {high:g}"
            + (f"; the model sees {data.scale:g} as 1" if data.scale != 1 else "")
        )
        print_result(*lines, *skipped_lines(data, most=10))


def _labels(data: Dataset) -> str:
    """Count the examples of each label."""
    import numpy as np

    labels, counts = np.unique(np.asarray(data.labels), return_counts=True)
    found = list(zip(labels.tolist(), counts.tolist(), strict=True))
    named = [f"{data.label_name(label)} {count:,}" for label, count in found[:_SHOWN_LABELS]]
    more = f", … {len(found):,} labels in total" if len(found) > _SHOWN_LABELS else ""
    return ", ".join(named) + more
