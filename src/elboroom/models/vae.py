"""The VAE: encoder, decoder, prior, and one forward pass through them. It holds no loss."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from elboroom.config import ModelConfig
from elboroom.errors import UsageError
from elboroom.models.conditional import check_conditioned
from elboroom.models.conditioning import Array as Array  # imported from here by most of the package
from elboroom.models.conditioning import Condition, Conditioning
from elboroom.models.inference import Inference
from elboroom.models.inference import Precision as Precision
from elboroom.models.saving import save_model
from elboroom.models.sharing import load_shared, push_model, save_folder
from elboroom.models.terms import Terms
from elboroom.probability import (
    BernoulliHead,
    DiagonalGaussianHead,
    Likelihood,
    Posterior,
    check_pair,
    find_closed_form,
)

# Kind of network → makes the VAE of a configuration. models/build.py, which knows all parts, fills it.
COMPOSERS: dict[str, Callable[[ModelConfig], VAE]] = {}


class VAE(Inference):
    """An encoder and a decoder network with a prior, a posterior and a likelihood.

    Parameters
    ----------
    encoder : nn.Module
        Maps (b, *shape) to (b, *posterior.in_shape).
    decoder : nn.Module
        Maps (n, d) to (n, *likelihood.in_shape).
    prior : nn.Module
        p(z); its ``latent_dim`` is d.
    posterior, likelihood : nn.Module, optional
        Heads that read the networks' outputs. Default: a diagonal Gaussian and a Bernoulli.
    shape : tuple of int
        Shape of one example: (h, w, c) or (d,).
    scale : float
        uint8 inputs are divided by it: 255 for 8-bit pixels.
    conditioning : Conditioning, optional
        Makes this a model of p(x|c), whose methods take ``condition``; :meth:`given` fixes it.

    Attributes
    ----------
    layers : tuple of slice
        The part of a code that belongs to each stochastic layer, top first; most models have one layer.
    value_range : (float, float)
        The values of black and white in model units; training and loading set it to those of the data.
    data_range : (float, float) or None
        Smallest and largest value of the training data in model units, if known; set likewise.

    Raises
    ------
    UsageError
        If the parts do not fit together.

    Examples
    --------
    >>> vae = VAE.build(shape=(28, 28, 1), latent_dim=2, hidden=[100])
    >>> vae.sample(3).shape
    torch.Size([3, 28, 28, 1])
    >>> vae = VAE.build(shape=(28, 28, 1), hidden=[100], condition="labels", condition_dim=10)
    >>> vae.sample(3, condition=[7, 7, 1]).shape
    torch.Size([3, 28, 28, 1])
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        prior: Any,
        *,
        shape: Sequence[int],
        posterior: nn.Module | None = None,
        likelihood: nn.Module | None = None,
        scale: float = 255.0,
        conditioning: Conditioning | None = None,
    ):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.prior: Any = prior
        self.latent_dim: int = prior.latent_dim
        self.layers: tuple[slice, ...] = (slice(0, self.latent_dim),)
        self.shape = tuple(shape)
        self.scale = scale
        self.value_range: tuple[float, float] = (0.0, 1.0)
        self.data_range: tuple[float, float] | None = None
        self.posterior: Any = DiagonalGaussianHead(self.latent_dim) if posterior is None else posterior
        self.likelihood: Any = BernoulliHead(self.shape) if likelihood is None else likelihood
        check_pair(self.posterior, prior)
        self.conditioning = conditioning
        self._low = False
        check_conditioned(conditioning, prior)
        self._space: str | None = getattr(getattr(self.posterior, "makes", None), "space", None)
        if hasattr(prior, "bind"):  # a mixture of posteriors, on the same space as they
            prior.bind(self._inferred)
            prior.space = self._space
        self.config: ModelConfig | None = None
        """The configuration it was built from, if any; a run with one is reloaded without code."""

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of one code: (d,), or (c, h, w) of a code on a grid, flattened channel by channel."""
        grid: tuple[int, ...] | None = getattr(self.decoder, "code_shape", None)
        return (self.latent_dim,) if grid is None else grid

    @classmethod
    def build(cls, config: ModelConfig | None = None, **fields: Any) -> VAE:
        """Build a VAE from a configuration, or from its fields by name.

        Parameters
        ----------
        config : ModelConfig, optional
            Its ``shape`` must be set.
        **fields
            Fields of :class:`ModelConfig` that replace those of ``config``.

        Raises
        ------
        UsageError
            If a field is unknown, a value is not allowed, or no shape is given.
        """
        config = ModelConfig(**({**dict(config), **fields} if config else fields))
        if config.shape is None:
            raise UsageError("shape is not set: give the shape of one example, such as shape=data.shape")
        config = config.without_auto(scale=config.scale or 255.0)
        vae = COMPOSERS[config.network](config)
        vae.config = config
        return vae

    def infer(self, x: Tensor, condition: Condition | None = None) -> Posterior:
        """q(z|x) for x (b, *shape) in model units, differentiably."""
        c = self._resolved(condition, len(x))
        x = self.comparable(x)
        if self.conditioning is not None and c is not None:
            x = self.conditioning.onto_input(x, c)
        return self._inferred(x)

    def comparable(self, x: Tensor) -> Tensor:
        """Examples (..., *shape) in comparable units: standardised if the model standardises them."""
        if hasattr(self.likelihood, "standardize"):
            found: Tensor = self.likelihood.standardize(x)
            return found
        return x

    def _inferred(self, x: Tensor) -> Posterior:
        # Networks may run in lower precision; densities never do.
        with self.products():
            features = self.encoder(x)
        posterior: Posterior = self.posterior(features.to(x.dtype))
        return posterior

    def generate(self, z: Tensor, condition: Condition | None = None) -> Likelihood:
        """p(x|z) for codes z (..., b, d), differentiably, each of the b codes with its condition."""
        c = self._resolved(condition, z.shape[-2] if z.ndim > 1 else 1)
        code = z
        if self.conditioning is not None and c is not None:
            code = self.conditioning.onto_code(z, c if z.ndim > 1 else c[0])
        with self.products():
            features = self.decoder(code.reshape(-1, code.shape[-1]))
        features = features.to(z.dtype).reshape(*z.shape[:-1], *self.likelihood.in_shape)
        likelihood: Likelihood = self.likelihood(features)
        return likelihood

    def forward(self, x: Tensor, num_samples: int = 1, condition: Condition | None = None) -> Terms:
        """Encode x (b, *shape), draw k codes of each example, and decode them."""
        c = self.condition_vectors(condition, len(x))
        q: Any = self.infer(x, c)
        # Where the rate has a closed form, the density of the draws is rarely needed.
        prior = self.prior_given(c)
        if hasattr(q, "rsample") and find_closed_form(q, prior) is not None:
            z, known = q.rsample(num_samples), {}
        else:
            z, log_q = q.rsample_and_log_prob(num_samples)
            known = {"log_q": log_q}
        generate = self.generate if c is None else partial(self.generate, condition=c)
        return Terms(x, q, generate(z), prior, z, generate, known)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one file that :func:`elboroom.load` reads, without pickle.

        The file is in the safetensors format. Its header holds the configuration of a model from
        :meth:`build`; a model composed in Python is loaded by ``elboroom.load(path, into=vae)``.

        Raises
        ------
        UsageError
            If ``path`` is a folder, or its folder does not exist.
        FailureError
            If the file cannot be written.
        """
        save_model(self, path)

    def save_pretrained(
        self, folder: str | os.PathLike[str], *, run: Any = None, license: str | None = None
    ) -> None:
        """Write a folder to share: the model, its hash, and a model card.

        Parameters
        ----------
        folder : path
            New, empty, or written by this method before.
        run : Run or path, optional
            The run that the card describes: data, results with their errors, command and pictures.
        license : str, optional
            Identifier of the licence for the card, such as ``"apache-2.0"``.

        Raises
        ------
        UsageError
            If the folder contains other files, or the model was composed in Python.
        FailureError
            If it cannot be written.
        """
        save_folder(self, folder, run, license)

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str], *, revision: str | None = None) -> VAE:
        """Load a model from a folder of :meth:`save_pretrained` or from the Hugging Face hub.

        No code is executed, and the file's SHA-256 is checked. Without a network the local cache is used.

        Parameters
        ----------
        source : path or str
            A folder, ``hf://user/name`` or ``hf://user/name@revision``.
        revision : str, optional
            Branch, tag or commit on the hub. Only a commit always means the same file.

        Raises
        ------
        UsageError
            If there is no such model, or it is damaged.
        FailureError
            If the hub does not answer, and the cache does not have it.
        """
        saved = load_shared(source, revision)
        return saved.fill(cls.build(saved.config))

    def push_to_hub(
        self,
        repo: str,
        *,
        run: Any = None,
        license: str | None = None,
        private: bool = False,
        revision: str | None = None,
        token: str | None = None,
    ) -> str:
        """Upload the model and its card to the Hugging Face hub, and return the address.

        Parameters
        ----------
        repo : str
            ``user/name``; the repository is created if there is none.
        run, license
            As in :meth:`save_pretrained`.
        private : bool
            Create the repository as a private one.
        revision : str, optional
            Branch to upload to.
        token : str, optional
            Token with the right to write; that of ``hf auth login`` by default.

        Raises
        ------
        UsageError
            If the name is invalid, huggingface_hub is not installed, or the model was composed in Python.
        FailureError
            If the hub refuses, or does not answer.
        """
        return push_model(self, repo, run, license, private=private, revision=revision, token=token)
