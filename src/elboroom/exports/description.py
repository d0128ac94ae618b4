"""What an exported folder says of its model: export.json and README.md."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from elboroom import __version__
from elboroom.config.columns import Column
from elboroom.exports.networks import Network, Networks
from elboroom.exports.outputs import NO_SCALE
from elboroom.exports.targets import TARGETS
from elboroom.runs.run import Run

FORMAT = 1
FILE = "export.json"


def describe(networks: Networks, run: Run | None = None) -> dict[str, Any]:
    """Describe a model for programs that read its exported files, with JSON's types.

    Parameters
    ----------
    networks : Networks
        Of the model.
    run : Run, optional
        Where it was trained. Described are how many epochs it has, the hash of its weights, and how its
        images were made from files; the names of folders and of data stay here.
    """
    vae = networks.vae
    facts: dict[str, Any] = {
        "elboroom_export": FORMAT,
        "encoder": _ports(networks.encoder),
        "decoder": _ports(networks.decoder),
        "posterior": _name(vae.posterior),
        "likelihood": _name(vae.likelihood),
        "prior": _name(vae.prior),
        "shape": list(vae.shape),
        "latent_dim": vae.latent_dim,
        "layers": [[layer.start, layer.stop] for layer in vae.layers],
        "pixels": _pixels(networks),
        "condition": _condition(networks),
        "columns": [_column(column) for column in getattr(vae.likelihood, "columns", ())],
        "versions": {"elboroom": __version__, "torch": torch.__version__},
    }
    reason = NO_SCALE.get(getattr(vae.posterior, "makes", type(None)))
    if reason is not None:
        facts["no_scale"] = reason
    if run is not None:
        weights = (run.path / "model.safetensors").read_bytes()
        facts["run"] = {"epochs": len(run.history), "weights_sha256": hashlib.sha256(weights).hexdigest()}
        if run.preparation.by_label:
            facts["preparation"] = run.preparation.to_json()
    return facts


def _ports(network: Network) -> dict[str, Any]:
    return {
        "inputs": [port.to_json() for port in network.inputs],
        "outputs": [port.to_json() for port in network.outputs],
    }


def _name(part: Any) -> str:
    return type(part).__name__


def _pixels(networks: Networks) -> dict[str, Any] | None:
    """How the numbers of an example are scaled; None for a table."""
    vae = networks.vae
    if vae.accepts_missing:
        return None
    return {
        "dtype": networks.pixels,
        "scale": vae.scale if networks.pixels == "uint8" else 1.0,
        "cut_at_half": networks.threshold,
        "black_and_white": list(vae.value_range) if len(vae.shape) == 3 else None,
    }


def _condition(networks: Networks) -> dict[str, Any] | None:
    own = networks.vae.condition
    if own is None:
        return None
    names = [own.name_of(i) for i in range(own.size)] if own.kind == "labels" else []
    return {"kind": own.kind, "size": own.size, "labels": names}


def _column(column: Column) -> dict[str, Any]:
    fields = ("name", "kind", "family", "categories", "unit", "step", "origin")
    found = {name: getattr(column, name) for name in fields}
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in found.items() if value
    }


def readme(networks: Networks, targets: Sequence[str], gaps: Mapping[str, Mapping[str, float]]) -> str:
    """Write the README of an exported folder: what is in it, and code that runs it.

    Parameters
    ----------
    networks : Networks
        Of the model.
    targets : sequence of str
        Names of the formats in the folder.
    gaps : mapping
        Target → network → largest difference from the model.
    """
    parts = [
        "# A variational autoencoder: encoder and decoder\n",
        f"Exported by elboroom {__version__}; {FILE} describes inputs, outputs, units and classes. Any "
        "number of examples goes in at a time, and nothing is drawn at random.\n",
    ]
    for name in targets:
        target = TARGETS[name]
        parts.append(
            f"With {target.runs_on} ({agreement(gaps[name])}):\n\n```python\n{target.usage(networks)}\n```\n"
        )
    return "\n".join(parts)


def agreement(gaps: Mapping[str, float]) -> str:
    """Say how closely a format agrees with the model, from the largest difference of each network.

    Examples
    --------
    >>> agreement({"encoder": 2.1e-7, "decoder": 1e-9}), agreement({"encoder": 0.0, "decoder": 0.0})
    ('equal to the model within 2e-07', 'equal to the model in every bit')
    """
    gap = max(gaps.values())
    return f"equal to the model within {gap:.1g}" if gap else "equal to the model in every bit"
