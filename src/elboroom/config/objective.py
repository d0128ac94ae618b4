"""The training objective: a bound, the schedules of its coefficients, and penalties."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from elboroom.config.bounds import BOUNDS, help_of_bounds
from elboroom.config.options import Option
from elboroom.config.penalties import PENALTIES, help_of_penalties
from elboroom.config.sections import (
    FLAT,
    HIDDEN,
    AtLeastOne,
    NotNegative,
    Positive,
    Section,
    check_in_use,
    read_options,
    uses_of,
)
from elboroom.errors import nearest

if TYPE_CHECKING:
    BoundName = str
    PenaltyName = str
else:
    BoundName = Literal[tuple(BOUNDS)]
    PenaltyName = Literal[tuple(PENALTIES)]

_ONLY_WITH = uses_of("bound", {name: row.options for name, row in BOUNDS.items()})


def _with_known_names(penalties: object) -> object:
    for name in penalties if isinstance(penalties, dict) else ():
        if name not in PENALTIES:
            raise ValueError(f"there is no penalty {name!r}; {nearest(name, PENALTIES)}")
    return penalties


Weights = Annotated[
    dict[str, Annotated[float, Field(allow_inf_nan=False)]],
    BeforeValidator(_with_known_names),
    BeforeValidator(read_options),
]


class ObjectiveConfig(Section):
    """The loss: −bound, in which beta weights the rate, plus weighted penalties."""

    beta: Annotated[NotNegative, FLAT] = 1.0
    """Weight of the rate (KL term). 1 gives the ELBO."""
    beta_unit: Literal["sum", "mean", "mean_kl_sum"] = "sum"
    """Convention in which beta, and Adam's eps if given, are stated: a loss summed over dimensions (sum),
    averaged over them (mean), or averaged with the KL summed over the batch (mean_kl_sum). Training converts
    both to sum.
    """
    beta_schedule: Annotated[Literal["constant", "linear", "delayed", "sigmoid", "cyclical"], FLAT] = (
        "constant"
    )
    """Schedule of beta: constant, or rising from 0 as linear, delayed (linear after --beta-delay), sigmoid
    (S-shaped after --beta-delay) or cyclical (linear, again in each cycle).
    """
    beta_delay: Annotated[NotNegative, FLAT] = 0.0
    """Epochs at beta 0 before the ramp of the delayed and sigmoid schedules."""
    beta_ramp: Annotated[Positive, FLAT] = 10.0
    """Epochs over which beta rises from 0 to its value."""
    beta_period: Annotated[Positive, FLAT] = 20.0
    """Epochs in one cycle of the cyclical schedule; at least --beta-ramp."""
    bound: Annotated[BoundName, FLAT] = Field(default="elbo", description=help_of_bounds())
    num_samples: Annotated[AtLeastOne, FLAT] = 1
    """Codes drawn per example in each step."""
    bound_groups: AtLeastOne = 8
    """Groups that the samples of miwae and piwae are divided into."""
    elbo_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight of the ELBO in ciwae."""
    capacity: Positive = 25.0
    """Target rate of the capacity bound, in nats; beta weights the distance from it."""
    capacity_ramp: Positive = 10.0
    """Epochs over which the target of the capacity bound rises from 0."""
    free_bits: Annotated[NotNegative, FLAT] = 0.0
    """Minimum rate charged for each latent dimension, or each layer of a ladder, in nats."""
    penalties: Annotated[Weights, Option(short=True, metavar="NAME=WEIGHT")] = Field(
        default={}, description=help_of_penalties()
    )
    penalty_ramp: NotNegative = 0.0
    """Epochs over which the penalties' weights rise from 0. 0 applies the full weights from the start."""
    critic_start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the training before critics count in the model's loss; until then they only learn."""
    critic_start_epochs: Annotated[NotNegative | None, HIDDEN] = None
    """The same in epochs, which training fills in, so that a longer training does not move it."""
    critic_warmup: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Share of the training, before --objective.critic-start, in which critics learn alone; before that they
    cost no time. Default: they learn from the start.
    """
    critic_wakes_epochs: Annotated[NotNegative | None, HIDDEN] = None
    """Whole epochs before critics learn, which training fills in."""
    critic_width: AtLeastOne = 32
    """Channels of the first layer of patch_critic; they double at each further one."""
    critic_layers: AtLeastOne = 3
    """Layers of stride 2 in patch_critic: its patches are 8, 18, 38 or 78 pixels along a side for 1 to 4.
    Small images get fewer than the default.
    """
    critic_lr: Positive = 2e-4
    """Learning rate of patch_critic, which stays constant."""
    critic_r1: NotNegative = 0.0
    """Weight of R1 in the loss of patch_critic: half the mean squared gradient of its logits at real images
    (arXiv:1801.04406), which keeps it smooth.
    """

    critic_norm: Literal["none", "spectral"] = "none"
    """Normalisation of patch_critic's weights. spectral divides each matrix by its largest singular value
    (arXiv:1802.05957), beside or instead of R1.
    """
    lpips_weights: Annotated[tuple[str, ...], Field(max_length=2), Option(metavar="FILE")] = ()
    """Weights of the penalty lpips, .safetensors: AlexNet or VGG-16, and the five layers of LPIPS; one file
    with both, or two.
    """
    lpips_sha256: Annotated[tuple[str, ...], Field(max_length=2), Option(metavar="HEX")] = ()
    """SHA-256 that each of these files must have. Training fills it in, and a run resumes with them only."""

    @model_validator(mode="after")
    def _lpips_has_weights(self) -> Self:
        if "lpips" in self.penalties and not self.lpips_weights:
            raise ValueError(
                "penalty lpips needs a trained network, and elboroom has none; give its files as "
                "lpips_weights (docs/recipes.md says which), or take gradient_difference or texture"
            )
        for name in ("lpips_weights", "lpips_sha256"):
            value = getattr(self, name)
            if value and "lpips" not in self.penalties:
                raise ValueError(
                    f"{name} = {value!r} has no effect without the penalty lpips; leave it out, or give the "
                    "penalty lpips"
                )
        if self.lpips_sha256 and len(self.lpips_sha256) != len(self.lpips_weights):
            raise ValueError(
                f"lpips_sha256 has {len(self.lpips_sha256)} values for {len(self.lpips_weights)} files in "
                "lpips_weights; give one for each"
            )
        return self

    @model_validator(mode="after")
    def _ramp_fits(self) -> Self:
        if self.beta_schedule == "cyclical" and self.beta_ramp > self.beta_period:
            raise ValueError(
                f"beta_ramp = {self.beta_ramp:g} epochs does not fit in beta_period = {self.beta_period:g}; "
                "make the period at least as long as the ramp"
            )
        return self

    @model_validator(mode="after")
    def _coefficients_have_use(self) -> Self:
        check_in_use(self, _ONLY_WITH)
        if self.free_bits and self.beta == 0:
            raise ValueError(
                f"free_bits = {self.free_bits:g} changes the rate, whose weight is beta = 0; give a beta "
                "above 0, or leave free_bits out"
            )
        if self.penalty_ramp and not self.penalties:
            raise ValueError(
                f"penalty_ramp = {self.penalty_ramp:g} has no effect without penalties; leave it out, or "
                "give penalties"
            )
        if self.critic_start and not any(PENALTIES[name].critic for name in self.penalties):
            critics = ", ".join(name for name, row in PENALTIES.items() if row.critic)
            raise ValueError(
                f"critic_start = {self.critic_start:g} has no effect without a critic; leave it out, or give "
                f"one of the penalties {critics}"
            )
        for name in ("critic_width", "critic_layers", "critic_lr", "critic_r1", "critic_norm"):
            value = getattr(self, name)
            if value != type(self).model_fields[name].default and "patch_critic" not in self.penalties:
                shown = repr(value) if isinstance(value, str) else f"{value:g}"
                raise ValueError(
                    f"{name} = {shown} has no effect without patch_critic; leave it out, or give "
                    "the penalty patch_critic"
                )
        if (self.critic_warmup or 0.0) > self.critic_start or (
            self.critic_warmup is not None and not self.critic_start
        ):
            raise ValueError(
                f"critic_warmup = {self.critic_warmup:g} lies before critic_start = {self.critic_start:g}, "
                "when critics begin to count; give a warm-up up to that, with a start above 0"
            )
        row = BOUNDS[self.bound]
        if self.num_samples == 1 < row.num_samples:
            raise ValueError(
                f"bound = {self.bound!r} with num_samples = 1 is the ELBO; give more samples, such as "
                f"num_samples = {row.num_samples}, or take bound = 'elbo'"
            )
        if "bound_groups" in row.options and self.num_samples % self.bound_groups:
            raise ValueError(
                f"bound_groups = {self.bound_groups} does not divide num_samples = {self.num_samples}; take "
                f"a multiple, such as num_samples = {8 * self.bound_groups}"
            )
        return self
