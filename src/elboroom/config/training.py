"""Optimiser, data and training: the sections that say nothing of the model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from elboroom.config.sections import (
    FLAT,
    FLAT_NAME,
    HIDDEN,
    AtLeastOne,
    Options,
    Positive,
    Section,
)


class OptimizerConfig(Section):
    """Any optimiser and learning-rate schedule of torch, by name."""

    optimizer: Annotated[str, FLAT_NAME] = "Adam"
    """Name in torch.optim, such as Adam, AdamW, SGD, RMSprop."""
    lr: Annotated[Positive, FLAT] = 1e-3
    """Learning rate."""
    optimizer_options: Annotated[Options, FLAT] = Field(default={})
    """Further arguments, as in 'betas=[0.9, 0.95], weight_decay=0.01'."""
    lr_schedule: Annotated[str | None, FLAT_NAME] = None
    """Name in torch.optim.lr_scheduler, such as CosineAnnealingLR; stepped once an epoch."""
    lr_schedule_options: Annotated[Options, FLAT] = Field(default={})
    """Its arguments, as in 'eta_min=1e-5'; without T_max, total_iters or total_steps it lasts all epochs."""
    clip: Annotated[Positive | None, FLAT] = None
    """Largest norm of the gradient; longer ones are shortened to it."""


class DataConfig(Section):
    """Where examples come from and how they are seen."""

    source: Annotated[str | None, HIDDEN] = None
    """Named set, file or folder."""
    size: AtLeastOne | None = None
    """Height and width to which images are brought."""
    channels: Literal[1, 3] | None = None
    """Bring images to grey (1) or colour (3)."""
    prepare: Literal["auto", "faces", "crop"] = "auto"
    """How image files are prepared later if the data do not record it; faces: find, align and cut."""
    pixel_scale: Positive | None = None
    """The pixel value that the model sees as 1, instead of the data's own."""
    binarize: Annotated[Literal["none", "threshold", "stochastic"], FLAT] = "none"
    """Grey pixels to 0/1: at one half, or drawn anew in each step with the pixel as probability."""
    dequantize: Annotated[Literal["none", "uniform"], FLAT] = "none"
    """Add noise from [0, 1) to 8-bit values in each step, for densities and bits per dimension; 256 is 1."""
    flip: Annotated[bool, FLAT] = False
    """Mirror half of the training images left to right, drawn anew each time."""
    validation: Annotated[Annotated[float, Field(ge=0, lt=1)] | None, FLAT] = None
    """Part held out to choose the best epoch; if not given 0.1, or 0 of sets with a published split."""
    split_seed: Annotated[Annotated[int, Field(ge=0, lt=2**63)] | None, FLAT] = None
    """Which examples are held out, the same for every --seed; drawn by --seed if not given."""
    strict: Annotated[bool, FLAT] = False
    """Stop at a damaged file instead of skipping it."""


class TrainingConfig(Section):
    """How long, how much at a time, and what is kept."""

    epochs: Annotated[AtLeastOne, FLAT] = 20
    """Passes over the training data."""
    batch_size: Annotated[AtLeastOne, FLAT] = 100
    """Examples in one step."""
    shuffle_chunk: Annotated[AtLeastOne, FLAT] = 1
    """Shuffle runs of so many neighbours, for data streamed from a slow disk; 1 shuffles each example."""
    shuffle_window: Annotated[AtLeastOne, FLAT] = 512
    """With chunks: mix the examples of so many of them."""
    batches_per_epoch: Annotated[AtLeastOne | None, FLAT] = None
    """Call this many batches an epoch, drawn with replacement, instead of one shuffled pass."""
    patience: Annotated[AtLeastOne | None, FLAT] = None
    """Stop after this many epochs without a better validation ELBO."""
    keep_checkpoints: Annotated[AtLeastOne, FLAT] = 2
    """How many of the newest checkpoints to keep; the best is kept besides."""
    ema: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, FLAT] = None
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
