"""The formats that a model can be exported to. To add one, write a module beside this and add a row here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from elboroom.exports import usage
from elboroom.exports.networks import Network, Networks
from elboroom.exports.onnx_files import OPSET, write_onnx
from elboroom.exports.pt2_files import write_pt2


@dataclass(frozen=True)
class Target:
    """One format.

    Attributes
    ----------
    summary : str
        What it is: a phrase for the help.
    write : callable
        (network, existing folder, description in JSON) → the largest difference between what was written,
        read back and run, and the model. It writes files whose names begin with that of the network.
    usage : callable
        Networks → Python code that runs the files, without elboroom; it stands in the folder's README.
    runs_on : str
        What that code needs.
    packages : tuple of str
        Modules that writing needs beside PyTorch; the extra of the target's name installs them.
    facts : dict
        What the description says of the format.
    """

    summary: str
    write: Callable[[Network, Path, str], float]
    usage: Callable[[Networks], str]
    runs_on: str
    packages: tuple[str, ...] = ()
    facts: tuple[tuple[str, object], ...] = ()


TARGETS: dict[str, Target] = {
    "onnx": Target(
        "ONNX files, which onnxruntime and most other programs run",
        write_onnx,
        usage.onnx_code,
        "onnxruntime and NumPy",
        ("onnx", "onnxscript", "onnxruntime"),
        (("opset", OPSET),),
    ),
    "pt2": Target(
        "PyTorch programs, which torch.export.load reads",
        write_pt2,
        usage.pt2_code,
        "PyTorch",
    ),
}
"""Name → target."""
