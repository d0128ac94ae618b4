"""A prior fitted to a trained model's codes: kept beside the model, and read again without executing code."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from elboroom.errors import UsageError
from elboroom.io.files import json_text, parse_json, write_atomic
from elboroom.io.tensors import fingerprint, first_unusable, misfit, read_tensors, write_tensors
from elboroom.models.vae import VAE
from elboroom.probability.flow_prior import FlowPrior
from elboroom.probability.gaussian_mixture import GaussianMixture

FILE = "fitted_prior.safetensors"
RECORD = "fitted_prior.json"
KINDS = ("gmm", "flow")
_FORMAT = 1
_PARTS = ("log_weights", "mean", "factor")


@dataclass(frozen=True)
class FittedPrior:
    """A density over codes, and how it was fitted.

    Attributes
    ----------
    kind : {"gmm", "flow"}
        A Gaussian mixture, or a neural spline flow.
    density : GaussianMixture or FlowPrior
        For :meth:`elboroom.VAE.with_prior`.
    record : dict
        JSON: counts, seed, and held-out log-densities in nats.
    """

    kind: str
    density: Any
    record: dict[str, Any]

    def describe(self) -> str:
        """Name the density.

        Examples
        --------
        >>> import torch
        >>> mixture = GaussianMixture(torch.zeros(1), torch.zeros(1, 2), torch.ones(1, 2))
        >>> FittedPrior("gmm", mixture, {}).describe()
        'Gaussian mixture of 1 component with diagonal covariance'
        """
        if self.kind == "flow":
            return "neural spline flow"
        n = len(self.density.mean)
        covariance = "diagonal" if self.density.factor.ndim == 2 else "full"
        return f"Gaussian mixture of {n} component{'' if n == 1 else 's'} with {covariance} covariance"


def write_fitted(folder: Path, fitted: FittedPrior, vae: VAE) -> None:
    """Write a fitted prior to a folder, with the SHA-256 of the model's weights.

    The safetensors file is complete by itself; the JSON file beside it is for other readers.
    """
    head = {"format": _FORMAT, "kind": fitted.kind, "model": fingerprint(vae.state_dict())}
    text = json_text({**head, **fitted.record})
    write_tensors(folder / FILE, fitted.density.state_dict(), {"fitted_prior": text})
    write_atomic(folder / RECORD, json_text(json.loads(text), indent=2) + "\n")


def read_fitted(folder: str | os.PathLike[str], vae: VAE) -> FittedPrior:
    """Read the fitted prior of a run, in the model's dtype and on its device.

    Parameters
    ----------
    folder : path
        Of the run.
    vae : VAE
        The run's model.

    Raises
    ------
    UsageError
        If there is none, it is damaged, a newer version wrote it, or it was fitted to other weights.
    """
    path = Path(folder) / FILE
    again = f"run 'elboroom fit-prior {folder} --overwrite'"
    if not path.exists():
        raise UsageError(f"{folder} has no fitted prior; run 'elboroom fit-prior {folder}'")
    tensors, metadata = read_tensors(path)
    record = parse_json(metadata.get("fitted_prior", ""), path, again)
    version = record.pop("format", None) if isinstance(record, dict) else None
    if not isinstance(version, int) or record.get("kind") not in KINDS:
        raise UsageError(f"{path} is damaged: it does not describe a fitted prior; {again}")
    if version > _FORMAT:
        raise UsageError(
            f"{path} has format {version}, and this elboroom reads formats up to {_FORMAT}; upgrade"
        )
    if record.pop("model", None) != fingerprint(vae.state_dict()):
        raise UsageError(f"{path} was fitted to other weights than the model has now; {again}")
    density = _density(record.pop("kind"), tensors, vae.latent_dim)
    if density is None or first_unusable(tensors):
        raise UsageError(f"{path} is damaged: its numbers are not those of such a prior; {again}")
    weight = next(vae.parameters())
    kind = "flow" if isinstance(density, FlowPrior) else "gmm"
    return FittedPrior(kind, density.to(weight).requires_grad_(False).eval(), record)


def _density(kind: str, tensors: dict[str, Tensor], latent_dim: int) -> Any:
    if kind == "flow":
        flow = FlowPrior(latent_dim)
        if misfit(tensors, flow.state_dict()) is not None:
            return None
        flow.load_state_dict(tensors)
        return flow
    if sorted(tensors) != sorted(_PARTS) or tensors["mean"].ndim != 2:
        return None
    if tensors["mean"].shape[1] != latent_dim:
        return None
    return GaussianMixture(*(tensors[name] for name in _PARTS))
