"""Bounds, schedules and penalties by the names that a configuration gives them."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from elboroom.config import ObjectiveConfig
from elboroom.errors import UsageError
from elboroom.models.terms import Terms
from elboroom.models.vae import VAE
from elboroom.objectives import bounds, schedules
from elboroom.objectives.bounds import Bound
from elboroom.objectives.critics import prior_critic, total_correlation_critic
from elboroom.objectives.free_bits import free_bits
from elboroom.objectives.mmd import mmd
from elboroom.objectives.moments import code_norm, decorrelation
from elboroom.objectives.schedules import Schedule
from elboroom.objectives.smooth_decoder import jacobian_norm, weight_decay
from elboroom.objectives.ssim import structural_dissimilarity
from elboroom.objectives.total_correlation import total_correlation

Penalty = Callable[[Terms], Tensor]

SCHEDULES: dict[str, Callable[[float, float, float, float], Schedule]] = {
    "constant": lambda value, _delay, _ramp, _period: schedules.constant(value),
    "linear": lambda value, _delay, ramp, _period: schedules.linear(value, ramp),
    "delayed": lambda value, delay, ramp, _period: schedules.delayed(value, delay, ramp),
    "sigmoid": lambda value, delay, ramp, _period: schedules.sigmoid(value, delay, ramp),
    "cyclical": lambda value, _delay, ramp, period: schedules.cyclical(value, ramp, period),
}
"""Name → schedule, from a value and the steps of delay, ramp and period."""

BOUNDS: dict[str, Callable[[ObjectiveConfig, float], Bound]] = {
    "elbo": lambda config, _steps: free_bits(config.free_bits) if config.free_bits else bounds.elbo,
    "iwae": lambda _config, _steps: bounds.iwae(),
    "miwae": lambda config, _steps: bounds.miwae(config.bound_groups),
    "piwae": lambda config, _steps: bounds.piwae(config.bound_groups),
    "ciwae": lambda config, _steps: bounds.ciwae(config.elbo_share),
    "dreg": lambda _config, _steps: bounds.dreg(),
    "stl": lambda _config, _steps: bounds.sticking_the_landing(),
    "capacity": lambda config, steps: bounds.capacity(
        schedules.linear(config.capacity, _in_steps(config.capacity_ramp, steps))
    ),
}
"""Name → bound, from the configuration and the steps of an epoch."""

PENALTIES: dict[str, Callable[[VAE, int], Penalty]] = {
    "total_correlation": lambda _vae, examples: total_correlation(examples),
    "total_correlation_critic": lambda vae, _examples: total_correlation_critic(vae.latent_dim),
    "decorrelation_i": lambda _vae, _examples: decorrelation("I"),
    "decorrelation_ii": lambda _vae, _examples: decorrelation("II"),
    "mmd_rbf": lambda _vae, _examples: mmd("rbf"),
    "mmd_imq": lambda _vae, _examples: mmd("imq"),
    "prior_critic": lambda vae, _examples: prior_critic(vae.latent_dim),
    "code_norm": lambda _vae, _examples: code_norm,
    "weight_decay": lambda vae, _examples: weight_decay(vae.decoder),
    "jacobian_norm": lambda _vae, _examples: jacobian_norm,
    "structural_dissimilarity": lambda vae, _examples: _of_images(vae),
    "commitment": lambda vae, _examples: _of_codebooks(vae),
}
"""Name → penalty, from the model and the number of training examples."""


def commitment(terms: Terms) -> Tensor:
    """Squared distance of features from their codes, mean over examples (arXiv:1711.00937 eq. 3)."""
    loss: Tensor = terms.posterior.loss  # type: ignore[attr-defined]
    return loss.mean()


def beta_of(config: ObjectiveConfig, steps_per_epoch: float) -> Schedule:
    """Schedule of beta, its epochs turned into steps."""
    times = (config.beta_delay, config.beta_ramp, config.beta_period)
    delay, ramp, period = (_in_steps(epochs, steps_per_epoch) for epochs in times)
    return SCHEDULES[config.beta_schedule](config.beta, delay, ramp, period)


def ramp_warnings(config: ObjectiveConfig, epochs: int) -> list[str]:
    """Which weights have not grown to their full value when training ends after so many epochs.

    Examples
    --------
    >>> config = ObjectiveConfig(beta=4, beta_schedule="delayed", beta_delay=30, beta_ramp=30)
    >>> print(*ramp_warnings(config, 20))
    training ends after 20 epochs at beta 0 instead of 4, as beta_delay + beta_ramp are 60; beta_delay = 10 \
and beta_ramp = 10 would fit
    """
    found = []
    last = beta_of(config, 1000.0)(1000 * epochs - 1)  # in the last of many steps
    if last < config.beta * (1 - 1e-3):
        ends = f"training ends after {epochs} epochs at beta {last:.3g} instead of {config.beta:g}"
        waits = config.beta_delay if config.beta_schedule in ("delayed", "sigmoid") else 0.0
        whole = waits + config.beta_ramp
        if whole <= epochs:  # in one of many cycles
            found.append(f"{ends}, within the ramp of a cycle; beta_period = {config.beta_period:g} epochs")
        elif waits:
            delay, ramp = (epochs / whole * part for part in (waits, config.beta_ramp))
            found.append(
                f"{ends}, as beta_delay + beta_ramp are {whole:g}; beta_delay = {delay:.3g} and "
                f"beta_ramp = {ramp:.3g} would fit"
            )
        else:
            found.append(f"{ends}, as beta_ramp is {whole:g}; beta_ramp = {epochs} would fit")
    if config.bound == "capacity" and config.capacity_ramp > epochs:
        found.append(
            f"training ends after {epochs} epochs, before the capacity has grown to {config.capacity:g} "
            f"nats; capacity_ramp = {config.capacity_ramp:g}"
        )
    if config.penalty_ramp > epochs:
        found.append(
            f"training ends after {epochs} epochs, before the penalties have their full weights; "
            f"penalty_ramp = {config.penalty_ramp:g}"
        )
    return found


def penalties_of(
    config: ObjectiveConfig, steps_per_epoch: float, vae: VAE | None, examples: int | None
) -> dict[str, tuple[Penalty, Schedule]]:
    """Penalties with the schedules of their weights, the ramp's epochs turned into steps.

    Raises
    ------
    UsageError
        If there are some, and the model or the number of training examples is not known; or if one does not
        suit the model.
    """
    if config.penalties and (vae is None or examples is None):
        raise UsageError(
            f"penalties = {config.penalties}: they depend on model and data; give Objective.from_config vae= "
            "and examples="
        )
    ramp = _in_steps(config.penalty_ramp, steps_per_epoch)
    return {
        name: (
            PENALTIES[name](vae, examples),  # type: ignore[arg-type]
            schedules.linear(weight, ramp) if ramp else schedules.constant(weight),
        )
        for name, weight in config.penalties.items()
    }


def _in_steps(epochs: float, steps_per_epoch: float) -> float:
    # 0.07 · 100 is a little more than 7, and a cycle would start a step late.
    return round(epochs * steps_per_epoch, 9)


def _of_codebooks(vae: VAE) -> Penalty:
    # Asked of the model and not of its configuration, as one composed in Python has none.
    if not hasattr(vae.posterior, "codebooks"):
        raise UsageError(
            "penalty commitment pulls features to their entries of a codebook, and "
            f"{type(vae.posterior).__name__} has none; take posterior = 'vq', or leave the penalty out"
        )
    return commitment


def _of_images(vae: VAE) -> Penalty:
    if len(vae.shape) != 3:
        raise UsageError(
            f"penalty structural_dissimilarity compares images (h, w, c), and the model's examples "
            f"have shape {vae.shape}; leave it out for rows"
        )
    return structural_dissimilarity
