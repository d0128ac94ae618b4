"""The prior that --prior names, and what is said of it."""

from __future__ import annotations

from typing import Literal

from elboroom.cli.console import console
from elboroom.doctor.held_out import why_unfit
from elboroom.errors import UsageError
from elboroom.evaluation.fitting import kind_for, why_not
from elboroom.evaluation.latent_statistics import why_far
from elboroom.models.fitted_prior import FILE, FittedPrior, read_fitted
from elboroom.models.vae import VAE
from elboroom.probability.priors import StandardNormal
from elboroom.runs.run import Run
from elboroom.runs.statistics_file import read_statistics


def with_prior(
    run: Run, vae: VAE, which: Literal["model", "fitted"], *, draws: bool = True
) -> tuple[VAE, str]:
    """Give a run's model the prior to use, and name it.

    A line says which prior is used if the run has a fitted one, and a warning names ``fit-prior`` where
    draws from the model's own prior are noise by construction; no warning without ``draws``.

    Raises
    ------
    UsageError
        If the fitted prior is wanted and there is none, or there cannot be one.
    """
    refused = why_not(vae)
    if which == "fitted":
        fitted = fitted_prior(run, vae)
        console().print(f"{'drawing from' if draws else 'using'} the fitted prior: {fitted.describe()}")
        return vae.with_prior(fitted.density), "fitted prior"
    has = refused is None and (run.path / FILE).exists()
    if has and draws:
        console().print("drawing from the model's own prior; --prior fitted draws from the fitted one")
    reason = why_noisy(run, vae) if draws else None
    if reason is not None:
        fix = "use --prior fitted" if has else f"run '{fitting_command(run, vae)}', then use --prior fitted"
        if refused is not None:
            fix = f"fit-prior cannot mend it: {refused}"
        console().print(f"warning: these samples will look like noise: {reason}; {fix}")
    return vae, "prior"


def fitted_prior(run: Run, vae: VAE) -> FittedPrior:
    """Read the prior that was fitted to a run.

    Raises
    ------
    UsageError
        If there is none, or there cannot be one.
    """
    refused = why_not(vae)
    if refused is not None:
        raise UsageError(f"--prior fitted: {refused}")
    return read_fitted(run.path, vae)


def fitting_command(run: Run, vae: VAE) -> str:
    """Return the command that fits a prior to a run, with the kind if it is not the usual one."""
    kind = kind_for(vae)
    return f"elboroom fit-prior {run.path}" + ("" if kind == "gmm" else f" --kind {kind}")


def why_noisy(run: Run, vae: VAE) -> str | None:
    """Say why draws from the model's own prior are noise, by its codes or its parts; None if neither tells.

    Raises
    ------
    UsageError
        If the run's file of statistics cannot be read.
    """
    statistics = read_statistics(run.path)
    if statistics is not None and isinstance(vae.prior, StandardNormal):
        found = why_far(statistics)
        if found is not None:
            return found
    return None if run.custom_model else why_unfit(vae, run.config)
