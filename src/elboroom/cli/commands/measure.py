"""``evaluate``: numbers out of a trained model."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, Literal

from rich.progress import Progress

from elboroom.cli.commands.common import console, full_name, output_file, run_data
from elboroom.cli.commands.other_data import is_own
from elboroom.cli.commands.records import keep
from elboroom.data.batches import Batches
from elboroom.data.dataset import skipped_lines
from elboroom.errors import FailureError, UsageError
from elboroom.evaluation import evaluate as evaluate_examples
from elboroom.evaluation.health import check_finite
from elboroom.io.files import json_text, write_atomic
from elboroom.models.vae import Precision
from elboroom.runs.run import Run
from elboroom.training.devices import find_device
from elboroom.training.terminal import printable_lines

Split = Literal["test", "validation", "train", "all"]


def evaluate(
    run: Run,
    source: str | None,
    split: Split,
    num_samples: int,
    limit: int | None,
    seed: int,
    precision: Precision,
    device: str,
    *,
    as_json: bool,
    out: Path | None = None,
    overwrite: bool = False,
    vectors: Path | None = None,
) -> None:
    """Measure a run, print the numbers and keep them in its metrics.json, or in the file ``out`` instead."""
    path = None if out is None else output_file(out, out, (".json",), overwrite=overwrite)
    data = run_data(run, source, vectors)
    for line in () if source is None else skipped_lines(data):
        console().print(line)
    where = find_device(device)
    vae = run.model().to(where)
    indices = data.indices(split)[:limit]
    if not len(indices):
        have = [part for part in ("train", "validation", "test") if len(data.indices(part))]
        raise UsageError(f"{data.name} has no {split} examples; --split can be {', '.join(have)} or all")
    with Progress(console=console(), transient=True, disable=not console().is_terminal) as bar:
        task = bar.add_task(f"{num_samples} samples of {len(indices):,} images", total=len(indices))
        measured = evaluate_examples(
            vae,
            Batches(data, where, binarize=run.config.data.binarize, dequantize=run.config.data.dequantize),
            indices,
            num_samples=num_samples,
            seed=seed,
            precision=precision,
            on_progress=lambda done: bar.update(task, completed=done),
        )
    result = {
        **measured,
        "split": split,
        "data": data.name,
        "source": None if source is None or is_own(run, data) else full_name(source),
        "limit": limit if limit is not None and limit < len(data.indices(split)) else None,
        "seed": seed,
        "precision": precision,
    }
    print(json_text(result) if as_json else printable_lines(_table(result, run)), flush=True)
    if path is not None:
        write_atomic(path, json_text(result, indent=2) + "\n")
    else:
        try:
            keep(run, result)
        except FailureError as error:  # the numbers were worth more
            console().print(f"not kept: {error}; --out FILE.json keeps them elsewhere", markup=False)
    check_finite(measured, str(run.path))


def _table(result: dict[str, Any], run: Run) -> str:
    def row(name: str, key: str, more: str = "") -> str:
        return f"  {name:<12} {_number(result[key]):>10}{more}"

    def error(key: str) -> str:
        return "" if result[f"{key}_stderr"] is None else f" ± {_number(result[f'{key}_stderr'])}"

    lines = [f"{run.path} on {result['examples']:,} {result['split']} examples, nats per example"]
    lines += [row(name, name, error(name)) for name in ("elbo", "distortion", "rate")]
    if "rate_of_layers" in result:
        lines[-1] += (
            f"  ({' + '.join(f'{rate:.2f}' for rate in result['rate_of_layers'])}, the top layer first)"
        )
    lines.append(row("nll", "nll", f"{error('nll')}, {result['nll_num_samples']} importance samples"))
    if result["nll_bias"] is not None:
        lines.append(row("  bias", "nll_bias", " at least, by which the nll is too high"))
        lines.append(row("  ess", "nll_ess", " effective samples, median over the examples"))
    if result["nll_pareto_k"] is not None:
        share = f", above 0.7 for {result['nll_unreliable']:.0%} of the examples"
        lines.append(row("  Pareto k̂", "nll_pareto_k", f" median{share}").replace("k̂", "k̂ "))
    if result["nll_verdict"] is not None:
        lines.append(textwrap.fill(result["nll_verdict"], 78, initial_indent="  ", subsequent_indent="  "))
    if result["bits_per_dim"] is not None:
        lines.append(row("bits per dim", "bits_per_dim"))
    lines.append(f"  {'active units':<12} {result['active_units']:>10}")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
