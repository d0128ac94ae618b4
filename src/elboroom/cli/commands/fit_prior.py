"""``elboroom fit-prior``: a density fitted to a trained model's codes, to sample from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from elboroom.cli.options import Count, Json, ModelVerb, Seed
from elboroom.config.options import Option
from elboroom.errors import UsageError, counted

if TYPE_CHECKING:
    from elboroom.data.dataset import Dataset
    from elboroom.models.vae import VAE
    from elboroom.runs.run import Run

Kind = Literal["gmm", "flow", "knn", "vae", "autoregressive"]


@dataclass(frozen=True, kw_only=True)
class FitPrior(ModelVerb):
    """Fit a density to the codes of the training examples, for 'sample --prior fitted'."""

    kind: Annotated[
        Kind | None,
        Option(
            help="gmm: a Gaussian mixture, as large as held-out codes support; the default for continuous "
            "codes. flow: a neural spline flow, for codes that a mixture fits badly. knn: a normal at each "
            "code, along its nearest neighbours. vae: a second VAE on the codes. autoregressive: a "
            "transformer over the indices of a quantised model; the default for those."
        ),
    ] = None
    limit: Annotated[Count, Option(metavar="INT", help="Training examples to use at most.")] = 10_000
    seed: Seed = 0
    overwrite: Annotated[bool, Option(help="Replace the prior that was fitted before.")] = False
    json: Json = False

    def __call__(self) -> None:
        """Fit, score on held-out examples, and keep both in the run folder. The model is not changed."""
        from elboroom.cli.inputs.model import load_model
        from elboroom.cli.inputs.run_data import run_data
        from elboroom.evaluation.fitting import fit_prior, kind_for, sampled_codes, why_not
        from elboroom.evaluation.latent_statistics import measure_codes
        from elboroom.io.files import json_text
        from elboroom.models.fitted_prior import FILE, write_fitted
        from elboroom.runs.run import Run
        from elboroom.runs.statistics_file import write_statistics

        run = Run(self.run)
        if (run.path / FILE).exists() and not self.overwrite:
            raise UsageError(f"{run.path} already has a fitted prior; replace it with --overwrite")
        vae = load_model(run, self.device)
        kind = self.kind or kind_for(vae)
        reason = why_not(vae, kind)
        if reason is not None:
            raise UsageError(f"no prior can be fitted to {run.path}: {reason}")
        data = run_data(run)
        batches, rows, part, held_out = self._examples(run, vae, data)
        codes = sampled_codes(vae, batches, rows, seed=self.seed)
        unseen = sampled_codes(vae, batches, held_out, seed=self.seed)
        quantizer = getattr(vae.prior, "quantizer", None)
        fitted = fit_prior(codes, kind=kind, seed=self.seed, quantizer=quantizer)
        statistics = measure_codes(vae, batches, rows, seed=self.seed, limit=self.limit)
        assert statistics is not None  # sampled_codes has refused codes that are not finite
        self._score(vae, fitted, codes, unseen, part)
        write_fitted(run.path, fitted, vae)
        write_statistics(run.path, vae, statistics)
        if self.json:
            result = {"kind": kind, **fitted.record, "latent_statistics": statistics}
            print(json_text(result), flush=True)
        else:
            print("\n".join(_lines(run, fitted, statistics)), flush=True)

    def _examples(self, run: Run, vae: VAE, data: Dataset) -> tuple[Any, Any, str, Any]:
        """Rows to fit by, the part of the data to score on, and its rows."""
        import numpy as np

        from elboroom.data.batches import Batches
        from elboroom.evaluation.fitting import FEWEST

        rows = data.indices("train")
        held_out = [name for name in ("validation", "test") if len(data.indices(name)) > 1]
        if not held_out:
            raise UsageError(
                f"{data.name} has no validation or test examples, on which the fitted prior is scored; train "
                "with --validation"
            )
        if min(self.limit, len(rows)) < FEWEST:
            asked = f"--limit {self.limit}" if self.limit < FEWEST else f"{data.name}, of {len(rows)}"
            raise UsageError(f"{asked} training examples: a density is fitted to at least {FEWEST} codes")
        if len(rows) > self.limit:
            rows = np.sort(np.random.default_rng(self.seed).choice(rows, self.limit, replace=False))
        options, where = run.config.data, next(vae.parameters()).device
        batches = Batches(data, where, binarize=options.binarize, dequantize=options.dequantize)
        part = held_out[0]
        # As many are scored on whatever the limit, so that scores of two limits can be compared.
        return batches, rows, part, data.indices(part)[:_SCORED]  # type: ignore[arg-type]

    def _score(self, vae: VAE, fitted: Any, codes: Any, unseen: Any, part: str) -> None:
        from elboroom.evaluation.fitting import score_prior

        seen = codes if fitted.kind == "autoregressive" else None
        scores = score_prior(vae, fitted, unseen, seen=seen, seed=self.seed)
        fitted.record["split"] = part
        fitted.record["held_out"] = {name: one.as_json() for name, one in scores.items()}


_SCORED = 10_000  # held-out examples at most
_NAMES = {
    "fitted": "fitted",
    "standard_normal": "N(0, I)",
    "uniform": "uniform",
    "independent": "independent",
    "model_prior": "model's prior",
}
_SCORES = {
    "vae": "lower bound on the log-density of codes",
    "autoregressive": "log-probability of the indices",
}


def _lines(run: Run, fitted: Any, statistics: dict[str, Any]) -> list[str]:
    from elboroom.evaluation.latent_statistics import spread_of

    record, held_out = fitted.record, fitted.record["held_out"]
    examples = counted(held_out["fitted"]["examples"], f"{record['split']} example")
    lines = [
        f"{run.path}: {fitted.describe()},",
        f"fitted to codes of {counted(record['codes'], 'training example')}",
        f"{_SCORES.get(fitted.kind, 'log-density of codes')} of {examples}, nats per example",
    ]
    for name, words in _NAMES.items():
        if name in held_out:
            gain = held_out.get(f"gain_over_{name}")
            more = "" if gain is None else f"  (fitted is higher by {_value(gain)})"
            lines.append(f"  {words:<14} {_value(held_out[name])}{more}")
    if record["constant_dimensions"]:
        lines.append(
            f"  {counted(record['constant_dimensions'], 'dimension')} of the codes hardly vary: given a "
            "spread of 1/1000 of the widest one's"
        )
    if use := record.get("use"):
        lines += _use_lines(use, fitted.density.quantizer.codebook_size)
    lines.append(f"codes: {spread_of(statistics)}")
    lines.append(f"sample from it with 'elboroom sample {run.path} --prior fitted'")
    return lines


def _use_lines(use: dict[str, Any], size: int) -> list[str]:
    from elboroom.evaluation.index_statistics import why_alike

    lines = [
        f"indices: {use['different_rows']:,} different rows of {use['rows']:,}; a place uses "
        f"{use['perplexity']:.3g} of {size:,} codes (perplexity)"
    ]
    reason = why_alike(use)
    return lines if reason is None else [*lines, f"{reason}, and draws will be as alike"]


def _value(one: dict[str, Any]) -> str:
    error = "" if one["error"] is None else f" ± {one['error']:.3f}"
    return f"{one['value']:.3f}{error}"
