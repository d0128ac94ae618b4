"""Make bounds, schedules and penalties from their names in a configuration."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from elboroom.config import ObjectiveConfig
from elboroom.config.penalties import PENALTIES as PENALTY_ROWS
from elboroom.errors import UsageError
from elboroom.models.terms import Terms
from elboroom.models.vae import VAE
from elboroom.models.weight_files import read_weights
from elboroom.objectives import bounds, schedules
from elboroom.objectives.bounds import Bound
from elboroom.objectives.critics import prior_critic, total_correlation_critic
from elboroom.objectives.detail import focal_frequency, gradient_difference, texture
from elboroom.objectives.equivariance import equivariance
from elboroom.objectives.free_bits import free_bits
from elboroom.objectives.lpips import LPIPS
from elboroom.objectives.mmd import mmd
from elboroom.objectives.moments import code_norm, decorrelation
from elboroom.objectives.patch_critic import PatchCritic, most_layers
from elboroom.objectives.schedules import Schedule
from elboroom.objectives.smooth_decoder import jacobian_norm, weight_decay
from elboroom.objectives.ssim import structural_dissimilarity
from elboroom.objectives.total_correlation import total_correlation

Penalty = Callable[[Terms], Tensor]

_SMALLEST = 4  # pixels along a side of images whose patches a critic tells apart

SCHEDULES: dict[str, Callable[[float, float, float, float], Schedule]] = {
    "constant": lambda value, _delay, _ramp, _period: schedules.constant(value),
    "linear": lambda value, _delay, ramp, _period: schedules.linear(value, ramp),
    "delayed": lambda value, delay, ramp, _period: schedules.delayed(value, delay, ramp),
    "sigmoid": lambda value, delay, ramp, _period: schedules.sigmoid(value, delay, ramp),
    "cyclical": lambda value, _delay, ramp, period: schedules.cyclical(value, ramp, period),
}
"""Name → schedule, from its final value and its delay, ramp and period in steps."""

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
"""Name → bound, from the configuration and the number of steps in an epoch."""

PENALTIES: dict[str, Callable[..., Penalty]] = {
    "total_correlation": lambda _vae, examples, _config: total_correlation(examples),
    "total_correlation_critic": lambda vae, _examples, _config: total_correlation_critic(vae.latent_dim),
    "decorrelation_i": lambda _vae, _examples, _config: decorrelation("I"),
    "decorrelation_ii": lambda _vae, _examples, _config: decorrelation("II"),
    "mmd_rbf": lambda _vae, _examples, _config: mmd("rbf"),
    "mmd_imq": lambda _vae, _examples, _config: mmd("imq"),
    "prior_critic": lambda vae, _examples, _config: prior_critic(vae.latent_dim),
    "code_norm": lambda _vae, _examples, _config: code_norm,
    "weight_decay": lambda vae, _examples, _config: weight_decay(vae.decoder),
    "jacobian_norm": lambda _vae, _examples, _config: jacobian_norm,
    "structural_dissimilarity": lambda vae, _examples, _config: _of_images(
        vae, "structural_dissimilarity", structural_dissimilarity
    ),
    "gradient_difference": lambda vae, _examples, _config: _of_images(
        vae, "gradient_difference", gradient_difference
    ),
    "focal_frequency": lambda vae, _examples, _config: _of_images(vae, "focal_frequency", focal_frequency),
    "texture": lambda vae, _examples, _config: _of_images(vae, "texture", texture),
    "lpips": lambda vae, _examples, config: LPIPS(
        read_weights(config.lpips_weights, config.lpips_sha256), vae.shape, vae.value_range
    ),
    "patch_critic": lambda vae, _examples, config: _patch_critic(vae, config),
    "equivariance": lambda vae, _examples, _config: equivariance(vae),
    "commitment": lambda vae, _examples, _config: _of_codebooks(vae),
}
"""Name → penalty, from the model, the number of training examples and the configuration."""


def commitment(terms: Terms) -> Tensor:
    """Squared distance of features from codebook entries, mean over examples (arXiv:1711.00937 eq. 3)."""
    loss: Tensor = terms.posterior.loss  # type: ignore[attr-defined]
    return loss.mean()


def beta_of(config: ObjectiveConfig, steps_per_epoch: float) -> Schedule:
    """Make the schedule of beta, with its lengths converted from epochs to steps."""
    times = (config.beta_delay, config.beta_ramp, config.beta_period)
    delay, ramp, period = (_in_steps(epochs, steps_per_epoch) for epochs in times)
    return SCHEDULES[config.beta_schedule](config.beta, delay, ramp, period)


def ramp_warnings(config: ObjectiveConfig, epochs: int) -> list[str]:
    """Warn of each coefficient that is still below its full value when training of so many epochs ends.

    Examples
    --------
    >>> config = ObjectiveConfig(beta=4, beta_schedule="delayed", beta_delay=30, beta_ramp=30)
    >>> print(*ramp_warnings(config, 20))
    beta ends at 0 instead of 4: its delay and ramp take 60 epochs and training 20; set beta_delay = 10 and \
beta_ramp = 10, or epochs = 60
    """
    found = []
    last = beta_of(config, 1000.0)(1000 * epochs - 1)  # at the last of 1,000 steps an epoch
    if last < config.beta * (1 - 1e-3):
        why = _why_beta_is_low(config, epochs)
        found.append(f"beta ends at {last:.3g} instead of {config.beta:g}: {why}")
    ramps = [("penalty_ramp", config.penalty_ramp, "each penalty", "its weight")]
    if config.bound == "capacity":
        ramps.append(("capacity_ramp", config.capacity_ramp, "the capacity", f"{config.capacity:g} nats"))
    for name, ramp, what, full in ramps:
        if ramp > epochs:
            found.append(
                f"{what} ends at {epochs / ramp:.0%} of {full}: {_takes('its ramp takes', ramp, epochs)}; "
                f"set {name} = {epochs}, or epochs = {math.ceil(ramp)}"
            )
    return found


def _why_beta_is_low(config: ObjectiveConfig, epochs: int) -> str:
    delay = config.beta_delay if config.beta_schedule in ("delayed", "sigmoid") else 0.0
    whole = delay + config.beta_ramp
    if whole <= epochs:  # in one of many cycles
        return (
            f"training ends within the ramp of a cycle; choose a multiple of beta_period = "
            f"{config.beta_period:g} as epochs"
        )
    if not delay:
        fix = f"set beta_ramp = {epochs}"
        return f"{_takes('its ramp takes', whole, epochs)}; {fix}, or epochs = {math.ceil(whole)}"
    delay, ramp = (epochs / whole * part for part in (delay, config.beta_ramp))
    return (
        f"{_takes('its delay and ramp take', whole, epochs)}; set beta_delay = {delay:.3g} and "
        f"beta_ramp = {ramp:.3g}, or epochs = {math.ceil(whole)}"
    )


def _takes(what: str, ramp: float, epochs: int) -> str:
    return f"{what} {ramp:g} epochs and training {epochs}"


def penalties_of(
    config: ObjectiveConfig, steps_per_epoch: float, vae: VAE | None, examples: int | None
) -> dict[str, tuple[Penalty, Schedule]]:
    """Make the penalties with the schedules of their weights, the ramp converted from epochs to steps.

    Raises
    ------
    UsageError
        If there are penalties and the model or the number of training examples is None, or if a penalty does
        not suit the model.
    """
    if config.penalties and (vae is None or examples is None):
        raise UsageError(
            f"penalties = {config.penalties}: they depend on the model and the data; give "
            "Objective.from_config vae= and examples="
        )
    ramp = _in_steps(config.penalty_ramp, steps_per_epoch)
    if config.critic_start and config.critic_start_epochs is None:
        raise UsageError(
            f"critic_start = {config.critic_start:g} is a share of the training, whose length is not known "
            "here; give critic_start_epochs"
        )
    if config.critic_warmup is not None and config.critic_wakes_epochs is None:
        raise UsageError(
            f"critic_warmup = {config.critic_warmup:g} is a share of the training, whose length is not known "
            "here; give critic_wakes_epochs"
        )
    start = _in_steps(config.critic_start_epochs or 0.0, steps_per_epoch)
    made: dict[str, tuple[Penalty, Schedule]] = {}
    for name, weight in config.penalties.items():
        schedule = schedules.linear(weight, ramp) if ramp else schedules.constant(weight)
        if start and PENALTY_ROWS[name].critic:
            schedule = schedules.delayed(weight, start, max(1.0, ramp))
        made[name] = PENALTIES[name](vae, examples, config), schedule
    return made


def _in_steps(epochs: float, steps_per_epoch: float) -> float:
    # In floating point 0.07 · 100 exceeds 7, and a cycle would start one step late.
    return round(epochs * steps_per_epoch, 9)


def _of_codebooks(vae: VAE) -> Penalty:
    # Checked on the model, because one composed in Python has no configuration.
    if not hasattr(vae.posterior, "codebooks"):
        raise UsageError(
            "penalty commitment pulls features towards codebook entries, and "
            f"{type(vae.posterior).__name__} has no codebook; take posterior = 'vq', or leave the penalty out"
        )
    return commitment


def _of_images(vae: VAE, name: str, penalty: Penalty) -> Penalty:
    if len(vae.shape) != 3:
        raise UsageError(
            f"penalty {name} compares images (h, w, c), and the model's examples have shape {vae.shape}; "
            "leave it out for rows"
        )
    return penalty


def _patch_critic(vae: VAE, config: ObjectiveConfig) -> Penalty:
    if len(vae.shape) != 3 or min(vae.shape[:2]) < _SMALLEST:
        raise UsageError(
            f"penalty patch_critic looks at patches of images (h, w, c) of at least {_SMALLEST} pixels a "
            f"side, and the model's examples have shape {vae.shape}; leave it out"
        )
    height, width, channels = vae.shape
    size, layers = (height, width, channels), config.critic_layers
    if layers > most_layers(size) and layers != ObjectiveConfig.model_fields["critic_layers"].default:
        raise UsageError(
            f"critic_layers = {layers} leaves fewer than two places along a side of images of "
            f"{height}×{width}; take at most {most_layers(size)}"
        )
    return PatchCritic(
        size,
        vae.decoder,
        width=config.critic_width,
        layers=layers,
        r1=config.critic_r1,
        spectral=config.critic_norm == "spectral",
        lr=config.critic_lr,
    )
