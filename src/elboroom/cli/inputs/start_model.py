"""The model that a training starts from: a run, or a folder of diffusers' AutoencoderKL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from elboroom.config import Config
from elboroom.config.likelihoods import LIKELIHOODS
from elboroom.config.networks import NETWORKS
from elboroom.config.posteriors import POSTERIORS
from elboroom.config.priors import PRIORS
from elboroom.errors import UsageError
from elboroom.io.files import json_text, read_json, write_atomic
from elboroom.io.tensors import misfit
from elboroom.models.vae import VAE
from elboroom.runs.diffusers_config import is_diffusers, read_folder
from elboroom.runs.diffusers_folder import KEPT, KL_WEIGHT, import_diffusers, likelihood_fields
from elboroom.runs.run import Run

Sections = dict[str, Any]

_OF_THE_LENGTH = ("critic_start_epochs",)  # follows from the number of epochs


class Start(NamedTuple):
    """What a training started from.

    Attributes
    ----------
    described : str
        A line for the user.
    kept : dict or None
        What belongs to the codes of an AutoencoderKL.
    """

    described: str
    kept: dict[str, Any] | None

    def record(self, run: Run | None) -> None:
        """Keep in a new run what belongs to its codes."""
        if run is not None and self.kept is not None:
            write_atomic(run.path / KEPT, json_text(self.kept, indent=2) + "\n")


def sections_of(source: str, *, says_beta: bool) -> tuple[Sections, Mapping[str, Any]]:
    """The configuration of a model that a training starts from.

    Parameters
    ----------
    source : str
        The run or the folder.
    says_beta : bool
        Whether the weight of the rate is given elsewhere, so that that of a folder is not taken.

    Returns
    -------
    Sections
        Its likelihood and objective, which presets, recipes and options may replace.
    mapping
        Fields of its networks, posterior and prior, which recipes do not replace.
    """
    path = Path(source)
    if is_diffusers(path):
        objective = {} if says_beta else {"beta": KL_WEIGHT, "beta_unit": "mean"}
        return {"model": likelihood_fields(), "objective": objective}, read_folder(path).fields
    run = Run(path)
    if run.custom_model:
        raise UsageError(
            f"--start-from {source}: the model of this run was composed in Python; load it there and "
            "train it with elboroom.fit"
        )
    model = dict(run.config.model)
    networks = {"network", "posterior", "prior", *NETWORKS[model["network"]].options}
    networks |= {*POSTERIORS[model["posterior"]].options}
    networks |= {*PRIORS[model["prior"]].options} if model["prior"] in PRIORS else set()
    likelihood = {"likelihood", "standardize", *LIKELIHOODS[model["likelihood"]].options} - {"columns"}
    objective = {name: value for name, value in run.config.objective if name not in _OF_THE_LENGTH}
    given = Config().model
    changed = {name for name, value in given if model[name] != value}
    beside = {name: model[name] for name in (likelihood - networks) & {*changed, "likelihood"}}
    return {"model": beside, "objective": objective}, {name: model[name] for name in sorted(networks)}


def take_weights(vae: VAE, source: str) -> Start:
    """Give a new model the weights of the one that its training starts from.

    The likelihood's own numbers, such as a learned scale, are taken if it has the same.

    Raises
    ------
    UsageError
        If the networks have other layers.
    """
    path = Path(source)
    kept: dict[str, Any] | None = None
    if is_diffusers(path):
        given, _, kept = import_diffusers(path, vae.shape)
    else:
        run = Run(path)
        given = run.model()
        if (run.path / KEPT).is_file():
            kept = read_json(run.path / KEPT, "import it again")
    if getattr(vae.prior, "examples_wanted", 0):
        raise UsageError(
            f"--start-from {source}: prior = 'vamp' takes its pseudo-inputs from the data at the start, so "
            "that those of an earlier model would be lost; resume the run instead"
        )
    own, theirs = vae.state_dict(), given.state_dict()
    whole = _part(own, likelihood=True), _part(theirs, likelihood=True)
    same = type(vae.likelihood) is type(given.likelihood) and misfit(whole[1], whole[0]) is None
    if not same:
        own, theirs = _part(own, likelihood=False), _part(theirs, likelihood=False)
    why = misfit(theirs, own)
    if why is not None:
        raise UsageError(f"--start-from {source} does not fit this model: {why}")
    vae.load_state_dict(theirs, strict=False)
    beside = "" if same else "; the likelihood is new"
    return Start(f"weights of {source}{beside}", kept)


def _part(state: Mapping[str, Any], *, likelihood: bool) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name.startswith("likelihood.") is likelihood}
