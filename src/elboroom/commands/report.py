"""``report``: what a model tells of classes, in tables."""

from __future__ import annotations

from typing import Literal

from elboroom.commands.common import (
    load_model,
    run_data,
    shown,
)
from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.evaluation.classes import ClassReport, report_classes
from elboroom.evaluation.health import check_finite
from elboroom.files import json_text
from elboroom.run import Run
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
    print(json_text(found.as_dict()) if as_json else printable_lines(_table(found, what)))
    check_finite(found.measures, str(run.path))


def _table(found: ClassReport, what: str) -> str:
    """A line per class, and the warnings."""
    measures = [name for name in ("distortion", "rate", "mse", "ssim") if name in found.measures]
    width = max(12, *map(len, found.names))
    heads = [f"{name:>12}" for name in ("examples", *measures, "originals", "rebuilt", "codes")]
    lines = [
        f"{what} examples: nats per example; share nearest to the mean of their own class",
        f"  {'':<{width}}{''.join(heads)}",
    ]
    for i, name in enumerate(found.names):
        cells = [f"{found.counts[i]:>12,}"]
        cells += [f"{found.measures[m][i]:>12.{1 if m in ('distortion', 'rate') else 4}f}" for m in measures]
        cells += [f"{shares[i, i]:>12.0%}" for shares in found.seen_as.values()]
        lines.append(f"  {name:<{width}}{''.join(cells)}")
    return "\n".join([*lines, *(f"warning: {line}" for line in found.warnings())])
