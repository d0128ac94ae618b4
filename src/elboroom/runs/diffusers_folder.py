"""A folder of diffusers' AutoencoderKL as a model: its config.json and safetensors, read without diffusers.

What the folder says is checked before a tensor is made: unknown keys and sizes without bounds are refused,
and the file's tensors must have the names and shapes that the configuration implies. Files that would have to
be unpickled are not read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from elboroom.config import Config, ModelConfig
from elboroom.errors import FailureError, UsageError, shortened
from elboroom.io.files import explain_reading
from elboroom.io.tensors import check_fits, first_unusable
from elboroom.models.vae import VAE
from elboroom.runs.diffusers_config import CLASS, CONFIG, Folder, read_folder

WEIGHTS = "diffusion_pytorch_model.safetensors"
KEPT = "diffusers.json"
"""File of a run that was imported or trained from such a folder: what belongs to its codes."""

KL_WEIGHT = 1e-6
"""Weight of the KL term beside a mean squared error over pixels, by which such models are trained."""
VARIANCE = 0.125
"""Of the Gaussian likelihood that an imported model gets, in model units: 1/2 in pixels from -1 to 1."""

_DTYPES = ("F32", "F16", "BF16")
# Names of the parts of attention in folders from before 2023.
_OLD = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def import_diffusers(path: Path, shape: tuple[int, ...] | None = None) -> tuple[VAE, Config, dict[str, Any]]:
    """Read a folder of diffusers' AutoencoderKL.

    Parameters
    ----------
    path : path
        The folder, as ``AutoencoderKL.save_pretrained`` writes it.
    shape : tuple of int, optional
        Shape of one image, (h, w, c). Default: the folder's ``sample_size``.

    Returns
    -------
    VAE, Config, dict
        The model, in evaluation mode; the configuration of a run of it; and what belongs to its codes. The
        folder has no likelihood: it gets a Gaussian of variance 1/8 in model units, with which beta = 1e-6 ·
        h·w·c makes the loss that of diffusers' examples, a mean squared error of pixels from -1 to 1 plus
        1e-6 · KL.

    Raises
    ------
    UsageError
        If the folder cannot be imported; the message names the file and the key or tensor.
    FailureError
        If weights are not finite, or do not fit into memory.
    """
    folder = read_folder(path)
    shape = folder.shape if shape is None else tuple(shape)
    if shape[-1] != folder.shape[-1]:
        raise UsageError(
            f"images of shape {shape} have {shape[-1]} channels, and {path} takes {folder.shape[-1]}; give "
            "images of that many"
        )
    size = shape[0] * shape[1] * shape[2] if len(shape) == 3 else 1
    config = Config().merged(
        {
            "data": {"source": None},
            "model": {**folder.fields, **likelihood_fields(), "shape": shape, "scale": 255.0},
            "objective": {"beta": KL_WEIGHT * size},
        }
    )
    weights = read_weights(folder, config.model)
    vae = VAE.build(config.model)
    vae.load_state_dict(weights, strict=False)  # the names were compared; the rest is the likelihood's
    return vae.eval(), config, folder.kept


def likelihood_fields() -> dict[str, Any]:
    """Fields of the likelihood that an imported model gets."""
    return {"likelihood": "gaussian", "likelihood_scale": VARIANCE**0.5}


def read_weights(folder: Folder, model: ModelConfig) -> dict[str, Tensor]:
    """Read the tensors of a folder in float32, under the names that a VAE has for them.

    Names, shapes and types are compared with the configuration before a tensor is read.
    """
    path = _weights_file(folder.path)
    with torch.device("meta"):
        wanted = {
            to_diffusers(name): tuple(tensor.shape)
            for name, tensor in VAE.build(model).state_dict().items()
            if name.startswith(("encoder.", "decoder."))
        }
    with explain_reading(path), path.open("rb"):
        check_fits(path)
    try:
        with safe_open(path, framework="pt") as file:
            names = {_renamed(name): name for name in file.keys()}  # noqa: SIM118
            found = {own: file.get_slice(name) for own, name in names.items()}
            _compare(
                path, {own: (tuple(one.get_shape()), one.get_dtype()) for own, one in found.items()}, wanted
            )
            weights = {to_own(own): file.get_tensor(name).float() for own, name in names.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise UsageError(f"{path} is damaged or cut short ({error}); copy or download it again") from None
    unusable = first_unusable(weights)
    if unusable is not None:
        raise FailureError(f"{path} has no usable model: {unusable}")
    return weights


def to_diffusers(name: str) -> str:
    """The name that diffusers has for a tensor of a VAE.

    Examples
    --------
    >>> to_diffusers("encoder.quant_conv.weight"), to_diffusers("encoder.conv_in.bias")
    ('quant_conv.weight', 'encoder.conv_in.bias')
    """
    return re.sub(r"^(?:encoder|decoder)\.(?=(?:post_)?quant_conv\.)", "", name)


def to_own(name: str) -> str:
    """The name that a VAE has for a tensor of diffusers.

    Examples
    --------
    >>> to_own("post_quant_conv.weight"), to_own("decoder.conv_in.bias")
    ('decoder.post_quant_conv.weight', 'decoder.conv_in.bias')
    """
    holder = {"quant_conv": "encoder.", "post_quant_conv": "decoder."}
    return holder.get(name.partition(".")[0], "") + name


def _renamed(name: str) -> str:
    """Bring a name of an old folder up to date."""
    return re.sub(
        r"(?<=\.attentions\.0\.)(query|key|value|proj_attn)(?=\.(?:weight|bias)$)", lambda m: _OLD[m[1]], name
    )


def _weights_file(path: Path) -> Path:
    """Find the file of weights, or say what is there instead."""
    if (path / WEIGHTS).is_file():
        return path / WEIGHTS
    stem = WEIGHTS.removesuffix(".safetensors")
    if (path / f"{WEIGHTS}.index.json").is_file():
        raise UsageError(
            f"{path} has its weights in several files; write them to one with "
            "save_pretrained(folder, max_shard_size='100GB')"
        )
    half = sorted(path.glob(f"{stem}.*.safetensors"))
    if half:
        raise UsageError(
            f"{path} has no {WEIGHTS}, but a variant, {half[0].name}; rename that one if it is what you want"
        )
    if (path / f"{stem}.bin").is_file():
        raise UsageError(
            f"{path} has its weights in {stem}.bin, a pickle, which can execute code and is not read; write "
            "them as safetensors with save_pretrained(folder, safe_serialization=True)"
        )
    raise UsageError(f"{path} contains no {WEIGHTS}; give a folder that {CLASS}.save_pretrained wrote")


def _compare(
    path: Path, found: Mapping[str, tuple[tuple[int, ...], str]], wanted: Mapping[str, tuple[int, ...]]
) -> None:
    """Compare names, shapes and types of tensors with those of the configuration."""
    for name, shape in wanted.items():
        if name not in found:
            raise UsageError(f"{path} does not fit its {CONFIG}: it has no {name}")
        own, kind = found[name]
        if own != shape:
            raise UsageError(f"{path} does not fit its {CONFIG}: {name} is {own}, and must be {shape}")
        if kind not in _DTYPES:
            raise UsageError(f"{path}: {name} is of type {kind}; only {', '.join(_DTYPES)} can be imported")
    for name in found:
        if name not in wanted:
            raise UsageError(
                f"{path} does not fit its {CONFIG}: it has {shortened(name)}, which belongs nowhere"
            )
