"""What a run is made of, as types: one section per part, each field with its meaning and limits.

Field names are unique across sections, so that ``fit(..., epochs=20, beta=4)`` and ``--beta 4`` are
unambiguous. Sections are frozen; a wrong value raises :class:`UsageError` in one line.
"""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic
import tyro
from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from elboroom.errors import UsageError, nearest

# The names that may be asked for; kept here so that parsing a command line need not import torch.
Activation = Literal["relu", "tanh", "gelu", "silu", "elu", "leaky_relu", "softplus", "sigmoid", "identity"]
Normalization = Literal["auto", "none", "layer", "batch", "group"]
Init = Literal["torch", "xavier", "kaiming", "affine"]

FLAT = tyro.conf.arg(prefix_name=False)
"""Marks a common option: ``--beta`` and not ``--objective.beta``."""
FLAT_INT = tyro.conf.arg(prefix_name=False, metavar="INT")
FLAT_FLOAT = tyro.conf.arg(prefix_name=False, metavar="FLOAT")
FLAT_NAME = tyro.conf.arg(prefix_name=False, metavar="NAME")


def _read_options(value: object) -> object:
    """Accept keyword arguments as a dict or as TOML, ``"betas=[0.9, 0.99], weight_decay=0.01"``."""
    if not isinstance(value, str):
        return value
    try:
        found = tomllib.loads(f"options = {{{value}}}")
    except tomllib.TOMLDecodeError:
        found = {}
    if set(found) != {"options"}:  # a brace in the value may close the table and open another
        raise ValueError("must be 'key=value, key=value', the values as in TOML: 0.9, true, [1, 2], 'text'")
    return found["options"]


def _write_options(options: Any) -> list[str]:
    return [", ".join(f"{key}={json.dumps(value)}" for key, value in options.items())]


_options_from_text = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="KEY=VALUE,...",
    instance_from_str=lambda texts: _read_options(texts[0]),
    is_instance=lambda value: isinstance(value, dict),
    str_from_instance=_write_options,
)
Options = Annotated[dict[str, Any], BeforeValidator(_read_options), _options_from_text]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
AtLeastOne = Annotated[int, Field(ge=1)]


# What pydantic's checks are called here; others come with a message of their own.
_WORDING = {
    "greater_than_equal": "must be at least {ge:g}",
    "greater_than": "must be above {gt:g}",
    "less_than": "must be below {lt:g}",
    "literal_error": "must be {expected}",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list, such as [400, 400]",
    "dict_type": "must be a table, such as {{ key = value }}",
}


class Section(pydantic.BaseModel):
    """Base of all sections: frozen, no unknown keys, errors in one line."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def __init__(self, **values: Any):
        try:
            super().__init__(**values)
        except pydantic.ValidationError as error:
            raise UsageError(_one_line(error, type(self))) from None


def _one_line(error: pydantic.ValidationError, section: type[pydantic.BaseModel]) -> str:
    """Name the first bad field, the value got and what is allowed."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"] if not isinstance(part, int)) or "the configuration"
    if first["type"] == "extra_forbidden":
        known = section.model_fields
        return f"unknown option {name!r} in {section.__name__}; {nearest(name, known)}"
    wording = _WORDING.get(first["type"])
    what = wording.format(**first.get("ctx", {})) if wording else first["msg"].removeprefix("Value error, ")
    if first["loc"]:
        return f"{name} = {first['input']!r}: {what}"
    return what


# Options that would do nothing without a choice.
_ONLY_WITH = {
    ("likelihood", "gaussian"): ("likelihood_scale", "learn_scale", "output"),
    ("network", "mlp"): ("hidden", "decoder_hidden", "init"),
    ("network", "conv"): ("conv_width", "conv_levels", "conv_blocks"),
}


class ModelConfig(Section):
    """Networks and distributions."""

    shape: tyro.conf.Suppress[Annotated[tuple[AtLeastOne, ...], Field(min_length=1)] | None] = None
    """Shape of one example, (h, w, c) or (d,); taken from the data if not given."""
    scale: tyro.conf.Suppress[Positive | None] = None
    """The pixel value that the model sees as 1; taken from the data if not given."""
    latent_dim: Annotated[AtLeastOne, FLAT] = 2
    """Numbers in a code; 2 can be drawn as a map."""
    network: Annotated[Literal["mlp", "conv"], FLAT] = "mlp"
    """mlp: fully connected, for anything; conv: convolutional residual, for images."""
    hidden: Annotated[tuple[AtLeastOne, ...], FLAT] = (400, 400)
    """Width of each hidden layer of the mlp encoder, first to last."""
    decoder_hidden: Annotated[tuple[AtLeastOne, ...] | None, tyro.conf.arg(metavar="[INT ...]")] = None
    """Widths of the mlp decoder; the encoder's in reverse if not given."""
    conv_width: Annotated[AtLeastOne | None, FLAT_INT] = None
    """Channels of the conv networks' finest level; chosen by the image's size if not given."""
    conv_levels: Annotated[AtLeastOne | None, FLAT_INT] = None
    """How often the conv networks halve the image; down to about 4×4 if not given."""
    conv_blocks: Annotated[int, Field(ge=0), FLAT] = 1
    """Residual blocks of each coarse level of the conv networks."""
    activation: Annotated[Activation, FLAT] = "relu"
    """Between layers."""
    normalization: Normalization = "auto"
    """Before each activation; auto: none for mlp, group for conv."""
    init: Init = "torch"
    """How an mlp's weights start; 'affine' is U(±1/sqrt(fan_in + 1))."""
    posterior_scale: Literal["softplus", "exp"] = "softplus"
    """How the encoder's output becomes a standard deviation."""
    likelihood: Annotated[Literal["bernoulli", "gaussian"], FLAT] = "bernoulli"
    """bernoulli: data in [0, 1]; gaussian: any real numbers."""
    likelihood_scale: Positive = math.sqrt(0.5)
    """Standard deviation of the gaussian likelihood, or where it starts from if learned."""
    learn_scale: bool = False
    """Learn the gaussian likelihood's standard deviation."""
    output: Literal["identity", "sigmoid"] = "identity"
    """What the gaussian likelihood's mean passes through; sigmoid keeps pictures inside (0, 1)."""

    @model_validator(mode="after")
    def _options_have_use(self) -> Self:
        for (part, choice), names in _ONLY_WITH.items():
            for name in names if getattr(self, part) != choice else ():
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(
                        f"{name} = {getattr(self, name)!r} goes with {part} = {choice!r}, and {part} is "
                        f"{getattr(self, part)!r}; leave it out, or set {part} = {choice!r}"
                    )
        if self.network == "mlp" and self.normalization == "group":
            raise ValueError(
                "normalization = 'group' goes with network = 'conv'; an mlp takes none, layer or batch"
            )
        return self


class ObjectiveConfig(Section):
    """distortion + beta(step) · rate."""

    beta: Annotated[NotNegative, FLAT] = 1.0
    """Weight of the rate; 1 is the true ELBO."""
    beta_schedule: Annotated[Literal["constant", "linear", "delayed", "sigmoid", "cyclical"], FLAT] = (
        "constant"
    )
    """How beta grows from 0: linear; after a delay; as an S after a delay; again in each period."""
    beta_delay: Annotated[NotNegative, FLAT] = 0.0
    """Epochs at beta 0 before a delayed or sigmoid ramp."""
    beta_ramp: Annotated[Positive, FLAT] = 10.0
    """Epochs that a ramp takes."""
    beta_period: Annotated[Positive, FLAT] = 20.0
    """Epochs of one cycle of the cyclical schedule; must be at least --beta-ramp."""

    @model_validator(mode="after")
    def _ramp_fits(self) -> Self:
        if self.beta_schedule == "cyclical" and self.beta_ramp > self.beta_period:
            raise ValueError(
                f"beta_ramp = {self.beta_ramp:g} epochs does not fit in beta_period = {self.beta_period:g}; "
                "make the period at least as long as the ramp"
            )
        return self


class OptimizerConfig(Section):
    """Any optimiser and learning-rate schedule of torch, by name."""

    optimizer: Annotated[str, FLAT_NAME] = "Adam"
    """Name in torch.optim, such as Adam, AdamW, SGD, RMSprop."""
    lr: Annotated[Positive, FLAT] = 1e-3
    """Learning rate."""
    optimizer_options: Annotated[Options, FLAT] = {}
    """Further arguments, as in 'betas=[0.9, 0.95], weight_decay=0.01'."""
    lr_schedule: Annotated[str | None, FLAT_NAME] = None
    """Name in torch.optim.lr_scheduler, such as CosineAnnealingLR; stepped once an epoch."""
    lr_schedule_options: Annotated[Options, FLAT] = {}
    """Its arguments, as in 'T_max=100'."""
    clip: Annotated[Positive | None, FLAT_FLOAT] = None
    """Largest norm of the gradient; longer ones are shortened to it."""


class DataConfig(Section):
    """Where examples come from and how they are seen."""

    source: tyro.conf.Suppress[str | None] = None
    """Named set, file or folder."""
    size: Annotated[AtLeastOne | None, tyro.conf.arg(metavar="INT")] = None
    """Height and width to which images are brought."""
    channels: Annotated[Literal[1, 3] | None, tyro.conf.arg(metavar="{1,3}")] = None
    """Bring images to grey (1) or colour (3)."""
    pixel_scale: Annotated[Positive | None, tyro.conf.arg(metavar="FLOAT")] = None
    """The pixel value that the model sees as 1, instead of the data's own."""
    binarize: Annotated[Literal["none", "threshold", "stochastic"], FLAT] = "none"
    """Grey pixels to 0/1: at one half, or drawn anew in each step with the pixel as probability."""
    flip: Annotated[bool, FLAT] = False
    """Mirror half of the training images left to right, drawn anew each time."""
    validation: Annotated[Annotated[float, Field(ge=0, lt=1)] | None, FLAT_FLOAT] = None
    """Part held out to choose the best epoch; if not given 0.1, or 0 of sets with a published split."""
    strict: Annotated[bool, FLAT] = False
    """Stop at a damaged file instead of skipping it."""


class TrainingConfig(Section):
    """How long, how much at a time, and what is kept."""

    epochs: Annotated[AtLeastOne, FLAT] = 20
    """Passes over the training data."""
    batch_size: Annotated[AtLeastOne, FLAT] = 100
    """Examples in one step."""
    batches_per_epoch: Annotated[AtLeastOne | None, FLAT_INT] = None
    """Call this many batches an epoch, drawn with replacement, instead of one shuffled pass."""
    patience: Annotated[AtLeastOne | None, FLAT_INT] = None
    """Stop after this many epochs without a better validation ELBO."""
    ema: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, FLAT_FLOAT] = None
    """Decay of a running average of the weights, such as 0.999; the average is what is measured and kept."""
    seed: Annotated[int, Field(ge=0, lt=2**63), FLAT] = 0
    """Of everything drawn: weights, order, noise, validation split."""
    device: Annotated[str, FLAT] = "auto"
    """cpu, cuda, cuda:1, mps; auto takes a GPU if there is one."""
    precision: Annotated[Literal["auto", "fp32", "bf16"], FLAT] = "auto"
    """Of matrix products; auto takes bf16 where the machine has it and it pays. All else is float32."""
    shard_optimizer: Annotated[bool, FLAT] = False
    """With several devices: each keeps a share of the optimiser's state, where the model leaves no room."""
    figures_every: Annotated[int, Field(ge=0), FLAT] = 5
    """Draw figures every so many epochs, to watch it learn; 0: only at the end."""


class Config(Section):
    """All of a run; what ``config.json`` holds."""

    FORMAT: ClassVar[int] = 1

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()

    def updated(self, **flat: Any) -> Config:
        """Copy with fields replaced by their bare names, whichever section they are in.

        Raises
        ------
        UsageError
            If no section has a field of that name, or the value does not fit.

        Examples
        --------
        >>> Config().updated(latent_dim=8, epochs=3).model.latent_dim
        8
        """
        home = {
            field: name
            for name in type(self).model_fields
            for field in type(getattr(self, name)).model_fields
        }
        changes: dict[str, dict[str, Any]] = {}
        for key, value in flat.items():
            if key not in home:
                raise UsageError(f"unknown option {key!r}; {nearest(key, home)}")
            changes.setdefault(home[key], {})[key] = value
        return self.merged(changes)

    def merged(self, changes: dict[str, Any]) -> Config:
        """Copy with ``{"section": {"field": value}}`` laid over it, checked as if new."""
        sections = {name: dict(getattr(self, name)) for name in type(self).model_fields}
        for name, fields in changes.items():
            if name not in sections:
                raise UsageError(f"unknown section [{name}]; {nearest(name, sections)}")
            if not isinstance(fields, dict):
                raise UsageError(
                    f"{name} = {fields!r}: a section of key = value pairs goes here, as [{name}]"
                )
            sections[name].update(fields)
        return Config(**{name: Config.model_fields[name].annotation(**s) for name, s in sections.items()})  # type: ignore[misc]


def read_toml(path: Path, base: Config | None = None) -> Config:
    """Lay a TOML file's sections over ``base``.

    Raises
    ------
    UsageError
        If the file is missing, is not TOML, or holds an unknown section, key or value.
    """
    try:
        changes = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the config {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}") from None
    try:
        return (base or Config()).merged(changes)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def preset_names() -> list[str]:
    """Names that ``--preset`` takes."""
    return sorted(path.stem for path in (Path(__file__).parent / "presets").glob("*.toml"))


def read_preset(name: str) -> Config:
    """The configuration that comes with elboroom under this name.

    Raises
    ------
    UsageError
        If there is none of that name; the nearest is offered.
    """
    if name not in preset_names():
        raise UsageError(f"unknown preset {name!r}; {nearest(name, preset_names())}")
    return read_toml(Path(__file__).parent / "presets" / f"{name}.toml")
