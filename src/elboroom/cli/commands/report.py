"""``report``: what a model tells of classes, in tables."""

from __future__ import annotations

from typing import Literal

from elboroom.cli.commands.common import line_width, load_model, run_data, shown
from elboroom.comparison.report import in_blocks
from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.evaluation.classes import ClassReport, report_classes
from elboroom.evaluation.health import check_finite
from elboroom.io.files import json_text
from elboroom.runs.run import Run
from elboroom.training.terminal import printable_lines


def report(
    run: Run,
    source: str | None,
    split: Literal["test", "validation", "train", "all"],
    seed: int,
    device: str,
    *,
    as_json: bool,
) -> None:
    """Print how well each class is rebuilt, and as what."""
    data, vae = run_data(run, source), load_model(run, device)
    if data.labels is None:
        raise UsageError(f"{data.name} has no labels, so there are no classes to report on")
    where = next(vae.parameters()).device
    batches = Batches(data, where, binarize=run.config.data.binarize, dequantize=run.config.data.dequantize)
    if not len(data.indices(split)):
        raise UsageError(f"{data.name} has no {split} examples; choose another --split")
    rows, reference = data.indices(split), data.indices("train")
    found = report_classes(vae, batches, data.labels, rows, reference, data.label_names, seed=seed)
    what = f"{shown(run.path)} on {data.name}, {split}"
    table = printable_lines(_table(found, what, line_width()))
    print(json_text(found.as_dict()) if as_json else table)
    check_finite(found.measures, str(run.path))


def _cell(found: ClassReport, measure: str, i: int) -> str:
    """A mean with as many digits as it deserves, and its error if it has one."""
    text = f"{found.measures[measure][i]:.{1 if measure in ('distortion', 'rate') else 4}f}"
    errors = found.measures.get(f"{measure}_stderr")
    return text if errors is None else f"{text} ± {errors[i]:.2g}"


def _table(found: ClassReport, what: str, width: int | None = None) -> str:
    """A line per class, and the warnings; broken into several tables where lines are not so long."""
    measures = [name for name in ("distortion", "rate", "mse", "ssim") if name in found.measures]
    rows = [["", "examples", *measures, "originals", "rebuilt", "codes"]]
    for i, name in enumerate(found.names):
        cells = [name, f"{found.counts[i]:,}"]
        cells += [_cell(found, measure, i) for measure in measures]
        cells += [f"{shares[i, i]:.0%}" for shares in found.seen_as.values()]
        rows.append(cells)
    title = f"{what} examples: nats per example; share nearest to the mean of their own class"
    indented = None if width is None else width - 2
    tables = ["\n".join(f"  {line}" for line in block) for block in in_blocks(rows, indented)]
    warnings = [f"warning: {line}" for line in found.warnings()]
    return "\n".join([title, "\n\n".join(tables), *warnings])
