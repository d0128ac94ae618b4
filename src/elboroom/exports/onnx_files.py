"""ONNX files of a model's networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from elboroom.errors import FailureError, shortened
from elboroom.exports.checking import largest_difference
from elboroom.exports.networks import Network
from elboroom.exports.tracing import BATCH, quiet

OPSET = 18
"""Version of the ONNX operators: that which PyTorch's exporter writes, and onnxruntime reads since 1.14."""
MOST_BYTES = 2_000_000_000
"""Weights of more bytes go to a file beside, because a file in ONNX's format ends at 2 GiB."""


def write_onnx(network: Network, folder: Path, about: str) -> float:
    """Write NAME.onnx, and NAME.onnx.data beside it if its weights have more than ``MOST_BYTES``.

    Parameters
    ----------
    network : Network
        In evaluation mode.
    folder : path
        An existing folder.
    about : str
        The description of the model, JSON, for the metadata of the file.

    Returns
    -------
    float
        Largest difference between onnxruntime and PyTorch; see
        :func:`elboroom.exports.checking.largest_difference`.

    Raises
    ------
    FailureError
        If PyTorch cannot express it in ONNX, or the results differ.
    """
    import onnx

    path = folder / f"{network.name}.onnx"
    proto = _converted(network)
    _describe(proto, network, about)
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.program.state_dict.values())
    onnx.save(
        proto,
        path,
        save_as_external_data=size > MOST_BYTES,
        location=f"{path.name}.data",
        size_threshold=0 if size > MOST_BYTES else 1024,
    )
    onnx.checker.check_model(path)
    return largest_difference(network, _session(path))


def _converted(network: Network) -> Any:
    """Its graph in ONNX's operators."""
    program = network.program
    with quiet(), torch.no_grad():
        try:
            made = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=[port.name for port in network.inputs],
                output_names=[port.name for port in network.outputs],
                verbose=False,
            )
        except Exception as error:  # of its own kinds, or for want of a version of onnxscript that fits
            cause = error.__cause__ or error
            raise FailureError(
                f"the {network.name} cannot be exported to ONNX: its exporter says {shortened(str(cause))}; "
                "pt2 may do"
            ) from error
    assert made is not None
    return made.model_proto


def _describe(proto: Any, network: Network, about: str) -> None:
    """Name the free dimension, describe inputs and outputs, and add the description of the model."""
    graph = proto.graph
    for node in graph.node:
        del node.metadata_props[:]  # of PyTorch's exporter, for those who work on it
    free = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == free:
                dim.dim_param = BATCH
    for value, port in zip((*graph.input, *graph.output), (*network.inputs, *network.outputs), strict=True):
        assert value.name == port.name
        value.doc_string = port.holds
    graph.doc_string = proto.doc_string = f"{network.name} of a variational autoencoder"
    entry = proto.metadata_props.add()
    entry.key, entry.value = "elboroom", about


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]

    def run(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        fed = {name: tensor.numpy() for name, tensor in zip(names, inputs, strict=True)}
        return [torch.from_numpy(array) for array in session.run(None, fed)]

    return run
