"""The formats that a model can be exported to. To add one, write a module beside this and add a row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elboroom.exports import usage
from elboroom.exports.diffusers_files import FILES, diffusers_code, write_diffusers
from elboroom.exports.networks import Network, Networks
from elboroom.exports.onnx_files import OPSET, write_onnx
from elboroom.exports.pt2_files import write_pt2
from elboroom.io.files import json_text


@dataclass(frozen=True)
class Target:
    """One format.

    Attributes
    ----------
    summary : str
        What it is: a phrase for the help.
    write : callable
        (networks, existing folder, description) → network → the largest difference between what was written,
        read back and run, and the model.
    usage : callable
        Networks → Python code that runs the files, without elboroom; it stands in the folder's README.
    runs_on : str
        What that code needs.
    packages : tuple of str
        Modules that writing needs beside PyTorch; the extra of the target's name installs them.
    facts : dict
        What the description says of the format.
    files : tuple of str
        Names of what it writes. Default: all whose names contain that of the format.
    """

    summary: str
    write: Callable[[Networks, Path, Mapping[str, Any]], dict[str, float]]
    usage: Callable[[Networks], str]
    runs_on: str
    packages: tuple[str, ...] = ()
    facts: tuple[tuple[str, object], ...] = ()
    files: tuple[str, ...] = ()


def _each(
    write: Callable[[Network, Path, str], float],
) -> Callable[[Networks, Path, Mapping[str, Any]], dict[str, float]]:
    """Write the networks one after the other, each with the description in JSON."""
    return lambda networks, folder, about: {
        network.name: write(network, folder, json_text(about)) for network in networks
    }


TARGETS: dict[str, Target] = {
    "onnx": Target(
        "ONNX files, which onnxruntime and most other programs run",
        _each(write_onnx),
        usage.onnx_code,
        "onnxruntime and NumPy",
        ("onnx", "onnxscript", "onnxruntime"),
        (("opset", OPSET),),
    ),
    "pt2": Target(
        "PyTorch programs, which torch.export.load reads",
        _each(write_pt2),
        usage.pt2_code,
        "PyTorch",
    ),
    "diffusers": Target(
        "a folder for diffusers' AutoencoderKL.from_pretrained",
        write_diffusers,
        diffusers_code,
        "diffusers",
        files=FILES,
    ),
}
"""Name → target."""
