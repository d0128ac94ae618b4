"""The choice of a device and of the precision of its matrix products."""

from __future__ import annotations

import os

import torch
from torch import nn

from elboroom.errors import UsageError

# Multiply-adds per step below which casting costs more than faster products save (2 AVX-512 cores).
_PAYS_FROM = 20_000_000


def find_device(name: str) -> torch.device:
    """Resolve "auto", "cpu", "cuda", "cuda:1", "mps".

    Raises
    ------
    UsageError
        If there is no device of that name.
    """
    have = ["cpu"]
    have += [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    have += ["mps"] if torch.backends.mps.is_available() else []
    if name in ("auto", "cuda") and len(have) > 2:  # each process of a launcher has its own
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    if name == "auto":
        return torch.device(have[1] if len(have) > 1 else "cpu")
    if name not in have and not (name == "cuda" and "cuda:0" in have):
        raise UsageError(
            f"device = {name!r} is not available; this machine has {', '.join(have)}, and device = "
            f"'auto' chooses one"
        )
    return torch.device(name)


def works_apart(device: torch.device) -> bool:
    """Whether the device computes while the host goes on: reading a number from it means waiting for it."""
    return device.type != "cpu"


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


def find_precision(name: str, device: torch.device, model: nn.Module, batch_size: int) -> str:
    """Resolve "auto": "bf16" where the hardware has it and the products are large enough, else "fp32".

    Parameters
    ----------
    name : {"auto", "fp32", "bf16"}
        "bf16" multiplies in bfloat16 and keeps weights, sums, densities and the optimiser in float32.
    device : torch.device
        Device that it is trained on.
    model : nn.Module
        Its weights are counted. Convolutions use each weight many times, which favours bf16 further.
    batch_size : int
        Examples per step.
    """
    if name != "auto":
        return name
    parameters = list(model.parameters())
    if not has_bf16(device) or any(p.dtype != torch.float32 for p in parameters):
        return "fp32"
    multiply_adds = batch_size * sum(p.numel() for p in parameters if p.dim() > 1)
    return "bf16" if multiply_adds >= _PAYS_FROM else "fp32"
