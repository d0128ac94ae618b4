"""Learned perceptual distance of images (LPIPS, arXiv:1801.03924), with weights that the user gives."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from elboroom.errors import UsageError
from elboroom.models.terms import Terms

_SHIFT = (-0.030, -0.088, -0.188)  # of channels from -1 to 1, before the trunk
_SCALE = (0.458, 0.448, 0.450)
_LEAST = 1e-20  # added to squared norms, where features are all zero and a root would have no slope

# Layers of torchvision's `features`: (place, output channels, kernel, stride, padding), or a pool's side and
# stride; "tap" takes what the layers so far put out.
_Step = tuple[int, int, int, int, int] | tuple[int, int] | str
_ALEX: tuple[_Step, ...] = (
    *((0, 64, 11, 4, 2), "tap", (3, 2), (3, 192, 5, 1, 2), "tap", (3, 2)),
    *((6, 384, 3, 1, 1), "tap", (8, 256, 3, 1, 1), "tap", (10, 256, 3, 1, 1), "tap"),
)


def _vgg() -> tuple[_Step, ...]:
    steps: list[_Step] = []
    place = 0
    for level, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
        if level:
            steps.append((2, 2))
            place += 1
        for _ in range(count):
            steps.append((place, width, 3, 1, 1))
            place += 2
        steps.append("tap")
    return tuple(steps)


_TRUNKS = {"AlexNet": _ALEX, "VGG-16": _vgg()}


class LPIPS:
    """Penalty Σ over layers of the mean over places of w · (a − b)², a and b features of unit length.

    The features are those of an image and of its reconstruction after five layers of a network that was
    trained to classify, each divided by its length at its place; w ≥ 0 weighs the channels of a layer
    (arXiv:1801.03924 eq. 1, version 0.1 of the weights). One channel stands for three equal ones. The value
    is multiplied by the numbers of an image, as if it were added to the error of each
    (arXiv:2112.10752), and averaged over examples and codes.

    The weights are neither trained nor part of the objective's state.

    Parameters
    ----------
    weights : mapping of str to Tensor
        Of AlexNet or VGG-16, ``features.N.weight`` as torchvision names them or ``net.sliceK.N.weight`` as
        the package lpips does, and of the five layers ``linK.model.1.weight``.
    shape : tuple of int
        Shape of the images, (h, w, c).
    value_range : (float, float)
        Values of black and white.

    Raises
    ------
    UsageError
        If the weights are others, or the images have neither one nor three channels or are too small.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        shape: Sequence[int],
        value_range: tuple[float, float] = (0.0, 1.0),
    ):
        if len(shape) != 3 or shape[2] not in (1, 3):
            raise UsageError(
                f"penalty lpips compares images (h, w, c) of 1 or 3 channels, and the model's examples have "
                f"shape {tuple(shape)}; leave it out"
            )
        tensors = _in_one_spelling(weights)
        first = tensors.get("features.0.weight")
        self.trunk = "AlexNet" if first is not None and first.shape[-1] == 11 else "VGG-16"
        self.steps = _TRUNKS[self.trunk]
        self.weights = _fitting(tensors, self.trunk)
        self.value_range = value_range
        smallest = next(side for side in range(1, 64) if _places(self.steps, side) > 0)
        if min(shape[:2]) < smallest:
            raise UsageError(
                f"penalty lpips with {self.trunk} takes images of at least {smallest} pixels along a side, "
                f"and the model's examples have shape {tuple(shape)}; leave it out"
            )
        self._at: dict[tuple[torch.device, torch.dtype], dict[str, Tensor]] = {}

    def __call__(self, terms: Terms) -> Tensor:
        """Compute the penalty, a scalar; in float32, as its differences are small."""
        means = terms.likelihood.mean
        with torch.autocast(means.device.type, enabled=False):
            kind = torch.promote_types(means.dtype, torch.float32)
            with torch.no_grad():
                real = self.features(terms.x.to(kind))
            drawn = self.features(means.flatten(0, 1).to(kind))
            total = means.new_zeros((), dtype=kind)
            heads = self._weights_at(means.device, kind)
            for k, (a, b) in enumerate(zip(real, drawn, strict=True)):
                apart = (b.reshape(-1, *a.shape) - a).square().flatten(0, 1)
                total = total + F.conv2d(apart, heads[f"lin{k}.model.1.weight"]).mean()
        return total * terms.x[0].numel()

    def features(self, images: Tensor) -> list[Tensor]:
        """Compute features of unit length, five of (n, channels, h', w'), of images (n, h, w, c)."""
        own = self._weights_at(images.device, images.dtype)
        black, white = self.value_range
        x = (images.permute(0, 3, 1, 2) - black) * (2 / (white - black)) - 1
        x = (x.expand(-1, 3, -1, -1) - own["shift"]) / own["scale"]
        found = []
        for step in self.steps:
            if isinstance(step, str):
                found.append(x * (x.square().sum(1, keepdim=True) + _LEAST).rsqrt())
            elif len(step) == 2:
                x = F.max_pool2d(x, *step)
            else:
                place, _, _, stride, padding = step
                name = f"features.{place}"
                x = F.relu(F.conv2d(x, own[f"{name}.weight"], own[f"{name}.bias"], stride, padding))
        return found

    def _weights_at(self, device: torch.device, kind: torch.dtype) -> dict[str, Tensor]:
        if (device, kind) not in self._at:
            constants = {"shift": torch.tensor(_SHIFT), "scale": torch.tensor(_SCALE)}
            channels = {name: value.view(1, 3, 1, 1) for name, value in constants.items()}
            both = {**self.weights, **channels}
            self._at = {(device, kind): {name: value.to(device, kind) for name, value in both.items()}}
        return self._at[device, kind]


def _places(steps: Sequence[_Step], side: int) -> int:
    """Places along a side of the last features."""
    for step in steps:
        if not isinstance(step, str):
            kernel, stride, padding = (*step, 0) if len(step) == 2 else step[2:]
            side = (side + 2 * padding - kernel) // stride + 1
            if side < 1:
                return 0
    return side


def _in_one_spelling(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as in torchvision and in the files of the five layers; classifiers and repetitions are left out.

    Raises
    ------
    UsageError
        If the file states another shift or scale of the channels.
    """
    found: dict[str, Tensor] = {}
    for name, value in weights.items():
        for key, own in (("scaling_layer.shift", _SHIFT), ("scaling_layer.scale", _SCALE)):
            if name == key and (len(said := value.flatten().tolist()) != 3 or not _near(said, own)):
                raise UsageError(
                    f"these weights are for images with {name} = {said}, and LPIPS "
                    f"has {list(own)}; give weights of LPIPS"
                )
        if name.startswith(("classifier.", "scaling_layer.", "lins.")):
            continue
        found[re.sub(r"^net\.slice\d\.", "features.", name)] = value
    return found


def _near(said: Sequence[float], own: Sequence[float]) -> bool:
    return all(abs(one - other) < 1e-6 for one, other in zip(said, own, strict=True))


def _fitting(tensors: Mapping[str, Tensor], trunk: str) -> dict[str, Tensor]:
    """Weights in float32, after a look at all names and shapes."""
    wanted: dict[str, tuple[int, ...]] = {}
    channels, taps = 3, 0
    for step in _TRUNKS[trunk]:
        if isinstance(step, str):
            wanted[f"lin{taps}.model.1.weight"] = (1, channels, 1, 1)
            taps += 1
        elif len(step) == 5:
            place, width, kernel, _, _ = step
            wanted[f"features.{place}.weight"] = (width, channels, kernel, kernel)
            wanted[f"features.{place}.bias"] = (width,)
            channels = width
    for name in {**wanted, **tensors}:
        own = tuple(tensors[name].shape) if name in tensors else None
        if own != wanted.get(name):
            have = "is missing" if own is None else f"has shape {own}"
            take = f"it is {wanted[name]}" if name in wanted else "there is none"
            raise UsageError(
                f"these are no weights of LPIPS on AlexNet or VGG-16: {name} {have}, and in {trunk} {take}; "
                "give features.N.weight, features.N.bias and linK.model.1.weight"
            )
        if name.startswith("lin") and bool((tensors[name] < 0).any()):
            raise UsageError(f"{name} has negative weights, which reward differences; give weights of LPIPS")
    return {name: tensors[name].detach().float() for name in wanted}
