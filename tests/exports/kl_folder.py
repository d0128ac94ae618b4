"""A tiny AutoencoderKL, its weights by a formula, and what diffusers 0.42.1 computes with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from elboroom.io.files import json_text

CONFIG: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "_diffusers_version": "0.42.1",
    **{"in_channels": 3, "out_channels": 3, "act_fn": "silu", "sample_size": 8, "force_upcast": True},
    "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"],
    "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"],
    **{"block_out_channels": [4, 8], "layers_per_block": 1, "latent_channels": 2, "norm_num_groups": 2},
    **{"scaling_factor": 0.25, "shift_factor": 0.5, "latents_mean": None, "latents_std": None},
    **{"use_quant_conv": True, "use_post_quant_conv": True, "mid_block_add_attention": True},
}


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that AutoencoderKL(**CONFIG) has."""
    found: dict[str, tuple[int, ...]] = {}

    def layer(name: str, *shape: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = shape, shape[:1]

    def block(name: str, seen: int, channels: int) -> None:
        layer(f"{name}.norm1", seen)
        layer(f"{name}.conv1", channels, seen, 3, 3)
        layer(f"{name}.norm2", channels)
        layer(f"{name}.conv2", channels, channels, 3, 3)
        if seen != channels:
            layer(f"{name}.conv_shortcut", channels, seen, 1, 1)

    for half in ("encoder", "decoder"):
        for i in (0, 1):
            block(f"{half}.mid_block.resnets.{i}", 8, 8)
        layer(f"{half}.mid_block.attentions.0.group_norm", 8)
        for part in ("to_q", "to_k", "to_v", "to_out.0"):
            layer(f"{half}.mid_block.attentions.0.{part}", 8, 8)
    layer("encoder.conv_in", 4, 3, 3, 3)
    block("encoder.down_blocks.0.resnets.0", 4, 4)
    layer("encoder.down_blocks.0.downsamplers.0.conv", 4, 4, 3, 3)
    block("encoder.down_blocks.1.resnets.0", 4, 8)
    layer("encoder.conv_norm_out", 8)
    layer("encoder.conv_out", 4, 8, 3, 3)
    layer("quant_conv", 4, 4, 1, 1)
    layer("post_quant_conv", 2, 2, 1, 1)
    layer("decoder.conv_in", 8, 2, 3, 3)
    for i in (0, 1):
        block(f"decoder.up_blocks.0.resnets.{i}", 8, 8)
        block(f"decoder.up_blocks.1.resnets.{i}", 4 if i else 8, 4)
    layer("decoder.up_blocks.0.upsamplers.0.conv", 8, 8, 3, 3)
    layer("decoder.conv_norm_out", 4)
    layer("decoder.conv_out", 3, 4, 3, 3)
    return found


def tensors() -> dict[str, Tensor]:
    """Weights that differ everywhere, by a formula."""
    found = {}
    for place, (name, shape) in enumerate(sorted(shapes().items())):
        numbers = torch.zeros(shape).numel()
        waves = torch.sin(torch.arange(numbers, dtype=torch.float64) * 1.7 + place)
        size = 0.5 / max(1, numbers // shape[0]) ** 0.5
        found[name] = (size * waves + (".norm" in name or "_norm" in name)).float().reshape(shape)
    return found


def write(
    folder: Path, config: Mapping[str, Any] = CONFIG, weights: Mapping[str, Tensor] | None = None
) -> Path:
    """Write a folder as diffusers does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json_text(config), encoding="utf-8")
    save_file(dict(weights or tensors()), folder / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    return folder


def images() -> Tensor:
    """Two images (2, 8, 12, 3) from 0 to 1."""
    return (torch.sin(torch.arange(576.0) * 0.37) * 0.5 + 0.5).reshape(2, 8, 12, 3)


def codes() -> Tensor:
    """Two codes (2, 2, 4, 6)."""
    return torch.cos(torch.arange(96.0) * 0.61).reshape(2, 2, 4, 6)
