"""A prior fitted to a trained model's codes: kept beside the model, and read again without executing code."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from elboroom.errors import UsageError
from elboroom.io.files import json_text, parse_json, write_atomic
from elboroom.io.tensors import fingerprint, first_unusable, misfit, read_tensors, write_tensors
from elboroom.models.vae import VAE
from elboroom.probability.codes import AutoregressiveCodes
from elboroom.probability.flow_prior import FlowPrior
from elboroom.probability.gaussian_mixture import GaussianMixture
from elboroom.probability.neighbours import NeighbourMixture
from elboroom.probability.two_stage import TwoStagePrior

FILE = "fitted_prior.safetensors"
RECORD = "fitted_prior.json"
KINDS = ("gmm", "flow", "knn", "vae", "autoregressive")
_FORMAT = 2
_FORMATS = {"gmm": 1, "flow": 1}  # which earlier versions read too
_PARTS = ("log_weights", "mean", "factor")
_NEIGHBOUR_PARTS = ("codes", "neighbours", "shift", "spread", "bandwidth", "roundness")


@dataclass(frozen=True)
class FittedPrior:
    """A density over codes, and how it was fitted.

    Attributes
    ----------
    kind : {"gmm", "flow", "knn", "vae", "autoregressive"}
        A Gaussian mixture, a neural spline flow, a normal at each code along its neighbours, a second VAE, or
        a transformer over indices.
    density : GaussianMixture, FlowPrior, NeighbourMixture, TwoStagePrior or AutoregressiveCodes
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
        if self.kind in _NAMES:
            return _NAMES[self.kind]
        if self.kind == "knn":
            n, k = self.density.neighbours.shape
            return f"normals at {n:,} codes along their {k} neighbours"
        n = len(self.density.mean)
        covariance = "diagonal" if self.density.factor.ndim == 2 else "full"
        return f"Gaussian mixture of {n} component{'' if n == 1 else 's'} with {covariance} covariance"


_NAMES = {
    "flow": "neural spline flow",
    "vae": "second VAE on the codes",
    "autoregressive": "causal transformer over the indices of codes",
}


def write_fitted(folder: Path, fitted: FittedPrior, vae: VAE) -> None:
    """Write a fitted prior to a folder, with the SHA-256 of the model's weights.

    The safetensors file is complete by itself; the JSON file beside it is for other readers.
    """
    head = {
        "format": _FORMATS.get(fitted.kind, _FORMAT),
        "kind": fitted.kind,
        "model": fingerprint(vae.state_dict()),
    }
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
    if isinstance(version, int) and version > _FORMAT:
        raise UsageError(
            f"{path} has format {version}, and this elboroom reads formats up to {_FORMAT}; upgrade"
        )
    if not isinstance(version, int) or record.get("kind") not in KINDS:
        raise UsageError(f"{path} is damaged: it does not describe a fitted prior; {again}")
    if record.pop("model", None) != fingerprint(vae.state_dict()):
        raise UsageError(f"{path} was fitted to other weights than the model has now; {again}")
    kind = record.pop("kind")
    density = None if first_unusable(tensors) else _density(kind, tensors, vae, record)
    if density is None:
        raise UsageError(f"{path} is damaged: its numbers are not those of such a prior; {again}")
    density = density.to(next(vae.parameters())).requires_grad_(False).eval()
    return FittedPrior(kind, density, record)


def _density(kind: str, tensors: dict[str, Tensor], vae: VAE, record: dict[str, Any]) -> Any:
    """Build the density that a file describes; None if its tensors do not fit it, or the model."""
    if kind == "gmm":
        return _from_parts(GaussianMixture, _PARTS, "mean", tensors, vae)
    if kind == "knn":
        return _from_parts(NeighbourMixture, _NEIGHBOUR_PARTS, "codes", tensors, vae)
    if kind == "autoregressive":
        quantizer = getattr(vae.prior, "quantizer", None)
        sizes = {name: record.get(name) for name in ("width", "layers", "heads")}
        if quantizer is None or not all(isinstance(n, int) and 0 < n < 10_000 for n in sizes.values()):
            return None
        try:
            return _with_weights(AutoregressiveCodes(quantizer, **sizes), tensors)  # type: ignore[arg-type]
        except UsageError:
            return None
    made = FlowPrior(vae.latent_dim) if kind == "flow" else TwoStagePrior(vae.latent_dim)
    return _with_weights(made, tensors)


def _with_weights(density: nn.Module, tensors: dict[str, Tensor]) -> nn.Module | None:
    if misfit(tensors, density.state_dict()) is not None:
        return None
    density.load_state_dict(tensors)
    return density


def _from_parts(
    build: Callable[..., nn.Module],
    parts: tuple[str, ...],
    codes: str,
    tensors: dict[str, Tensor],
    vae: VAE,
) -> nn.Module | None:
    if sorted(tensors) != sorted(parts) or tensors[codes].ndim != 2:
        return None
    if tensors[codes].shape[1] != vae.latent_dim:
        return None
    try:
        return build(*(tensors[name] for name in parts))
    except UsageError:
        return None
