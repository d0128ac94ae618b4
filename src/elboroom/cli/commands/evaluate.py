"""``elboroom evaluate``: the numbers of a trained model."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from elboroom.cli.options import Count, Json, ModelVerb, NotNegative, OtherData, Precision, Seed, Split
from elboroom.config.options import Option
from elboroom.errors import FailureError, UsageError, counted

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from elboroom.data import Dataset
    from elboroom.data.batches import Batches
    from elboroom.evaluation.picture_features import Features
    from elboroom.models.vae import VAE
    from elboroom.runs.run import Run

_WIDTH = 78


@dataclass(frozen=True, kw_only=True)
class Evaluate(ModelVerb):
    """Evaluate a run: ELBO, distortion, rate, importance-sampled NLL and active units, in nats."""

    data: OtherData = None
    condition_file: Annotated[
        Path | None,
        Option(metavar="NPY", help="Condition vectors of --data, for a model conditional on vectors."),
    ] = None
    split: Split = "test"
    num_samples: Annotated[
        NotNegative, Option(help="Importance samples per example for the NLL. 0 skips the NLL.")
    ] = 1000
    estimator: Annotated[
        Literal["importance", "refined", "annealed", "auto"],
        Option(
            help="Estimator of the NLL. refined improves each example's posterior by gradient steps, "
            "annealed moves codes to the true one, and auto takes the cheapest that can be believed."
        ),
    ] = "importance"
    measures: Annotated[
        tuple[Literal["latents", "probes", "pictures", "disentanglement"], ...],
        Option(
            metavar="NAME ...",
            help="Further measures: latents (the rate taken apart), probes (labels read off the codes), "
            "pictures (reconstructions and draws beside the examples) and disentanglement (codes against the "
            "factors of the data).",
        ),
    ] = ()
    factors: Annotated[
        Path | None,
        Option(metavar="NPZ", help="The factors that made the data, an array each, for disentanglement."),
    ] = None
    prior: Annotated[
        Literal["model", "fitted"],
        Option(help="Prior that draws of --measures pictures come from."),
    ] = "model"
    features: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="Weights of Inception, as .safetensors, on whose features --measures pictures compares. "
            "Default: a small network trained on the training pictures.",
        ),
    ] = None
    limit: Annotated[
        Count | None, Option(metavar="INT", help="Evaluate only this many examples, the first ones.")
    ] = None
    seed: Seed = 0
    precision: Precision = "fp32"
    out: Annotated[
        Path | None, Option(help="A .json file for the numbers, instead of the run's metrics.json.")
    ] = None
    overwrite: Annotated[bool, Option(help="Replace an existing --out.")] = False
    json: Json = False

    def __call__(self) -> None:
        """Print the numbers and keep them in the run's metrics.json, or in ``out`` instead."""
        from elboroom.cli.console import console
        from elboroom.cli.inputs.inception import read_inception
        from elboroom.cli.inputs.run_data import run_data
        from elboroom.cli.outputs import output_file
        from elboroom.cli.records import keep
        from elboroom.data.dataset import skipped_lines
        from elboroom.evaluation.health import check_finite
        from elboroom.io.files import json_text, write_atomic
        from elboroom.runs.run import Run
        from elboroom.training.terminal import printable_lines

        run = Run(self.run)
        if self.prior != "model" and "pictures" not in self.measures:
            raise UsageError(
                f"--prior {self.prior} is for --measures pictures; the NLL is that of the model's own"
            )
        if self.factors is not None and "disentanglement" not in self.measures:
            raise UsageError(f"--factors {self.factors} is for --measures disentanglement; add that")
        if self.features is not None and "pictures" not in self.measures:
            raise UsageError(f"--features {self.features} is for --measures pictures; add that")
        net = None if self.features is None else read_inception(self.features)
        file = self.out and output_file(self.out, self.out, (".json",), overwrite=self.overwrite)
        data = run_data(run, self.data, self.condition_file)
        for line in () if self.data is None else skipped_lines(data):
            console().print(line)
        result = self._measured(run, data, net)
        table = printable_lines(_table(result, run))
        print(json_text(result) if self.json else table, flush=True)
        if file is not None:
            write_atomic(file, json_text(result, indent=2) + "\n")
        else:
            try:
                keep(run, result)
            except FailureError as error:  # the numbers have been printed
                console().print(f"not saved: {error}; --out FILE.json saves them elsewhere")
        numbers = {name: value for name, value in result.items() if name not in _DESCRIPTION}
        check_finite(numbers, str(run.path))

    def _check_measures(self, data: Dataset, n: int) -> None:
        """Refuse measures that need more than there is: examples, or factors."""
        from elboroom.data.drawn import DRAWN
        from elboroom.evaluation.picture_measures import FEWEST_PICTURES
        from elboroom.evaluation.probes import FEWEST_PROBED

        if "disentanglement" in self.measures and self.factors is None and data.name not in DRAWN:
            raise UsageError(
                f"--measures disentanglement: the factors that made {data.name} are unknown; give --factors "
                "FILE.npz, or take --measures probes for its labels"
            )
        for group, least in (("latents", 2), ("pictures", FEWEST_PICTURES), ("probes", FEWEST_PROBED)):
            if group in self.measures and n < least:
                where = f"--limit {self.limit}" if n == self.limit else f"--split {self.split}, of {n}"
                raise UsageError(f"{where}: --measures {group} needs at least {counted(least, 'example')}")

    def _measured(self, run: Run, data: Dataset, net: Features | None) -> dict[str, Any]:
        """Evaluate, with a description of what was evaluated."""
        from rich.progress import Progress

        from elboroom.cli.console import console
        from elboroom.cli.inputs.model import load_model
        from elboroom.cli.inputs.other_data import is_own
        from elboroom.data import full_name
        from elboroom.data.batches import Batches
        from elboroom.evaluation import evaluate, evaluate_columns, learned_mechanism

        vae = load_model(run, self.device)
        all_of_split = data.indices(self.split)
        indices = all_of_split[: self.limit]
        if not len(indices):
            have = [part for part in ("train", "validation", "test") if len(data.indices(part))]
            raise UsageError(
                f"{data.name} has no {self.split} examples; --split can be {', '.join(have)} or all"
            )
        self._check_measures(data, len(indices))
        where, options = next(vae.parameters()).device, run.config.data
        with Progress(console=console(), transient=True, disable=not console().is_terminal) as bar:
            task = bar.add_task(f"evaluating {len(indices):,} examples", total=len(indices))
            batches = Batches(data, where, binarize=options.binarize, dequantize=options.dequantize)
            measured = evaluate(
                vae,
                batches,
                indices,
                num_samples=self.num_samples,
                seed=self.seed,
                precision=self.precision,
                estimator=self.estimator,
                on_progress=lambda done: bar.update(task, completed=done),
            )
        if data.columns and vae.accepts_missing:
            measured["columns"] = evaluate_columns(
                vae, batches, indices, seed=self.seed, precision=self.precision
            )
        if self.measures:
            measured["measures"] = self._further(run, vae, data, batches, indices, net)
        mechanism = learned_mechanism(vae)
        if mechanism:
            measured["missing_mechanism"] = mechanism
        return {
            **measured,
            "split": self.split,
            "data": data.name,
            "source": None if self.data is None or is_own(run, data) else full_name(self.data),
            "limit": self.limit if len(indices) < len(all_of_split) else None,
            "seed": self.seed,
            "precision": self.precision,
        }

    def _further(
        self,
        run: Run,
        vae: VAE,
        data: Dataset,
        batches: Batches,
        indices: NDArray[np.int64],
        net: Features | None,
    ) -> dict[str, dict[str, Any]]:
        from elboroom.cli.inputs.factors import read_factors
        from elboroom.cli.inputs.prior import with_prior
        from elboroom.evaluation.measures import measure

        factors = None if self.factors is None else read_factors(self.factors)
        prior = with_prior(run, vae, self.prior)[0].prior if "pictures" in self.measures else None
        options: dict[str, Any] = {"factors": factors, "prior": prior, "features": net, "seed": self.seed}
        found = measure(vae, data, batches, indices, self.measures, **options)
        return {group: {name: one.as_json() for name, one in each.items()} for group, each in found.items()}


_DESCRIPTION = ("split", "data", "source", "limit", "seed", "precision")


def _table(result: dict[str, Any], run: Run) -> str:
    from elboroom.runs.best_epoch import bound_name

    def row(name: str, key: str, more: str = "") -> str:
        return f"  {name:<12} {_number(result[key]):>10}{more}"

    def error(key: str) -> str:
        return "" if result[f"{key}_stderr"] is None else f" ± {_number(result[f'{key}_stderr'])}"

    what = result["likelihood_of"]
    of = "" if what in ("log p(x)", "log p(x | z)") else f" of {what}"
    examples = counted(result["examples"], result["split"] + " example")
    lines = [f"{run.path} on {examples}, nats per example{of}"]
    bound = "elbo" if result["rate"] else bound_name(0.0)
    lines += [
        row(bound, "elbo", error("elbo")),
        *(row(name, name, error(name)) for name in ("distortion", "rate")),
    ]
    if "rate_of_layers" in result:
        lines[-1] += f"  ({' + '.join(f'{rate:.2f}' for rate in result['rate_of_layers'])}, top layer first)"
    lines.append(row("nll", "nll", f"{error('nll')}, {_how(result)}"))
    if result["nll_bias"] is not None:
        lines.append(row("  bias", "nll_bias", " or more: how much the NLL is too high"))
        lines.append(row("  ess", "nll_ess", " effective samples (median over the examples)"))
    if result["nll_pareto_k"] is not None:
        share = f"; above 0.7 for {result['nll_unreliable']:.0%} of the examples"
        lines.append(row("  Pareto k̂", "nll_pareto_k", f" median{share}").replace("k̂", "k̂ "))
    if result["nll_verdict"] is not None:
        lines.append(_filled(result["nll_verdict"], "  "))
    if result["bits_per_dim"] is not None:
        lines.append(row("bits per dim", "bits_per_dim"))
        lines.append(_filled(f"({result['bits_per_dim_of']})", "    "))
    lines.append(f"  {'active units':<12} {result['active_units']:>10}")
    if "columns" in result:
        from elboroom.cli.column_table import table_of_columns

        lines += ["", *table_of_columns(result["columns"])]
    for group, found in result.get("measures", {}).items():
        lines += ["", f"  {group}", *(_measure_line(name, one) for name, one in found.items())]
    if "missing_mechanism" in result:
        from elboroom.cli.column_table import table_of_mechanism

        lines += ["", *table_of_mechanism(result["missing_mechanism"])]
        lines += ["  (self-masking, as learned; all nats are of the cells and of which are missing)"]
    return "\n".join(lines)


def _filled(text: str, indent: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)


def _how(result: dict[str, Any]) -> str:
    """Say how the NLL was estimated."""
    samples = counted(result["nll_num_samples"], "importance sample")
    more = {
        "refined": f"{samples} of refined posteriors",
        "annealed": f"{result['nll_num_samples']} annealed chains",
    }
    return more.get(result["nll_estimator"] or "", samples)


def _measure_line(name: str, one: dict[str, Any]) -> str:
    """Return one measure as a line, such as ``  total correlation       0.103 ± 0.005 nats``."""
    error = "" if one["error"] is None else f" ± {_number(one['error'])}"
    unit = "" if one["unit"] == "share" else f" {one['unit']}"
    chance = one.get("details", {}).get("chance")
    more = "" if chance is None else f" (chance {chance:.3f})"
    return f"  {name.replace('_', ' '):<24} {_number(one['value']):>9}{error}{unit}{more}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
