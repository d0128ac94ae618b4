"""``elboroom report``: how well each class is reconstructed, and as which class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from elboroom.cli.options import Json, ModelVerb, OtherData, Seed, Split
from elboroom.errors import UsageError

if TYPE_CHECKING:
    from elboroom.evaluation.classes import ClassReport


_EXPLANATION = (
    "distortion and rate in nats per example; originals, reconstructions and codes: share nearest to the "
    "mean of their own class"
)


@dataclass(frozen=True, kw_only=True)
class Report(ModelVerb):
    """Evaluate each class separately, and say whether one is reconstructed as another."""

    data: OtherData = None
    split: Split = "test"
    seed: Seed = 0
    json: Json = False

    def __call__(self) -> None:
        """Print a table with a row for each class, and warnings.

        Raises
        ------
        UsageError
            If the data have no labels, or no examples in this part.
        """
        from elboroom.cli.console import line_width, print_result, shown
        from elboroom.cli.inputs.model import load_model
        from elboroom.cli.inputs.run_data import run_data
        from elboroom.data.batches import Batches
        from elboroom.evaluation.classes import report_classes
        from elboroom.evaluation.health import check_finite
        from elboroom.io.files import json_text
        from elboroom.runs.run import Run
        from elboroom.training.terminal import printable_lines

        run = Run(self.run)
        data, vae = run_data(run, self.data), load_model(run, self.device)
        if data.labels is None:
            raise UsageError(f"{data.name} has no labels, so there are no classes to report on")
        where, options = next(vae.parameters()).device, run.config.data
        batches = Batches(data, where, binarize=options.binarize, dequantize=options.dequantize)
        rows, reference = data.indices(self.split), data.indices("train")
        if not len(rows):
            raise UsageError(f"{data.name} has no {self.split} examples; choose another --split")
        found = report_classes(vae, batches, data.labels, rows, reference, data.label_names, seed=self.seed)
        title = f"{shown(run.path)} on {data.name}, {self.split} examples"
        if self.json:
            print(json_text(found.as_dict()))
        else:
            print_result(title, _EXPLANATION)
            print(printable_lines(_table(found, line_width())))
            print_result(*(f"warning: {line}" for line in found.warnings()))
        check_finite(found.measures, str(run.path))


def _cell(found: ClassReport, measure: str, i: int) -> str:
    """Write a mean, with its standard error if there is one."""
    text = f"{found.measures[measure][i]:.{1 if measure in ('distortion', 'rate') else 4}f}"
    errors = found.measures.get(f"{measure}_stderr")
    return text if errors is None else f"{text} ± {errors[i]:.2g}"


def _table(found: ClassReport, width: int | None = None) -> str:
    """Write a row per class; columns that exceed the width continue in further tables."""
    from elboroom.comparison.report import in_blocks

    measures = [name for name in ("distortion", "rate", "mse", "ssim") if name in found.measures]
    rows = [["", "examples", *measures, "originals", "reconstructions", "codes"]]
    for i, name in enumerate(found.names):
        cells = [name, f"{found.counts[i]:,}"]
        cells += [_cell(found, measure, i) for measure in measures]
        cells += [f"{shares[i, i]:.0%}" for shares in found.seen_as.values()]
        rows.append(cells)
    indented = None if width is None else width - 2
    tables = ["\n".join(f"  {line}" for line in block) for block in in_blocks(rows, indented)]
    return "\n\n".join(tables)
