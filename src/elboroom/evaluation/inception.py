"""Inception, whose features the Fréchet distances of published tables are computed on.

The network is that of 2015 in the form which torch-fidelity and pytorch-fid share, so that their file of
weights fits once it has been converted; torch-fidelity itself unpickles that file without restriction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from elboroom.errors import UsageError
from elboroom.evaluation.pictures import checked_pictures

_SIDE = 299
_AT_ONCE = 32


class _Conv(NamedTuple):
    name: str
    width: int
    kernel: tuple[int, int]
    stride: int = 1

    @property
    def padding(self) -> tuple[int, int]:
        """The size stays, except where it is halved."""
        return (0, 0) if self.stride == 2 else (self.kernel[0] // 2, self.kernel[1] // 2)


_Path = tuple[str | _Conv | tuple[_Conv, _Conv], ...]  # pools by name, and forks of two convolutions


def _square(name: str, width: int, side: int, stride: int = 1) -> _Conv:
    return _Conv(name, width, (side, side), stride)


def _with_5x5(pooled: int) -> tuple[_Path, ...]:
    triple = _square("branch3x3dbl_2", 96, 3), _square("branch3x3dbl_3", 96, 3)
    return (
        (_square("branch1x1", 64, 1),),
        (_square("branch5x5_1", 48, 1), _square("branch5x5_2", 64, 5)),
        (_square("branch3x3dbl_1", 64, 1), *triple),
        ("mean", _square("branch_pool", pooled, 1)),
    )


def _with_7x7(width: int) -> tuple[_Path, ...]:
    across, down = (1, 7), (7, 1)
    return (
        (_square("branch1x1", 192, 1),),
        (
            _square("branch7x7_1", width, 1),
            _Conv("branch7x7_2", width, across),
            _Conv("branch7x7_3", 192, down),
        ),
        (
            _square("branch7x7dbl_1", width, 1),
            _Conv("branch7x7dbl_2", width, down),
            _Conv("branch7x7dbl_3", width, across),
            _Conv("branch7x7dbl_4", width, down),
            _Conv("branch7x7dbl_5", 192, across),
        ),
        ("mean", _square("branch_pool", 192, 1)),
    )


def _with_forks(pool: str) -> tuple[_Path, ...]:
    across, down = (1, 3), (3, 1)
    return (
        (_square("branch1x1", 320, 1),),
        (
            _square("branch3x3_1", 384, 1),
            (_Conv("branch3x3_2a", 384, across), _Conv("branch3x3_2b", 384, down)),
        ),
        (
            _square("branch3x3dbl_1", 448, 1),
            _square("branch3x3dbl_2", 384, 3),
            (_Conv("branch3x3dbl_3a", 384, across), _Conv("branch3x3dbl_3b", 384, down)),
        ),
        (pool, _square("branch_pool", 192, 1)),
    )


_HALVED_TO_17: tuple[_Path, ...] = (
    (_square("branch3x3", 384, 3, 2),),
    (
        _square("branch3x3dbl_1", 64, 1),
        _square("branch3x3dbl_2", 96, 3),
        _square("branch3x3dbl_3", 96, 3, 2),
    ),
    ("halved",),
)
_HALVED_TO_8: tuple[_Path, ...] = (
    (_square("branch3x3_1", 192, 1), _square("branch3x3_2", 320, 3, 2)),
    (
        _square("branch7x7x3_1", 192, 1),
        _Conv("branch7x7x3_2", 192, (1, 7)),
        _Conv("branch7x7x3_3", 192, (7, 1)),
        _square("branch7x7x3_4", 192, 3, 2),
    ),
    ("halved",),
)
_MIXED: dict[str, tuple[_Path, ...]] = {
    "Mixed_5b": _with_5x5(32),
    "Mixed_5c": _with_5x5(64),
    "Mixed_5d": _with_5x5(64),
    "Mixed_6a": _HALVED_TO_17,
    "Mixed_6b": _with_7x7(128),
    "Mixed_6c": _with_7x7(160),
    "Mixed_6d": _with_7x7(160),
    "Mixed_6e": _with_7x7(192),
    "Mixed_7a": _HALVED_TO_8,
    "Mixed_7b": _with_forks("mean"),
    "Mixed_7c": _with_forks("max"),  # as the network of 2015 has it
}


class Inception:
    """Features of pictures on the network that published Fréchet distances are computed on.

    Parameters
    ----------
    weights : mapping of str to Tensor
        As torch-fidelity and pytorch-fid name them. The last layer, of classes, may be there and is not used.
    fingerprint : str
        Of the weights, such as `elboroom.io.tensors.fingerprint`; distances carry a name made of it.

    Attributes
    ----------
    name : str
        Says which weights; distances are comparable between results of one name only.

    Raises
    ------
    UsageError
        If the weights are not those of this network.
    """

    def __init__(self, weights: Mapping[str, Tensor], fingerprint: str):
        self.name = f"inception-2048/{fingerprint[:12]}"
        with torch.device("meta"):
            self.network = InceptionNetwork()
        self.network.load_state_dict(_fitting(weights, self.network.state_dict()), assign=True)
        self.network.requires_grad_(False).eval()

    def features(self, images: ArrayLike) -> NDArray[np.float64]:
        """Compute features (n, 2048) of pictures (n, h, w, c) in [0, 1].

        They are rounded to 256 levels, as pictures in files are; one channel stands for three equal ones.

        Raises
        ------
        UsageError
            If they are not pictures of one or three channels.
        """
        x = checked_pictures(images)
        if x.shape[3] not in (1, 3):
            raise UsageError(f"pictures have {x.shape[3]} channels; Inception knows those of 1 or 3")
        parts = []
        with torch.no_grad():
            for start in range(0, len(x), _AT_ONCE):
                levels = torch.from_numpy(np.rint(255 * x[start : start + _AT_ONCE])).float()
                parts.append(self.network(levels.permute(0, 3, 1, 2).expand(-1, 3, -1, -1)))
        return torch.cat(parts).double().numpy()


class InceptionNetwork(nn.Module):
    """The layers, named as in the published weights, without the last one, of classes."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Layer(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = _Layer(32, 32, 3)
        self.Conv2d_2b_3x3 = _Layer(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = _Layer(64, 80, 1)
        self.Conv2d_4a_3x3 = _Layer(80, 192, 3)
        channels = 192
        for name, paths in _MIXED.items():
            block = _Mixed(channels, paths)
            self.add_module(name, block)
            channels = block.channels

    def forward(self, levels: Tensor) -> Tensor:
        """Compute features (n, 2048) of pictures (n, 3, h, w) with values from 0 to 255."""
        x = (_resized(levels) - 128) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = F.max_pool2d(x, 3, stride=2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = F.max_pool2d(x, 3, stride=2)
        for name in _MIXED:
            x = self.get_submodule(name)(x)
        return x.mean((2, 3))


class _Layer(nn.Module):
    """A convolution, normalised, without what is below zero."""

    def __init__(
        self,
        channels: int,
        width: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int | tuple[int, int] = 0,
    ):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Mixed(nn.Module):
    """Paths side by side, whose channels are put together."""

    def __init__(self, channels: int, paths: tuple[_Path, ...]):
        super().__init__()
        self.paths = paths
        self.channels = 0
        for path in paths:
            width = channels
            for step in path:
                convs = () if isinstance(step, str) else (step,) if isinstance(step, _Conv) else step
                for conv in convs:
                    layer = _Layer(width, conv.width, conv.kernel, conv.stride, conv.padding)
                    self.add_module(conv.name, layer)
                width = sum(conv.width for conv in convs) or width
            self.channels += width

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._along(path, x) for path in self.paths], 1)

    def _along(self, path: _Path, x: Tensor) -> Tensor:
        for step in path:
            if isinstance(step, str):
                x = _POOLS[step](x)
            elif isinstance(step, _Conv):
                x = self.get_submodule(step.name)(x)
            else:
                x = torch.cat([self.get_submodule(conv.name)(x) for conv in step], 1)
        return x


_POOLS = {
    "mean": lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False),
    "max": lambda x: F.max_pool2d(x, 3, 1, 1),
    "halved": lambda x: F.max_pool2d(x, 3, 2),
}


def _resized(x: Tensor) -> Tensor:
    """Scale to 299×299 as TensorFlow 1 did: bilinear, with the first pixels of both on one another."""
    for dim in (2, 3):
        size = x.shape[dim]
        places = torch.arange(_SIDE, dtype=torch.float32) * (size / _SIDE)
        low = places.long().clamp(max=size - 1)
        high = (low + 1).clamp(max=size - 1)
        share = (places - low).view(-1, *[1] * (3 - dim))
        x = torch.lerp(x.index_select(dim, low), x.index_select(dim, high), share)
    return x


def _fitting(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights in float32, with counts of batches, which old files lack and nothing uses, as zeros."""
    own = {
        name: value
        for name, value in weights.items()
        if not (name.startswith("fc.") or name.endswith("num_batches_tracked"))
    }
    counts = {name: torch.zeros((), dtype=torch.long) for name in wanted if name.endswith("_tracked")}
    for name in {**wanted, **own}:
        if name not in counts and _shape(own, name) != _shape(wanted, name):
            raise UsageError(
                "these are no weights of Inception of 2015 as torch-fidelity and pytorch-fid have them: "
                f"{name} is {_shape(own, name)}, and the network takes {_shape(wanted, name)}"
            )
    return counts | {name: value.float() for name, value in own.items()}


def _shape(tensors: Mapping[str, Tensor], name: str) -> str:
    return f"of shape {tuple(tensors[name].shape)}" if name in tensors else "missing"
