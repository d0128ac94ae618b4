"""Configuration of the model: networks and distributions, their options, and which go together."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from elboroom.config.columns import Column
from elboroom.config.conditioning import check_condition
from elboroom.config.likelihoods import LIKELIHOODS, help_of_likelihoods
from elboroom.config.networks import NETWORKS, help_of_networks
from elboroom.config.options import Option
from elboroom.config.posteriors import POSTERIORS, help_of_posteriors
from elboroom.config.priors import PRIORS, check_prior, help_of_priors
from elboroom.config.sections import (
    FLAT,
    HIDDEN,
    AtLeastOne,
    Positive,
    Section,
    Uses,
    check_in_use,
    either,
    uses_of,
)
from elboroom.config.shapes import channels_are_last

# Defined without torch, so that parsing a command line does not import it.
Channels = Annotated[int, Field(ge=1, le=8192)]
Activation = Literal[
    "relu", "tanh", "gelu", "silu", "elu", "leaky_relu", "softplus", "sigmoid", "identity", "gated"
]
Normalization = Literal["auto", "none", "layer", "batch", "group"]
Init = Literal["torch", "xavier", "kaiming", "affine"]
if TYPE_CHECKING:
    Network = str
    PosteriorName = str
    PriorName = str
    LikelihoodName = str
else:
    Network = Literal[("auto", *NETWORKS)]
    PosteriorName = Literal[tuple(POSTERIORS)]
    PriorName = Literal[("auto", *PRIORS)]
    LikelihoodName = Literal[("auto", *LIKELIHOODS)]
LearnScale = Literal["none", "shared", "pixel", "optimal"]
ConditionPart = Literal["encoder", "decoder", "prior"]

_ON_A_GRID = ("diagonal", "deterministic", "vq", "fsq")  # posteriors of each place by itself
_CHANNELS = 4  # of a code on a grid
# Options, with the choices that use them. The head that is chosen receives its own as keyword arguments.
_ONLY_WITH: Uses = (
    *uses_of("likelihood", {name: row.options for name, row in LIKELIHOODS.items()}),
    # auto may turn out to be mixed
    ("likelihood", ("mixed", "auto"), ("drop_cells", "missing_mechanism")),
    ("likelihood", ("mixed", "auto"), ("observation_scale", "least_scale")),
    ("condition", ("labels", "vectors"), ("condition_parts", "condition_dim")),
    ("condition", ("labels",), ("condition_names", "condition_ids")),
    ("condition", ("vectors",), ("condition_file",)),
    *uses_of("network", {name: row.options for name, row in NETWORKS.items()}),
    *uses_of("posterior", {name: row.options for name, row in POSTERIORS.items()}),
    *uses_of("prior", {name: row.options for name, row in PRIORS.items()}),
)

# What "auto" means if the data are not photos, or there are no data.
_WITHOUT_DATA = {"network": "mlp", "likelihood": "bernoulli"}

# Keyword arguments of heads that differ from the names of the fields.
_KEYWORDS = {
    **{"likelihood_scale": "scale", "output": "mean"},
    **{"posterior_scale": "scale", "posterior_steps": "steps"},
    **{"posterior_hidden": "hidden", "posterior_context": "context"},
    **{"code_channels": "channels", "codebook_depth": "depth", "fsq_levels": "levels"},
    "code_normalization": "normalization",
    **{"prior_components": "components", "prior_steps": "steps"},
    **{"prior_hidden": "hidden", "prior_bins": "bins"},
}
# Options that models/build.py reads itself.
_NOT_KEYWORDS = ("latent_dim", "code_grid", "standardize", "output_bias")


def _spelled_out(value: object) -> object:
    """Convert the booleans that version 0.1 wrote."""
    return {False: "none", True: "shared"}[value] if isinstance(value, bool) else value


class ModelConfig(Section):
    """Networks and distributions."""

    shape: Annotated[Annotated[tuple[AtLeastOne, ...], Field(min_length=1)] | None, HIDDEN] = None
    """Shape of one example, (h, w, c) or (d,). Default: the data's."""
    scale: Annotated[Positive | None, HIDDEN] = None
    """Value that 8-bit pixels are divided by. Default: the data's."""
    latent_dim: Annotated[AtLeastOne, FLAT] = 2
    """Number of latent dimensions. With 2, the latent space can be drawn as a map."""

    condition: Annotated[Literal["none", "labels", "vectors"], FLAT] = "none"
    """Make the model conditional on each example's label, or on a vector from --condition-file."""
    condition_file: Annotated[str | None, Option(short=True, metavar="NPY")] = None
    """Array of shape (n, C) with one condition vector per example, in the order of the data."""
    condition_parts: Annotated[tuple[ConditionPart, ...], Field(min_length=1), FLAT] = (
        "encoder",
        "decoder",
        "prior",
    )
    """Parts that receive the condition. A conditional prior is a normal whose mean and scale depend on it."""
    condition_dim: Annotated[AtLeastOne | None, HIDDEN] = None
    """Length of a condition vector, or number of labels. Default: the data's."""
    condition_names: Annotated[tuple[str, ...], HIDDEN] = ()
    """Names of labels 0, 1, …. Default: the data's."""
    condition_ids: Annotated[tuple[int, ...], HIDDEN] = ()
    """Labels without names that are not 0, 1, …. Default: the data's."""

    network: Annotated[Network, FLAT] = Field(default="auto", description=help_of_networks())
    hidden: Annotated[tuple[AtLeastOne, ...], FLAT] = (400, 400)
    """Widths of the MLP encoder's hidden layers, first to last."""
    decoder_hidden: tuple[AtLeastOne, ...] | None = None
    """Widths of the MLP decoder's hidden layers. Default: the encoder's in reverse order."""
    conv_width: Annotated[AtLeastOne | None, FLAT] = None
    """Channels at the finest level of convolutional networks. Default: chosen by image size."""
    conv_levels: Annotated[AtLeastOne | None, FLAT] = None
    """How many times convolutional networks halve the image. Default: down to about 4×4; spatial: 3 times."""
    conv_blocks: Annotated[int, Field(ge=0), FLAT] = 1
    """Residual blocks at each coarser level of convolutional networks."""
    latent_channels: Annotated[AtLeastOne, FLAT] = _CHANNELS
    """Channels of a code on a grid, which spatial and autoencoder-kl networks have. With fsq, as many as
    --model.fsq-levels.
    """
    attention: Annotated[bool, FLAT] = False
    """Let the places of the coarsest grid of spatial and autoencoder-kl networks attend to one another."""
    block_channels: Annotated[tuple[Channels, ...], Field(min_length=1, max_length=8), FLAT] = (32, 64, 128)
    """Channels at each level of autoencoder-kl networks, finest first. Each further level halves the image.
    """
    norm_groups: Annotated[int, Field(ge=1)] = 32
    """Groups of the normalisations of autoencoder-kl networks."""
    quant_conv: bool = True
    """Let 1×1 convolutions stand before and after the code of autoencoder-kl networks."""
    ladder_layers: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Stochastic layers at each resolution of a ladder, coarsest first. Default: 2 at the three coarsest."""
    ladder_z_channels: AtLeastOne | None = None
    """Latent channels at each resolution of a ladder. Default: a sixteenth of the feature channels."""
    chain_dims: Annotated[tuple[AtLeastOne, ...], Field(min_length=1)] = (50, 100)
    """Latent dimensions of each stochastic layer of a chain, top layer first."""
    chain_hidden: Annotated[tuple[AtLeastOne, ...], Field(min_length=1)] = (100, 200)
    """Width of the two hidden layers below each stochastic layer of a chain, top layer first."""
    activation: Annotated[Activation, FLAT] = "relu"
    """Activation function between layers. gated, of an MLP or a chain, is (Wx + b) sigmoid(Vx + c)."""
    normalization: Normalization = "auto"
    """Normalisation before each activation. auto means none for mlp and group for conv."""
    init: Init = "torch"
    """Initial weights of an MLP or a chain. affine is uniform in ±1/sqrt(fan_in + 1)."""
    output_bias: Literal["network", "data"] = "network"
    """Initial bias of the decoder's last layer, with bernoulli. network: as --model.init says; data: the
    log-odds of each pixel's mean in the training examples.
    """
    decoder_norm: Literal["none", "spectral"] = "none"
    """Normalisation of the decoder's weights. spectral divides each matrix by its largest singular value."""

    posterior: Annotated[PosteriorName, FLAT] = Field(default="diagonal", description=help_of_posteriors())
    posterior_scale: Literal["softplus", "exp"] = "softplus"
    """Function that maps the encoder's output to a standard deviation."""
    posterior_steps: AtLeastOne | None = None
    """Transformations of a planar, iaf or householder posterior. Default: 8 for planar, 4 for the others."""
    posterior_hidden: tuple[AtLeastOne, ...] = (64, 64)
    """Hidden widths of the network in each step of an iaf posterior."""
    posterior_context: AtLeastOne = 32
    """Length of the context vector that the encoder gives each step of an iaf posterior."""
    code_grid: Annotated[tuple[AtLeastOne, ...], Field(min_length=1)] = (16,)
    """Shape of the grid of quantised vectors in a code, such as 7 7."""
    code_channels: AtLeastOne = 8
    """Length of each vector that vq quantises."""
    code_normalization: Literal["batch", "none"] = "batch"
    """Normalisation of the numbers of a code before vq or fsq quantises them. batch: by mean and variance of
    the batch, which lets all codes be used from the start.
    """
    codebook_size: Annotated[int, Field(ge=2)] = 512
    """Entries in each codebook of vq."""
    codebook_depth: AtLeastOne = 1
    """Codebooks of vq. With more than one, each quantises the residual of those before it."""
    fsq_levels: Annotated[tuple[Annotated[int, Field(ge=3, le=256)], ...], Field(min_length=1)] = (8, 5, 5, 5)
    """Number of levels of each component of a vector under fsq."""

    prior: Annotated[PriorName, FLAT] = Field(default="auto", description=help_of_priors())
    prior_components: AtLeastOne | None = None
    """Components of a mixture prior, or pseudo-inputs of vamp. Default: 10 and 500."""
    prior_steps: AtLeastOne = 4
    """Layers of a flow prior."""
    prior_hidden: tuple[AtLeastOne, ...] = (64, 64)
    """Hidden widths of the network in each layer of a flow prior."""
    prior_bins: Annotated[int, Field(ge=2)] = 8
    """Bins of each spline in a flow prior."""

    likelihood: Annotated[LikelihoodName, FLAT] = Field(default="auto", description=help_of_likelihoods())
    likelihood_scale: Positive = math.sqrt(0.5)
    """Scale of a gaussian (its standard deviation), laplace or student_t likelihood, or its initial value if
    it is learned.
    """
    learn_scale: Annotated[LearnScale, BeforeValidator(_spelled_out)] = "none"
    """How the scale of the likelihood is learned: none keeps it fixed; shared learns one for all dimensions;
    pixel takes one per dimension from the decoder; optimal takes that of maximum likelihood in each batch
    (gaussian only).
    """
    standardize: Annotated[bool, FLAT] = False
    """Subtract the mean of each column and divide by its deviation. Results are in the data's own units."""
    output: Literal["identity", "sigmoid"] = "identity"
    """Output function of the mean of a gaussian, laplace or student_t likelihood. sigmoid confines it to
    (0, 1).
    """
    df: Positive = 4.0
    """Degrees of freedom of a student_t likelihood, or their initial value if they are learned."""
    learn_df: bool = False
    """Learn the degrees of freedom of a student_t likelihood."""
    levels: Annotated[int, Field(ge=2, le=2**16)] = 256
    """Number of values a pixel can take under a categorical or discretized_logistic likelihood."""
    mixtures: AtLeastOne = 1
    """Mixture components of a discretized_logistic likelihood."""
    dispersion: Literal["feature", "network"] = "feature"
    """Dispersion of negative binomial likelihoods: one per feature, or given by the decoder network."""

    columns: Annotated[tuple[Column, ...], HIDDEN] = ()
    """Columns of a table, for the mixed likelihood. Default: the data's."""
    drop_cells: Annotated[float, Field(ge=0, lt=1), FLAT] = 0.0
    """Share of a table's observed cells that each step hides from the encoder; they are scored all the same,
    so that the encoder learns to fill in.
    """
    observation_scale: Annotated[Literal["cell", "shared"], FLAT] = "cell"
    """Scale of a table's numbers given a code, and the like (dispersion of counts, slope of ordinal levels).
    cell: the decoder gives one for each cell; shared: one is learned for each column, so that an odd number
    cannot be explained by a wide scale.
    """
    least_scale: Annotated[float, Field(gt=0, lt=0.5)] = 1e-3
    """Lower bound of the scale of a table's real numbers, in standard deviations of their column."""
    missing_mechanism: Annotated[Literal["ignorable", "self_masking"], FLAT] = "ignorable"
    """Why cells of a table are missing. ignorable: at random, whatever their values. self_masking: with a
    probability that depends on the value of the cell itself, and is learned.
    """

    @field_validator("shape")
    @classmethod
    def _is_a_shape(cls, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if shape is None or len(shape) < 3 or (len(shape) == 3 and channels_are_last(shape)):
            return shape
        if len(shape) == 3 and shape[0] < min(shape[1:]):
            turned = (*shape[1:], shape[0])
            raise ValueError(
                f"the channels of an image come last, so give {turned}; numpy.moveaxis(x, 1, -1) moves them"
            )
        raise ValueError(
            "an example is an image (h, w, c) of at most 4 channels or of fewer than h and w, a time series "
            "(t, d) or a row (d,)"
        )

    @model_validator(mode="after")
    def _parts_go_together(self) -> Self:
        check_in_use(self, _ONLY_WITH, _WITHOUT_DATA)
        if self.network == "mlp" and self.normalization == "group":
            raise ValueError(
                "normalization = 'group' needs network = 'conv' or 'spatial'; an mlp takes none, layer or "
                "batch"
            )
        if self.activation == "gated" and self.network not in ("auto", "mlp", "chain"):
            raise ValueError(
                f"activation = 'gated' is for network = 'mlp' or 'chain', and network is {self.network!r}; "
                "take another activation, such as 'silu', or one of these networks"
            )
        if self.network == "spatial" and self.posterior not in _ON_A_GRID:
            raise ValueError(
                f"posterior = {self.posterior!r} does not fit network = 'spatial', whose codes are on a "
                f"grid; take posterior = {either(_ON_A_GRID)}, or network = 'conv'"
            )
        if self.network == "spatial" and self.latent_channels not in (_CHANNELS, self.code_length):
            raise ValueError(
                f"latent_channels = {self.latent_channels}: posterior = 'fsq' has a channel for each of the "
                f"{self.code_length} numbers of fsq_levels = {self.fsq_levels!r}; leave it out"
            )
        if self.learn_scale == "optimal" and self.likelihood != "gaussian":
            raise ValueError(
                f"learn_scale = 'optimal' exists for likelihood = 'gaussian' only, and likelihood is "
                f"{self.likelihood!r}; take 'shared' or 'pixel'"
            )
        if len(self.chain_hidden) != len(self.chain_dims):
            raise ValueError(
                f"chain_hidden = {self.chain_hidden!r}: one width for each of the {len(self.chain_dims)} "
                f"layers of chain_dims = {self.chain_dims!r}"
            )
        if self.standardize and self.output == "sigmoid":
            raise ValueError(
                "standardize = True centres data at 0, and output = 'sigmoid' confines the mean to (0, 1); "
                "leave one of them out"
            )
        if self.likelihood == "mixed" and self.network not in ("auto", "mlp"):
            raise ValueError(
                f"likelihood = 'mixed' is for tables, which network = 'mlp' takes, not {self.network!r}"
            )
        check_prior(self.posterior, self.prior)
        if self.condition != "none":
            check_condition(self)
        return self

    @property
    def code_length(self) -> int:
        """Numbers at each place of a code on a grid."""
        return len(self.fsq_levels) if self.posterior == "fsq" else self.latent_channels

    @property
    def learns_labels(self) -> bool:
        """Whether the model is trained on the labels of the data."""
        return self.condition == "labels"

    def without_auto(self, **chosen: Any) -> ModelConfig:
        """Copy with "auto" replaced by the choices given, or else by mlp and bernoulli.

        Examples
        --------
        >>> config = ModelConfig(likelihood="laplace").without_auto(network="conv")
        >>> config.network, config.likelihood
        ('conv', 'laplace')
        """
        named = {part: choice for part, choice in _WITHOUT_DATA.items() if getattr(self, part) == "auto"}
        return ModelConfig(**{**dict(self), **named, **chosen}) if named or chosen else self

    def options(self, part: Literal["likelihood", "posterior", "prior"]) -> dict[str, Any]:
        """Keyword arguments of the head or prior that is chosen for a part, without those that are None.

        Examples
        --------
        >>> ModelConfig(likelihood="laplace").options("likelihood")["learn_scale"]
        'none'
        """
        names = [
            name
            for one, choices, names in _ONLY_WITH
            for name in names
            if one == part and getattr(self, part) in choices and name not in _NOT_KEYWORDS
        ]
        values = {_KEYWORDS.get(name, name): getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}
