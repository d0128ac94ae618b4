"""What is exported of a model: its encoder and its decoder, from and to the units of the data.

Both are modules that map tensors to a tuple of tensors, draw nothing, and take any number of examples. What
comes before and after the networks is inside: division by the scale of pixels, a threshold, standardising,
the encoding of a table's columns and of their missing cells, and the condition.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from elboroom.errors import UsageError
from elboroom.exports.examples import inputs_of
from elboroom.exports.outputs import ONLY_MEAN, OUTPUTS, Output
from elboroom.exports.tracing import BATCH, traced
from elboroom.models.vae import VAE

Pixels = Literal["auto", "uint8", "float32"]


@dataclass(frozen=True)
class Port:
    """An input or an output of an exported network.

    Attributes
    ----------
    name : str
        Its name in the exported files.
    dtype : str
        "uint8", "float32" or "int64".
    shape : tuple
        The first is "n", the number of examples.
    holds : str
        What it is: a phrase.
    unit : float
        Differences are measured in multiples of it: 255 for 8-bit pixels, otherwise 1.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    holds: str
    unit: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """Describe it with JSON's types."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape), "holds": self.holds}


@dataclass(frozen=True)
class Network:
    """A module with its inputs and outputs, and examples of its inputs, to trace and to check it with."""

    name: str
    module: nn.Module
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    examples: tuple[Tensor, ...]

    @cached_property
    def program(self) -> ExportedProgram:
        """Its graph; see ``traced``."""
        return traced(self)


@dataclass(frozen=True)
class Networks:
    """The networks of a model, to export.

    Attributes
    ----------
    vae : VAE
        The model, on the CPU and in float32.
    encoder, decoder : Network
        From examples to codes, and from codes to means.
    pixels : str
        Type of an example's numbers: "uint8" or "float32".
    threshold : bool
        Whether the encoder cuts pixels at one half.
    """

    vae: VAE
    encoder: Network
    decoder: Network
    pixels: str
    threshold: bool

    def __iter__(self) -> Iterator[Network]:
        yield from (self.encoder, self.decoder)


class Encoder(nn.Module):
    """Examples (n, *shape) in the units of the data → the tensors that describe q(z|x)."""

    def __init__(self, vae: VAE, *, scale: float, threshold: bool, outputs: Sequence[Output]):
        super().__init__()
        self.vae = vae
        self.scale = scale
        self.threshold = threshold
        self.outputs = tuple(outputs)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> tuple[Tensor, ...]:
        """Code of each example, and what else its posterior has."""
        units = x / self.scale if self.scale != 1.0 else x.to(torch.float32)
        if self.threshold:
            units = (units >= 0.5).to(torch.float32)
        posterior = self.vae.infer(units, condition)
        return tuple(output.read(posterior) for output in self.outputs)


class Decoder(nn.Module):
    """Codes (n, d) → the mean of p(x|z) in the units of the data, (n, *shape)."""

    def __init__(self, vae: VAE, *, scale: float):
        super().__init__()
        self.vae = vae
        self.scale = scale

    def forward(self, z: Tensor, condition: Tensor | None = None) -> tuple[Tensor, ...]:
        """The mean, as a tuple of one."""
        mean = self.vae.generate(self.vae.onto_space(z), condition).mean
        return (mean * self.scale if self.scale != 1.0 else mean,)


def networks_of(vae: VAE, *, pixels: Pixels = "auto", threshold: bool = False) -> Networks:
    """Take the encoder and the decoder out of a model, at its present weights.

    Parameters
    ----------
    vae : VAE
        Any model; it is not changed.
    pixels : {"auto", "uint8", "float32"}
        Type of the numbers of an example: "uint8" for pixels from 0 to ``vae.scale``, which the encoder
        divides by it, or "float32" for numbers in the units of the model. "auto" takes uint8 for images whose
        pixels the model divides by a scale above 1.
    threshold : bool
        Whether the model was trained on pixels that were cut at one half; the encoder then cuts them.

    Raises
    ------
    UsageError
        If ``pixels`` is unknown, or "uint8" for a model that takes numbers.
    """
    scale = _scale_of(vae, pixels)
    plain = _plain(vae)
    with plain.at_rest():
        x, z, *conditions = inputs_of(plain, scale if scale != 1.0 else None)
        posterior = plain.infer(x / scale if scale != 1.0 else x, *conditions)
        outputs = OUTPUTS.get(type(posterior), ONLY_MEAN)
        encoder = Encoder(plain, scale=scale, threshold=threshold, outputs=outputs)
        decoder = Decoder(plain, scale=scale)
        seen = [_port(name, tensor, holds) for name, tensor, holds in _inputs(plain, scale, x, z, conditions)]
        codes = [
            _port(output.name, tensor, output.holds)
            for output, tensor in zip(outputs, encoder(x, *conditions), strict=True)
        ]
        (mean,) = decoder(z, *conditions)
        what = "mean of p(x|z)" if plain.accepts_missing is False else "value of each cell under p(x|z)"
        mean_port = _port("mean", mean, f"{what}, {_units(plain, scale)}", scale)
    first, second, *more = seen
    return Networks(
        plain,
        Network("encoder", encoder, (first, *more), tuple(codes), (x, *conditions)),
        Network("decoder", decoder, (second, *more), (mean_port,), (z, *conditions)),
        first.dtype,
        threshold,
    )


def _scale_of(vae: VAE, pixels: Pixels) -> float:
    """What the encoder divides by: 1 if it takes the model's own units."""
    if pixels not in ("auto", "uint8", "float32"):
        raise UsageError(f"pixels = {pixels!r}: must be 'auto', 'uint8' or 'float32'")
    if pixels == "uint8" and (vae.scale <= 1 or vae.accepts_missing):
        raise UsageError("pixels = 'uint8': this model takes numbers, not 8-bit pixels; leave pixels out")
    from_uint8 = pixels == "uint8" or (pixels == "auto" and len(vae.shape) == 3 and vae.scale > 1)
    return vae.scale if from_uint8 else 1.0


def _plain(vae: VAE) -> VAE:
    """The model itself if it is on the CPU and in float32, else a copy that is."""
    tensors = [*vae.parameters(), *vae.buffers()]
    if all(t.device.type == "cpu" and t.dtype in (torch.float32, torch.int64, torch.bool) for t in tensors):
        return vae
    return copy.deepcopy(vae).to("cpu", torch.float32)


def _inputs(
    vae: VAE, scale: float, x: Tensor, z: Tensor, conditions: Sequence[Tensor]
) -> Iterator[tuple[str, Tensor, str]]:
    yield "x", x, f"examples, {_units(vae, scale)}"
    yield "z", z, "codes"
    for c in conditions:
        assert vae.condition is not None
        kind = "one-hot label" if vae.condition.kind == "labels" else "condition vector"
        yield "condition", c, f"{kind} of each example"


def _units(vae: VAE, scale: float) -> str:
    if vae.accepts_missing:
        return "a column each; categories as their index, missing cells as NaN"
    if scale != 1.0:
        return f"pixels from 0 to {scale:g}"
    return f"in the units of the model, in which pixel {vae.scale:g} is 1" if vae.scale > 1 else "numbers"


def _port(name: str, tensor: Tensor, holds: str, unit: float = 1.0) -> Port:
    dtype = str(tensor.dtype).removeprefix("torch.")
    return Port(name, dtype, (BATCH, *tensor.shape[1:]), holds, unit)
