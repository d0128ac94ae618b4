"""Sections of the configuration for the optimiser, the data and the training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from elboroom.config.kinds import Kinds
from elboroom.config.options import Option
from elboroom.config.sections import (
    FLAT,
    FLAT_NAME,
    HIDDEN,
    KEY_VALUE,
    AtLeastOne,
    Options,
    Positive,
    Section,
)
from elboroom.config.shapes import Size
from elboroom.config.trackers import Trackers


class OptimizerConfig(Section):
    """An optimiser and a learning-rate schedule of PyTorch, chosen by name."""

    optimizer: Annotated[str, FLAT_NAME] = "Adam"
    """Class in torch.optim, such as Adam, AdamW, SGD or RMSprop."""
    lr: Annotated[Positive, FLAT] = 1e-3
    """Learning rate."""
    optimizer_options: Annotated[Options, KEY_VALUE] = Field(default={})
    """Further arguments of the optimiser, as in 'betas=[0.9, 0.95], weight_decay=0.01'."""
    lr_schedule: Annotated[str | None, FLAT_NAME] = None
    """Class in torch.optim.lr_scheduler, such as CosineAnnealingLR. It is stepped once per epoch."""
    lr_schedule_options: Annotated[Options, KEY_VALUE] = Field(default={})
    """Arguments of the learning-rate schedule, as in 'eta_min=1e-5'. Without T_max, total_iters or
    total_steps the schedule spans all epochs.
    """
    clip: Annotated[Positive | None, FLAT] = None
    """Maximum gradient norm. Larger gradients are rescaled to it."""


class DataConfig(Section):
    """The data, and how they are preprocessed."""

    source: Annotated[str | None, HIDDEN] = None
    """Named set, file or folder."""
    size: Annotated[Size, Option(metavar="SIZE")] = None
    """Height and width that images are resized to: one number, or HEIGHTxWIDTH, as in 192x256."""
    channels: Literal[1, 3] | None = None
    """Convert images to greyscale (1) or colour (3)."""
    prepare: Literal["auto", "faces", "crop"] = "auto"
    """How image files are prepared later if the data do not record it; faces: find, align and cut."""
    kinds: Annotated[Kinds, Option(short=True, metavar="NAME=KIND", old=("columns",))] = Field(default={})
    """Kinds of columns of a table that are not to be inferred, as in 'zip=category, id=ignored,
    rating=ordinal:low<mid<high, weight=positive[kg], day=datetime:%d/%m/%Y'.
    """
    unseen: Annotated[Literal["refuse", "missing"], FLAT] = "refuse"
    """What a category of a table that training did not have is at use: an error, or a missing cell."""
    encoding: Annotated[str | None, FLAT_NAME] = None
    """Encoding of a text table, such as windows-1252. Default: UTF-8, or as its first bytes say."""
    label_column: Annotated[str | None, FLAT_NAME] = None
    """Column that holds the labels: of obs in an .h5ad file, or of a data set of the Hugging Face hub.
    Default: the column label, if there is one.
    """
    layer: Annotated[str | None, FLAT_NAME] = None
    """Layer of an .h5ad file that is used instead of X."""
    pixel_scale: Positive | None = None
    """Value that pixels are divided by, instead of the data's own."""
    binarize: Annotated[Literal["none", "threshold", "stochastic"], FLAT] = "none"
    """Binarise grey pixels. threshold cuts at one half; stochastic draws each pixel anew in each step, with
    its value as the probability.
    """
    dequantize: Annotated[Literal["none", "uniform"], FLAT] = "none"
    """Dequantise 8-bit values in each step, for densities and bits per dimension: uniform adds noise from
    [0, 1) and divides by 256.
    """
    duplicates: Annotated[Literal["keep", "drop"], FLAT] = "keep"
    """What becomes of copies of training examples, in any part: keep or drop. In the other parts examples
    that are all but equal to a training example are dropped too.
    """
    flip: Annotated[bool, FLAT] = False
    """Flip training images horizontally at random."""
    random_crop: Annotated[Size, Option(short=True, metavar="SIZE")] = None
    """Train on random crops of this size (256, or 192x256 for height and width) of images that are larger,
    such as those of --data.size 288. Everything else sees their centre crops.
    """
    crop: Annotated[Annotated[int, Field(ge=0)], FLAT] = 0
    """Shift training images at random by up to this many pixels, and fill by reflection; their size stays.
    --random-crop SIZE cuts smaller images from larger ones.
    """
    validation: Annotated[Annotated[float, Field(ge=0, lt=1)] | None, FLAT] = None
    """Fraction held out to choose the best epoch. Default: 0.1, or 0 for data sets with a published split."""
    split_seed: Annotated[Annotated[int, Field(ge=0, lt=2**63)] | None, FLAT] = None
    """Random seed of the validation split only. Default: --seed."""
    strict: Annotated[bool, FLAT] = False
    """Stop at a damaged file instead of skipping it."""


class TrainingConfig(Section):
    """The length of the training, its batches, its device, and which results are kept."""

    epochs: Annotated[AtLeastOne, FLAT] = 20
    """Passes over the training data."""
    batch_size: Annotated[AtLeastOne, FLAT] = 100
    """Examples per batch; without --accumulate, examples per step."""
    accumulate: Annotated[AtLeastOne, FLAT] = 1
    """Batches whose gradients are added up for each step, for steps of more examples than fit into memory."""
    checkpoint_activations: Annotated[bool, FLAT] = False
    """Recompute the activations of convolutional blocks in the backward pass instead of keeping them: less
    memory, more time, the same result.
    """
    shuffle_chunk: Annotated[AtLeastOne, FLAT] = 1
    """Shuffle chunks of this many neighbouring examples, for data streamed from a slow disk. 1 shuffles
    single examples.
    """
    shuffle_window: Annotated[AtLeastOne, FLAT] = 512
    """With --shuffle-chunk: number of chunks whose examples are mixed."""
    batches_per_epoch: Annotated[AtLeastOne | None, FLAT] = None
    """Draw this many batches with replacement per epoch, instead of one shuffled pass."""
    patience: Annotated[AtLeastOne | None, FLAT] = None
    """Stop after this many epochs without a better validation bound."""
    keep_checkpoints: Annotated[AtLeastOne, FLAT] = 2
    """Number of recent checkpoints to keep, besides the best one."""
    ema: Annotated[Annotated[float, Field(gt=0, lt=1)] | None, FLAT] = None
    """Decay of an exponential moving average of the weights, such as 0.999. The average is evaluated and
    saved instead of the weights.
    """
    freeze: Annotated[Literal["none", "encoder"], FLAT] = "none"
    """Leave a part of the model as it is. encoder: train the decoder only, for the codes that there are."""
    seed: Annotated[int, Field(ge=0, lt=2**63), FLAT] = 0
    """Random seed for initial weights, data order, noise and the validation split."""
    device: Annotated[str, FLAT] = "auto"
    """cpu, cuda, cuda:1 or mps; auto takes a GPU if there is one."""
    precision: Annotated[Literal["auto", "fp32", "bf16"], FLAT] = "auto"
    """Precision of matrix products. auto takes bf16 where the hardware has it and it is faster; everything
    else is float32.
    """
    capture: Annotated[Literal["auto", "off"], FLAT] = "auto"
    """Record the training step as a CUDA graph and replay it. auto does so on CUDA devices wherever the step
    allows it, and otherwise gives the reason; off never does.
    """
    compile: Annotated[Literal["auto", "on", "off"], FLAT] = "off"
    """Compile the training step on the CPU, which takes seconds to minutes and needs a C++ compiler. auto
    does so in long trainings, where it saves more time than it takes; as this depends on the machine's
    speed, two runs with one seed may then differ by rounding.
    """
    shard_optimizer: Annotated[bool, FLAT] = False
    """With several devices: divide the optimiser's state among them to save memory (ZeRO stage 1)."""
    track: Annotated[Trackers, FLAT_NAME] = None
    """Trackers that are given every row of the history, the figures and the configuration: tensorboard,
    mlflow, wandb, trackio, several separated by commas; none.
    """
    figures_every: Annotated[int, Field(ge=0), FLAT] = 5
    """Number of epochs between the figures drawn during training. 0 draws figures only at the end."""

    @property
    def step_size(self) -> int:
        """Examples per step: ``batch_size`` × ``accumulate``."""
        return self.batch_size * self.accumulate
