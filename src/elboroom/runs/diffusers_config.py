"""The config.json of diffusers' AutoencoderKL: what it may ask for, checked key by key."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elboroom.errors import UsageError, nearest, shortened
from elboroom.io.files import explain_reading, parse_json

CLASS = "AutoencoderKL"
CONFIG = "config.json"

_LARGEST_CONFIG = 2**20  # bytes
_MOST_LEVELS, _MOST_CHANNELS = 8, 8192
_MOST = {"layers_per_block": 32, "latent_channels": 1024, "in_channels": 4, "sample_size": 2**16}
DOWN, UP = "DownEncoderBlock2D", "UpDecoderBlock2D"
# Keys, with what AutoencoderKL takes if they are missing.
DEFAULTS: dict[str, Any] = {
    **{"in_channels": 3, "out_channels": 3, "down_block_types": [DOWN], "up_block_types": [UP]},
    **{"block_out_channels": [64], "layers_per_block": 1, "act_fn": "silu", "latent_channels": 4},
    **{"norm_num_groups": 32, "sample_size": 32, "scaling_factor": 0.18215, "shift_factor": None},
    **{"latents_mean": None, "latents_std": None, "force_upcast": True, "use_quant_conv": True},
    **{"use_post_quant_conv": True, "mid_block_add_attention": True},
}
KEPT_KEYS = ("scaling_factor", "shift_factor", "latents_mean", "latents_std", "force_upcast")


@dataclass(frozen=True)
class Folder:
    """What a folder's config.json says.

    Attributes
    ----------
    path : Path
        The folder.
    fields : dict
        Of the model's configuration: the networks.
    shape : tuple of int
        Shape of the images that it was made for, (h, w, c); the networks take others too.
    kept : dict
        What belongs to its codes, such as ``scaling_factor``, by the names that diffusers uses.
    """

    path: Path
    fields: dict[str, Any]
    shape: tuple[int, int, int]
    kept: dict[str, Any]


def is_diffusers(path: Path) -> bool:
    """Whether a folder has the config.json of a model of diffusers, of any class."""
    with suppress(UsageError, OSError):
        return "_class_name" in _content(path / CONFIG)
    return False


def read_folder(path: Path) -> Folder:
    """Read and check the config.json of a folder.

    Raises
    ------
    UsageError
        If it is missing, of another class, or asks for what these networks do not have; the key is named.
    """
    if not (path / CONFIG).is_file():
        inner = [name for name in ("vae", "autoencoder") if (path / name / CONFIG).is_file()]
        fix = f"give {path / inner[0]}" if inner else "give a folder that AutoencoderKL.save_pretrained wrote"
        raise UsageError(f"{path} contains no {CONFIG}; {fix}")
    given = _content(path / CONFIG)
    named = given.get("_class_name")
    if named != CLASS:
        what = "names no class" if named is None else f"is of the class {shortened(named)}"
        raise UsageError(f"{path / CONFIG} {what}; only {CLASS} can be imported")
    for key in given:
        if key not in DEFAULTS and not key.startswith("_"):
            raise UsageError(f"{path / CONFIG}: {shortened(key)} is not known; {nearest(key, DEFAULTS)}")
    config = _Checked(path / CONFIG, {**DEFAULTS, **given})
    channels = config.whole("in_channels")
    widths = config.wholes("block_out_channels")
    config.equal("out_channels", channels)
    config.equal("down_block_types", [DOWN] * len(widths))
    config.equal("up_block_types", [UP] * len(widths))
    if config.values["act_fn"] != "swish":  # another name of the same
        config.equal("act_fn", "silu")
    quant = config.flag("use_quant_conv")
    config.equal("use_post_quant_conv", quant)
    fields: dict[str, Any] = {
        **{"network": "autoencoder-kl", "block_channels": widths, "quant_conv": quant},
        **{
            "conv_blocks": config.whole("layers_per_block"),
            "latent_channels": config.whole("latent_channels"),
        },
        **{
            "norm_groups": config.whole("norm_num_groups"),
            "attention": config.flag("mid_block_add_attention"),
        },
    }
    config.flag("force_upcast")
    config.codes(fields["latent_channels"])
    side = config.whole("sample_size")
    kept = {key: config.values[key] for key in KEPT_KEYS}
    return Folder(path, fields, (side, side, channels), kept)


@dataclass(frozen=True)
class _Checked:
    """The values of a file, each checked when it is asked for."""

    path: Path
    values: dict[str, Any]

    def whole(self, key: str) -> int:
        """A positive whole number that is not too large."""
        most = _MOST.get(key, _MOST_CHANNELS)
        value = self.values[key]
        if type(value) is not int or not 1 <= value <= most:
            raise self._wrong(key, f"a whole number from 1 to {most}")
        return value

    def wholes(self, key: str) -> tuple[int, ...]:
        """One or several of them."""
        value = self.values[key]
        fits = isinstance(value, list) and 1 <= len(value) <= _MOST_LEVELS
        if not fits or not all(type(one) is int and 1 <= one <= _MOST_CHANNELS for one in value):
            raise self._wrong(key, f"1 to {_MOST_LEVELS} whole numbers from 1 to {_MOST_CHANNELS}")
        return tuple(value)

    def flag(self, key: str) -> bool:
        """True or False."""
        value = self.values[key]
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def equal(self, key: str, wanted: object) -> None:
        """Refuse another value than the one that these networks have."""
        if self.values[key] != wanted:
            raise self._wrong(key, f"{wanted!r}")

    def codes(self, channels: int) -> None:
        """Check the keys that say how codes are scaled."""
        scale, shift = self.values["scaling_factor"], self.values["shift_factor"]
        if not (_is_number(scale) and scale > 0):
            raise self._wrong("scaling_factor", "a number above 0")
        if not (shift is None or _is_number(shift)):
            raise self._wrong("shift_factor", "a number or null")
        for key in ("latents_mean", "latents_std"):
            each = self.values[key]
            if each is None:
                continue
            if not (isinstance(each, list) and len(each) == channels and all(map(_is_number, each))):
                raise self._wrong(key, f"{channels} numbers or null")

    def _wrong(self, key: str, allowed: str) -> UsageError:
        return UsageError(
            f"{self.path}: {key} = {shortened(self.values[key])}; only {allowed} can be imported"
        )


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _content(path: Path) -> dict[str, Any]:
    fix = "copy or download it again"
    with explain_reading(path), path.open("rb") as file:
        text = file.read(_LARGEST_CONFIG + 1)
    if len(text) > _LARGEST_CONFIG:
        raise UsageError(f"{path} is larger than 1 MB, which no configuration of {CLASS} is; {fix}")
    content = parse_json(text, path, fix)
    if not isinstance(content, dict):
        raise UsageError(f"{path} is damaged (it does not hold a JSON object); {fix}")
    return content
