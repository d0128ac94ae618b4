"""The layers of a network in numbers: shapes, parameters, memory. It needs no data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# Weights, their gradients and Adam's two moments are of one size.
_COPIES_IN_TRAINING = 4


@dataclass(frozen=True)
class Row:
    """One layer of a chain.

    Attributes
    ----------
    name : str
        As in the state dict.
    what : str
        The layer in words, "Linear 784→400".
    shape : tuple of int
        Shape of its output for one example.
    parameters : int
        Its learned numbers; a tensor shared by two layers counts in the first.
    kept : int
        Bytes of one batch that it keeps until the backward pass and no earlier layer keeps.
    """

    name: str
    what: str
    shape: tuple[int, ...]
    parameters: int
    kept: int


@dataclass(frozen=True)
class Chain:
    """A network: its layers in the order in which they run."""

    name: str
    in_shape: tuple[int, ...]
    rows: tuple[Row, ...]

    @property
    def parameters(self) -> int:
        """How many numbers it learns."""
        return sum(row.parameters for row in self.rows)

    @property
    def kept(self) -> int:
        """Bytes of activations of one batch."""
        return sum(row.kept for row in self.rows)


@dataclass(frozen=True)
class Summary:
    """What :func:`summarize` counts; ``str()`` is a table of at most 110 columns.

    Attributes
    ----------
    chains : tuple of Chain
        Encoder and decoder of a VAE, or the one network.
    other_parameters : int
        Numbers learned elsewhere, such as a likelihood's scale or a prior's.
    parameter_bytes : int
        Size of all parameters in bytes.
    batch_size : int
        Examples in the batch that ``kept`` refers to.
    """

    chains: tuple[Chain, ...]
    other_parameters: int
    parameter_bytes: int
    batch_size: int

    @property
    def parameters(self) -> int:
        """How many numbers are learned in all."""
        return sum(chain.parameters for chain in self.chains) + self.other_parameters

    @property
    def training_bytes(self) -> int:
        """Weights, gradients and Adam's two moments."""
        return _COPIES_IN_TRAINING * self.parameter_bytes

    @property
    def activation_bytes(self) -> int:
        """Bytes that a batch keeps until the backward pass."""
        return sum(chain.kept for chain in self.chains)

    def __str__(self) -> str:
        lines: list[str] = []
        for chain in self.chains:
            lines += [*_table(chain, self.batch_size), ""]
        if self.other_parameters:
            lines.append(f"learned beside the networks: {self.other_parameters:,}")
        return "\n".join(
            [
                *lines,
                f"parameters   {self.parameters:>13,}",
                f"weights      {format_bytes(self.parameter_bytes):>13}   with gradients and Adam's two "
                f"moments {format_bytes(self.training_bytes)}",
                f"activations  {format_bytes(self.activation_bytes):>13}   of a batch of {self.batch_size}",
            ]
        )


def summarize(module: nn.Module, in_shape: Sequence[int], batch_size: int) -> Summary:
    """Count the parameters and memory of a network, or of a VAE's two networks.

    It runs one example of zeros in evaluation mode, on the module's own device, so custom layers are counted
    like any other. Weights, buffers and modes stay as they are.

    Parameters
    ----------
    module : nn.Module
        A network (b, *in_shape) → (b, ...), or a VAE: anything with ``encoder``, ``decoder`` and
        ``latent_dim``.
    in_shape : tuple of int
        Shape of one example.
    batch_size : int
        Examples in a step, for the memory of activations.

    Examples
    --------
    >>> from elboroom.networks import MLP
    >>> counted = summarize(MLP((6,), (2,), [5]), (6,), batch_size=10)
    >>> counted.parameters, counted.training_bytes
    (47, 752)
    >>> print(counted)
    network               from 6                          output               parameters     batch of 10
    -------------------------------------------------------------------------------------------------------
    0                     Linear 6→5                      5                            35           240 B
    1                     ReLU                            5                             0           200 B
    2                     Linear 5→2                      2                            12             0 B
    total                                                                              47           440 B
    <BLANKLINE>
    parameters              47
    weights              188 B   with gradients and Adam's two moments 752 B
    activations          440 B   of a batch of 10
    """
    networks = {"network": (module, tuple(in_shape))}
    if isinstance(getattr(module, "encoder", None), nn.Module) and hasattr(module, "latent_dim"):
        networks = {
            "encoder": (module.encoder, _seen_by_encoder(module, in_shape)),  # type: ignore[dict-item]
            "decoder": (module.decoder, (_code_size(module),)),  # type: ignore[dict-item]
        }
    seen: set[Tensor] = set()
    chains = tuple(_trace(name, part, shape, batch_size, seen) for name, (part, shape) in networks.items())
    other = sum(p.numel() for p in module.parameters() if p not in seen)
    size = sum(p.numel() * p.element_size() for p in module.parameters())
    return Summary(chains, other, size, batch_size)


def _code_size(vae: Any) -> int:
    """Length of the decoder's input: a code and, if the model is conditional, the condition."""
    conditioning = getattr(vae, "conditioning", None)
    return int(vae.latent_dim) + (0 if conditioning is None else int(conditioning.beside_code))


def _layers(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Layers to show: direct children, and those of sequences; any other block is one layer."""
    for child_name, child in module.named_children():
        path = f"{name}.{child_name}" if name else child_name
        if isinstance(child, nn.Sequential | nn.ModuleList) and len(child):
            yield from _layers(child, path)
        else:
            yield path, child


def _seen_by_encoder(vae: nn.Module, shape: Sequence[int]) -> tuple[int, ...]:
    """Shape of what the encoder sees: wider than a row of a table, if categories are one-hot."""
    return tuple(getattr(getattr(vae, "likelihood", None), "input_shape", shape))


class _Recorder:
    """Records one forward pass: which layer runs, its output's shape, and what autograd keeps."""

    def __init__(self, network: nn.Module):
        self.running: list[nn.Module] = [network]
        self.order: list[nn.Module] = []
        self.shapes: dict[nn.Module, tuple[int, ...]] = {}
        self.kept: dict[nn.Module, int] = {}
        self.saved: list[Tensor] = []  # kept alive, so that no address is reused
        own = (*network.parameters(), *network.buffers())
        self.addresses = {tensor.untyped_storage().data_ptr() for tensor in own}

    def enter(self, layer: nn.Module, _inputs: Any) -> None:
        self.running.append(layer)

    def leave(self, layer: nn.Module, _inputs: Any, output: Any) -> None:
        self.running.pop()
        if layer not in self.shapes:
            self.order.append(layer)
        self.shapes[layer] = tuple(output.shape[1:]) if isinstance(output, Tensor) else ()

    def keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self.addresses:
            self.addresses.add(storage.data_ptr())
            self.saved.append(tensor)
            layer = self.running[-1]
            self.kept[layer] = self.kept.get(layer, 0) + storage.nbytes()
        return tensor


def _trace(
    name: str, network: nn.Module, in_shape: tuple[int, ...], batch_size: int, seen: set[Tensor]
) -> Chain:
    """Run one example of zeros and record the chain; ``seen`` collects the parameters that were counted."""
    recorder = _Recorder(network)
    named = {layer: path for path, layer in _layers(network)} or {network: ""}
    like = next(network.parameters(), torch.empty(()))
    x = torch.zeros(1, *in_shape, dtype=like.dtype, device=like.device)
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with ExitStack() as stack, torch.enable_grad():
            for layer in named:
                stack.callback(layer.register_forward_pre_hook(recorder.enter).remove)
                stack.callback(layer.register_forward_hook(recorder.leave).remove)
            stack.enter_context(torch.autograd.graph.saved_tensors_hooks(recorder.keep, lambda t: t))
            output = network(x)
    finally:
        for module, mode in modes:
            module.training = mode

    def row(layer: nn.Module, path: str, shape: tuple[int, ...], own: Iterable[Tensor]) -> Row:
        fresh = [p for p in own if p not in seen]
        seen.update(fresh)
        kept = recorder.kept.get(layer, 0) * batch_size
        return Row(path, _describe(layer), shape, sum(p.numel() for p in fresh), kept)

    rest = [layer for layer in named if layer not in recorder.shapes]  # never called as modules
    rows = [
        row(layer, named[layer], recorder.shapes.get(layer, ()), layer.parameters())
        for layer in [*recorder.order, *rest]
    ]
    if network not in named:
        remainder = row(network, "", tuple(output.shape[1:]), network.parameters())
        rows += [remainder] if remainder.parameters or remainder.kept else []
    return Chain(name, in_shape, tuple(rows))


def _describe(layer: nn.Module) -> str:
    """Name a layer, with the sizes of linear and convolutional ones."""
    kind = type(layer).__name__
    if isinstance(layer, nn.Linear):
        return f"{kind} {layer.in_features}→{layer.out_features}"
    if isinstance(layer, nn.Conv2d):
        stride = "" if max(layer.stride) == 1 else f" /{_times(layer.stride)}"
        return f"{kind} {layer.in_channels}→{layer.out_channels}, {_times(layer.kernel_size)}{stride}"
    return kind


def _times(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))


def format_bytes(count: int) -> str:
    """Write a number of bytes in a suitable unit, in steps of 1000.

    Examples
    --------
    >>> format_bytes(999), format_bytes(12_345), format_bytes(2_000_000_000)
    ('999 B', '12.3 kB', '2.0 GB')
    """
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if count >= 1000**power:
            return f"{count / 1000**power:.1f} {unit}"
    return f"{count} B"


_COLUMNS = "{:<20.20}  {:<30.30}  {:<16.16}  {:>13}  {:>14}"


def _table(chain: Chain, batch_size: int) -> list[str]:
    head = _COLUMNS.format(
        chain.name, f"from {_times(chain.in_shape)}", "output", "parameters", f"batch of {batch_size}"
    )
    rows = [
        _COLUMNS.format(row.name, row.what, _times(row.shape), f"{row.parameters:,}", format_bytes(row.kept))
        for row in chain.rows
    ]
    total = _COLUMNS.format("total", "", "", f"{chain.parameters:,}", format_bytes(chain.kept))
    return [line.rstrip() for line in (head, "-" * 103, *rows, total)]
