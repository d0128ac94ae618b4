"""PyTorch programs of a model's networks: what ``torch.export.load`` reads."""

from __future__ import annotations

from pathlib import Path

import torch

from elboroom.exports.checking import largest_difference
from elboroom.exports.networks import Network
from elboroom.exports.tracing import quiet


def write_pt2(network: Network, folder: Path, about: str) -> float:
    """Write NAME.pt2 with ``torch.export.save``.

    Parameters
    ----------
    network, folder, about
        As of :func:`elboroom.exports.onnx_files.write_onnx`; ``about`` is in the file ``elboroom.json`` of
        the archive.

    Returns
    -------
    float
        Largest difference between the reloaded program and the model.

    Raises
    ------
    FailureError
        If PyTorch cannot trace it, or the results differ.
    """
    path = folder / f"{network.name}.pt2"
    with quiet(), torch.no_grad():
        torch.export.save(network.program, path, extra_files={"elboroom.json": about})
        program = torch.export.load(path)  # our own file of a moment ago
        return largest_difference(network, lambda inputs: program.module()(*inputs))
