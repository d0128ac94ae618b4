"""A folder that diffusers' ``AutoencoderKL.from_pretrained`` loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elboroom.errors import UsageError
from elboroom.exports.checking import largest_difference
from elboroom.exports.networks import Networks, networks_of
from elboroom.io.files import json_text, read_json, write_atomic
from elboroom.io.tensors import fingerprint, write_tensors
from elboroom.models.vae import VAE
from elboroom.networks.autoencoder_kl import KLEncoder
from elboroom.probability import GaussianHead
from elboroom.probability.location_scale import LaplaceHead, StudentTHead
from elboroom.probability.posteriors import DiagonalGaussianHead
from elboroom.runs.diffusers_config import CLASS, CONFIG, DOWN, UP
from elboroom.runs.diffusers_folder import KEPT, WEIGHTS, import_diffusers, to_diffusers
from elboroom.runs.run import Run

FILES = (CONFIG, WEIGHTS)
_WITH_A_MEAN = (GaussianHead, LaplaceHead, StudentTHead)
_UNKNOWN: dict[str, Any] = {"scaling_factor": 1.0, "shift_factor": None}


def write_diffusers(networks: Networks, folder: Path, about: Mapping[str, Any]) -> dict[str, float]:
    """Write config.json and the weights.

    Parameters
    ----------
    networks : Networks
        Of a model with ``network="autoencoder-kl"``.
    folder : path
        An existing folder.
    about : mapping
        The description of the export; what ``latents`` says of the codes goes into config.json.

    Returns
    -------
    dict
        Network → the largest difference between the model and what is read back from the folder.

    Raises
    ------
    UsageError
        If AutoencoderKL does not compute what the model computes.
    FailureError
        If the results differ.
    """
    vae = networks.vae
    why = why_not(vae, threshold=networks.threshold)
    if why is not None:
        raise UsageError(f"to = 'diffusers': {why}")
    latents = {key: value for key, value in about.get("latents", _UNKNOWN).items() if key != "origin"}
    write_atomic(folder / CONFIG, json_text({**_config(vae), **latents}, indent=2) + "\n")
    tensors = {
        to_diffusers(name): tensor
        for name, tensor in vae.state_dict().items()
        if name.startswith(("encoder.", "decoder."))
    }
    write_tensors(folder / WEIGHTS, tensors, {"format": "pt"})
    again, _, _ = import_diffusers(folder, vae.shape)
    again.scale = vae.scale
    other = networks_of(again, pixels=networks.pixels)  # type: ignore[arg-type]
    pairs = ((networks.encoder, other.encoder), (networks.decoder, other.decoder))
    with again.at_rest():
        return {
            one.name: largest_difference(one, lambda inputs, back=back: back.module(*inputs))  # type: ignore[misc]
            for one, back in pairs
        }


def why_not(vae: VAE, *, threshold: bool = False) -> str | None:
    """Say why AutoencoderKL cannot compute what a model computes; None if it can.

    Parameters
    ----------
    vae : VAE
        The model.
    threshold : bool
        Whether it was trained on pixels that were cut at one half.
    """
    posterior, likelihood = vae.posterior, vae.likelihood
    if not isinstance(vae.encoder, KLEncoder):
        network = "its networks" if vae.config is None else f"a network of the kind {vae.config.network!r}"
        return f"{network} has other layers than AutoencoderKL; train with network = 'autoencoder-kl'"
    exact = isinstance(posterior, DiagonalGaussianHead) and (posterior.scale, posterior.min_scale) == (
        "exp",
        0.0,
    )
    if not exact or vae.conditioning is not None:
        return "its posterior is not that of AutoencoderKL; build it with network = 'autoencoder-kl'"
    mean = getattr(likelihood, "mean", None) if isinstance(likelihood, _WITH_A_MEAN) else None
    if mean != "identity" or likelihood.in_shape != vae.shape:
        return (
            "AutoencoderKL's decoder puts out the mean alone, and this model's likelihood changes it or "
            "takes more; train with likelihood = 'gaussian', output = 'identity' and learn_scale = 'none' or "
            "'shared'"
        )
    if threshold:
        return "the model was trained on pixels cut at one half, which AutoencoderKL does not cut"
    return None


def latents_of(vae: VAE, run: Run | None) -> dict[str, Any]:
    """What config.json says of the codes: the factor that brings them to unit variance, and their mean.

    A run that was imported, or trained from an imported folder, keeps what its folder said, so that models of
    its codes stay valid. For others it is what the end of training or ``elboroom fit-prior`` measured.
    ``origin`` says which.

    Raises
    ------
    UsageError
        If it was measured with other weights than the run has now.
    """
    if run is None:
        return {**_UNKNOWN, "origin": "not measured"}
    if (run.path / KEPT).is_file():
        kept: dict[str, Any] = read_json(run.path / KEPT, "copy it again")
        return {**kept, "origin": "kept from the folder that was imported"}
    path = run.path / "latent_statistics.json"
    if not path.is_file():
        return {**_UNKNOWN, "origin": f"not measured; 'elboroom fit-prior {run.path}' measures it"}
    again = f"measure again with 'elboroom fit-prior {run.path} --overwrite'"
    found = read_json(path, again)
    prior = run.path / "fitted_prior.json"
    if "model" not in found and prior.is_file():  # older files are of the weights that fit-prior saw
        found["model"] = read_json(prior, again).get("model")
    if found.get("model") != fingerprint(vae.state_dict()):
        raise UsageError(f"{path} was measured with other weights than the run has now; {again}")
    factor, means, spread = (found[key] for key in ("overall_scaling_factor", "mean", "std"))
    return {
        "scaling_factor": 1.0 if factor is None else factor,
        "shift_factor": sum(means) / len(means),
        **{"latents_mean": means, "latents_std": spread},
        "origin": f"measured on {found['codes']} codes",
    }


def _config(vae: VAE) -> dict[str, Any]:
    encoder = vae.encoder
    assert isinstance(encoder, KLEncoder)
    sizes, channels = encoder.sizes, vae.shape[-1]
    levels = len(sizes.block_channels)
    return {
        "_class_name": CLASS,
        **{"in_channels": channels, "out_channels": channels},
        **{"down_block_types": [DOWN] * levels, "up_block_types": [UP] * levels},
        "block_out_channels": list(sizes.block_channels),
        "layers_per_block": sizes.blocks,
        "act_fn": "silu",
        "latent_channels": sizes.latent_channels,
        "norm_num_groups": sizes.groups,
        "sample_size": max(vae.shape[:2]),
        "force_upcast": True,
        **{"use_quant_conv": sizes.quant_conv, "use_post_quant_conv": sizes.quant_conv},
        "mid_block_add_attention": sizes.attention,
    }


def diffusers_code(networks: Networks) -> str:
    """Code with diffusers, which encodes two images and decodes their codes."""
    height, width, channels = networks.vae.shape
    lines = [
        "import torch",
        "from diffusers import AutoencoderKL",
        "",
        'vae = AutoencoderKL.from_pretrained(".")',
        f"x = torch.zeros(2, {channels}, {height}, {width})  # pixels from -1 (black) to 1 (white)",
        "codes = vae.encode(x).latent_dist.mean",
        "decoded = vae.decode(codes).sample",
    ]
    return "\n".join(lines)
