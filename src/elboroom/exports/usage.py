"""Python code that runs an exported model without elboroom, for the README of its folder."""

from __future__ import annotations

from elboroom.exports.networks import Network, Networks, Port

_ZEROS = {"uint8": ("np.uint8", "torch.uint8"), "float32": ("np.float32", "torch.float32")}


def onnx_code(networks: Networks) -> str:
    """Code with onnxruntime, which encodes two examples and decodes their codes."""
    lines = [
        "import numpy as np",
        "import onnxruntime",
        "",
        'encoder = onnxruntime.InferenceSession("encoder.onnx")',
        'decoder = onnxruntime.InferenceSession("decoder.onnx")',
        *(f"{port.name} = {_made(port, 0)}" for port in networks.encoder.inputs),
        f"{_names(networks.encoder)} = encoder.run(None, {{{_fed(networks.encoder)}}})",
        f"(decoded,) = decoder.run(None, {{{_fed(networks.decoder)}}})",
    ]
    return "\n".join(lines).replace('"z": z', '"z": mean')


def pt2_code(networks: Networks) -> str:
    """Code with PyTorch, which encodes two examples and decodes their codes."""
    given = ", ".join(port.name for port in networks.encoder.inputs)
    lines = [
        "import torch",
        "",
        'encoder = torch.export.load("encoder.pt2").module()',
        'decoder = torch.export.load("decoder.pt2").module()',
        *(f"{port.name} = {_made(port, 1)}" for port in networks.encoder.inputs),
        f"{_names(networks.encoder)} = encoder({given})",
        f"(decoded,) = decoder({given})",
    ]
    return "\n".join(lines).replace("decoder(x", "decoder(mean")


def _made(port: Port, which: int) -> str:
    """Two examples of an input: zeros, or the first label."""
    library, dtype = ("np", "torch")[which], _ZEROS[port.dtype][which]
    shape = (2, *port.shape[1:])
    if port.name == "condition" and "label" in port.holds:
        return f"{library}.eye({port.shape[1]}, dtype={dtype})[[0, 0]]  # of the first label"
    return f"{_zeros(library, shape, dtype)}  # {port.holds}"


def _zeros(library: str, shape: tuple[object, ...], dtype: str) -> str:
    return f"{library}.zeros({shape}, dtype={dtype})"


def _names(network: Network) -> str:
    names = [port.name for port in network.outputs]
    return ", ".join(names) if len(names) > 1 else f"({names[0]},)"


def _fed(network: Network) -> str:
    return ", ".join(f'"{port.name}": {port.name}' for port in network.inputs)
