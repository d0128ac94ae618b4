"""Compare recipes: plan, train the missing runs, evaluate, and write tables and a picture."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from elboroom.comparison.plan import Plan, names_of, sift, wants_all
from elboroom.comparison.progress import ComparisonProgress
from elboroom.comparison.report import Comparison
from elboroom.comparison.runs import Job, begin, carry_out, measured_part, rows_in, train_at_once
from elboroom.comparison.summary import Summary
from elboroom.comparison.variants import split_variant
from elboroom.config import Config
from elboroom.data import Dataset, full_name
from elboroom.errors import ElboroomError, UsageError
from elboroom.figures.style import to_png
from elboroom.io.files import explain_disk, lock_folder, write_atomic
from elboroom.objectives.recipes import recipe
from elboroom.training.reading import load_as
from elboroom.training.signals import Stopped

Failures = dict[str, dict[int, str]]


def compare(
    data: Dataset | NDArray[Any] | str | os.PathLike[str],
    recipes: str | Sequence[str],
    *,
    out: str | os.PathLike[str],
    seeds: int = 3,
    nll_samples: int = 100,
    config: Config | None = None,
    together: bool = True,
    quiet: bool = False,
    **options: Any,
) -> Comparison:
    """Train recipes with several seeds each on the same data and networks, and tabulate the results.

    Called again with the same ``out``, it continues where it was stopped, and adds recipes and seeds.

    Parameters
    ----------
    data : Dataset, array or source
        Anything :func:`elboroom.load_data` takes; measured on its test part, or else on validation.
    recipes : str or sequence of str
        Names, or "all" for all that fit the data and the options. ``"beta-vae:beta=2"`` is a recipe with a
        value of its own, which overrides ``options``.
    out : path
        Folder of the comparison: ``RECIPE/seed-N`` are runs, ``table.csv summary.csv table.md table.png``.
    seeds : int
        Runs of each recipe; their seeds count from ``seed`` (0 if not given).
    nll_samples : int
        Importance samples per example for the NLL.
    config : Config, optional
        Base configuration, which recipes override. Nothing is held out for validation unless it says so.
    together : bool
        Train the seeds of a recipe with batched steps where that is possible and faster. Up to rounding, the
        weights are those of runs trained one at a time; ``seconds`` are those of all seeds together.
    quiet : bool
        Show no progress.
    **options
        Fields of the configuration, which override every recipe: ``epochs=20, latent_dim=10, …``

    Returns
    -------
    Comparison
        With ``rows``, ``summaries``, ``markdown()``, ``text()``, ``csv()`` and ``figure()``.

    Raises
    ------
    UsageError
        Before anything is trained: if a recipe is unknown or refused, or ``out`` contains another comparison.
    Stopped
        On Ctrl-C or SIGTERM, after saving.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = compare("digits", ["vae", "ae"], out=folder, seeds=2, epochs=1, hidden=[8], quiet=True)
    >>> [(one.recipe, len(one.rows), len(one.values("nll"))) for one in found.summaries]
    [('vae', 2, 2), ('ae', 2, 0)]
    """
    everything = wants_all(recipes)
    if isinstance(data, str | os.PathLike):
        name = os.fspath(data)
        options["source"] = full_name(name)

    def settings(name: str) -> Config:
        base, own = split_variant(name)
        return recipe(base, config, **options | own)

    configs, refused = sift(names_of(recipes), settings, leave_out=everything)
    loaded = load_as(next(iter(configs.values())), data, mixed=True)
    return compare_configs(
        loaded,
        configs,
        refused,
        Path(out),
        seeds,
        nll_samples,
        leave_out=everything,
        together=together,
        quiet=quiet,
    )


def compare_configs(
    data: Dataset,
    configs: Mapping[str, Config],
    refused: Mapping[str, str],
    out: Path,
    seeds: int,
    nll_samples: int,
    *,
    leave_out: bool,
    together: bool = True,
    quiet: bool,
) -> Comparison:
    """Compare configurations of recipes; see :func:`elboroom.compare`.

    Parameters
    ----------
    data : Dataset
        The data, before any split.
    configs : mapping
        The configuration of each recipe; its training section has the first seed.
    refused : mapping
        Recipes that are left out, with the reasons.
    out, seeds, nll_samples
        As in :func:`elboroom.compare`.
    leave_out : bool
        Leave out further recipes that do not fit the data, instead of refusing them.
    together, quiet
        As in :func:`elboroom.compare`.
    """
    for option, value in (("seeds", seeds), ("nll_samples", nll_samples)):
        if value < 1:
            raise UsageError(f"{option} = {value}: must be at least 1")
    configs = {name: _with_one_split(one) for name, one in configs.items()}
    known = Plan.read(out)
    plan = Plan.of(data, configs, nll_samples)
    plan = known.extended(plan, out) if known is not None else plan
    first = next(iter(configs.values())).training.seed
    jobs = [
        Job.of(out, name, one, seed) for seed in range(first, first + seeds) for name, one in configs.items()
    ]
    jobs = [job for job in jobs if not job.is_done]
    waiting = list(dict.fromkeys(job.recipe for job in jobs))
    _, misfits = sift(waiting, lambda name: _check(configs[name], data), leave_out=leave_out)
    refused = {**refused, **misfits}
    jobs = [job for job in jobs if job.recipe not in misfits]
    plan = Plan(plan.data, plan.fingerprint, plan.nll_samples, _without(plan.configs, misfits))
    with explain_disk(out):
        out.mkdir(parents=True, exist_ok=True)
    lock = lock_folder(out)
    try:
        plan.write(out)
        failures = _carry_out(jobs, data, plan, refused, together=together, quiet=quiet)
        found = _collect(out, plan, refused, failures)
        _write(found, out)
        write_atomic(out / "table.png", to_png(found.figure()))
    finally:
        lock.release()
    return found


def _check(config: Config, data: Dataset) -> None:
    measured_part(begin(config, data).data)


def _without(configs: Mapping[str, Config], names: Mapping[str, str]) -> dict[str, Config]:
    return {name: one for name, one in configs.items() if name not in names}


def _with_one_split(config: Config) -> Config:
    """Hold out the same examples for every seed, and none by default."""
    if config.data.validation is None:
        return config.updated(validation=0.0)
    if config.data.validation and config.data.split_seed is None:
        return config.updated(split_seed=config.training.seed)
    return config


def _carry_out(
    jobs: Sequence[Job],
    data: Dataset,
    plan: Plan,
    refused: Mapping[str, str],
    *,
    together: bool,
    quiet: bool,
) -> Failures:
    """Carry out all runs; a failed one is recorded, and the others continue."""
    failures: Failures = {}
    done = 0
    with ComparisonProgress(jobs, quiet=quiet) as shown:
        for name, why in refused.items():
            shown.say(f"{name} is left out: {why}")
        if together:
            _train_seeds_at_once(jobs, data, shown)
        for job in jobs:
            shown.begin(job)
            try:
                row = carry_out(job, data, plan.nll_samples, partial(shown.epochs, job))
                shown.end(job, row)
            except KeyboardInterrupt as stop:
                number = getattr(stop, "signal_number", signal.SIGINT)
                raise Stopped(
                    f"stopped after {done} of {len(jobs)} runs; the same command continues from here", number
                ) from None
            except Exception as error:
                if os.environ.get("ELBOROOM_TRACEBACK"):
                    raise
                reason = _reason(error)
                failures.setdefault(job.recipe, {})[job.seed] = reason
                shown.end(job, None, reason)
            done += 1
            _write(_collect(job.folder.parents[1], plan, refused, failures), job.folder.parents[1])
    return failures


def _train_seeds_at_once(jobs: Sequence[Job], data: Dataset, shown: ComparisonProgress) -> None:
    """Train the seeds of each recipe together where they can be; what fails here is tried again alone."""
    for name in dict.fromkeys(job.recipe for job in jobs):
        seeds = [job for job in jobs if job.recipe == name]
        if len(seeds) < 2:
            continue
        try:
            train_at_once(seeds, data, shown.say, partial(shown.epochs, seeds[0]))
        except KeyboardInterrupt as stop:
            number = getattr(stop, "signal_number", signal.SIGINT)
            raise Stopped(
                f"stopped while {name} was trained; the same command continues from here", number
            ) from None
        except ElboroomError:  # reported when the run is carried out
            continue


def _reason(error: Exception) -> str:
    """Describe an error in one line, with its type if it is not one of elboroom."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ElboroomError) else f"{type(error).__name__}: {text}"


def _collect(out: Path, plan: Plan, refused: Mapping[str, str], failures: Failures) -> Comparison:
    """Collect all runs in the folder, in the order in which the recipes were added."""
    summaries = [Summary(name, rows_in(out, name), failures.get(name, {})) for name in plan.configs]
    summaries += [Summary(name, [], {}, why) for name, why in refused.items() if name not in plan.configs]
    return Comparison(summaries, plan.data, plan.nll_samples, out)


def _write(found: Comparison, out: Path) -> None:
    write_atomic(out / "table.csv", found.csv())
    write_atomic(out / "summary.csv", found.summary_csv())
    write_atomic(out / "table.md", found.markdown())
