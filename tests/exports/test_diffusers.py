"""Export to diffusers and import of its folders: the same numbers, and what is refused."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from elboroom import VAE, load
from elboroom.cli.main import main
from elboroom.errors import UsageError
from elboroom.exports import export
from elboroom.runs.diffusers_folder import WEIGHTS, import_diffusers
from elboroom.runs.run import Run

from . import kl_folder

FIELDS: dict[str, Any] = {
    **{"shape": (8, 12, 3), "network": "autoencoder-kl", "block_channels": (4, 8), "norm_groups": 2},
    **{"latent_channels": 2, "attention": True, "likelihood": "gaussian"},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return kl_folder.write(tmp_path / "kl")


def test_an_imported_folder_computes_what_diffusers_computes(folder: Path) -> None:
    """Numbers that diffusers 0.42.1 puts out for these weights, images and codes."""
    vae, config, kept = import_diffusers(folder, (8, 12, 3))
    with torch.no_grad():
        q = vae.infer(kl_folder.images())
        mean, log_variance = q.mean.reshape(2, 2, 4, 6), 2 * q.scale.log().reshape(2, 2, 4, 6)
        pixels = 2 * vae.generate(kl_folder.codes().flatten(1)).mean - 1
    near: dict[str, Any] = {"rtol": 0, "atol": 1e-5}
    np.testing.assert_allclose(mean[1, :, 2, 3], [0.407568, -0.430893], **near)
    np.testing.assert_allclose(log_variance[1, :, 3, 5], [-0.226305, 0.283719], **near)
    assert mean.double().sum() == pytest.approx(0.3589652, abs=1e-4)
    assert log_variance.double().sum() == pytest.approx(3.6941809, abs=1e-4)
    np.testing.assert_allclose(pixels[1, 3, 4], [-0.225018, -0.250841, 0.29298], **near)
    np.testing.assert_allclose(pixels[0, 7, 11], [-0.287824, -0.6703, 0.406976], **near)
    assert pixels.double().sum() == pytest.approx(-68.982378, abs=1e-3)
    assert (kept["scaling_factor"], kept["shift_factor"]) == (0.25, 0.5)
    assert config.model.shape == (8, 12, 3)


def test_the_loss_of_an_imported_model_is_that_of_diffusers_examples(folder: Path) -> None:
    vae, config, _ = import_diffusers(folder, (8, 12, 3))
    with torch.no_grad():
        x = kl_folder.images()
        terms = vae(x)
        mean = terms.likelihood.mean
        errors = (2 * mean - 2 * x).square().mean((-3, -2, -1)).mean()
        constant = 288 * 0.5 * math.log(2 * math.pi * 0.125)
        loss = (terms.distortion.mean() - constant + config.objective.beta * terms.rate.mean()) / 288
    assert loss.item() == pytest.approx((errors + 1e-6 * terms.rate.mean()).item(), rel=1e-5)


def test_what_is_exported_is_what_was_imported(folder: Path, tmp_path: Path) -> None:
    assert (
        main(["import-diffusers", str(folder), "--out", str(tmp_path / "run"), "--shape", "8", "12", "3"])
        == 0
    )
    export(tmp_path / "run", tmp_path / "out", "diffusers")
    theirs, ours = (load_file(place / WEIGHTS) for place in (folder, tmp_path / "out"))
    assert {name: tuple(one.shape) for name, one in ours.items()} == kl_folder.shapes()
    assert all(torch.equal(theirs[name], ours[name]) for name in theirs)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    wanted = {name: value for name, value in kl_folder.CONFIG.items() if name != "_diffusers_version"}
    assert config == {**wanted, "sample_size": 12}


def test_a_run_is_exported_with_what_its_training_measured(tmp_path: Path) -> None:
    """The factor is that of the codes, and one of other weights is refused."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), np.uint8))
    words = (
        f"train {tmp_path}/x.npy --network autoencoder-kl --block-channels 4 8 --model.norm-groups 2 "
        "--beta 1e-6 --likelihood gaussian --epochs 1 --batch-size 20 --figures-every 0 --quiet"
    )
    run, out = tmp_path / "run", tmp_path / "out"
    assert main([*words.split(), "--out", str(run)]) == 0
    export(run, out, "diffusers")
    config = json.loads((out / "config.json").read_text())
    codes = Run(run).model().encode(np.load(tmp_path / "x.npy"))
    variance = codes.mean.var(unbiased=False) + codes.scale.square().mean()
    assert config["scaling_factor"] == pytest.approx(1 / variance.sqrt().item(), rel=0.05)
    found = json.loads((run / "latent_statistics.json").read_text())
    (run / "latent_statistics.json").write_text(json.dumps({**found, "model": "of another"}))
    with pytest.raises(UsageError, match="was measured with other weights than the run has now"):
        export(run, tmp_path / "again", "diffusers")


def test_diffusers_loads_what_is_exported(tmp_path: Path) -> None:
    """Without attention or convolutions around the code too; both ways, and back."""
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not here, which reads exported folders")
    for number, more in enumerate(({}, {"attention": False}, {"quant_conv": False, "conv_blocks": 2})):
        torch.manual_seed(number)
        vae, out = VAE.build(**{**FIELDS, **more}).eval(), tmp_path / str(number)
        about = export(vae, out, "diffusers")
        assert about["formats"]["diffusers"]["files"] == ["config.json", WEIGHTS]
        theirs = diffusers.AutoencoderKL.from_pretrained(out).eval()
        x, z = kl_folder.images(), kl_folder.codes()
        with torch.no_grad():
            q, found = vae.infer(x), theirs.encode(2 * x.permute(0, 3, 1, 2) - 1).latent_dist
            decoded = theirs.decode(z).sample.permute(0, 2, 3, 1)
            near: dict[str, Any] = {"rtol": 0, "atol": 1e-5}
            torch.testing.assert_close(q.mean, found.mean.flatten(1), **near)
            torch.testing.assert_close(2 * q.scale.log(), found.logvar.flatten(1), **near)
            torch.testing.assert_close(2 * vae.generate(z.flatten(1)).mean - 1, decoded, **near)
        theirs.save_pretrained(tmp_path / f"again{number}")
        again = import_diffusers(tmp_path / f"again{number}", vae.shape)[0]
        assert all(
            torch.equal(one, again.state_dict()[name])
            for name, one in vae.state_dict().items()
            if not name.startswith("likelihood.")
        )


def test_names_and_types_of_other_versions_are_read(folder: Path, tmp_path: Path) -> None:
    new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {}
    for name, tensor in kl_folder.tensors().items():
        for now, before in new.items():
            name = name.replace(f".{now}.", f".{before}.")
        old[name] = tensor.half()
    other = kl_folder.write(tmp_path / "old", weights=old)
    half, whole = (import_diffusers(place)[0].state_dict() for place in (other, folder))
    names = [name for name in whole if not name.startswith("likelihood.")]
    assert all(torch.equal(half[name], whole[name].half().float()) for name in names)


def test_a_folder_is_loaded_from_python(folder: Path) -> None:
    vae = load(folder)
    assert (vae.shape, vae.latent_shape) == ((8, 8, 3), (2, 4, 4))
    with pytest.raises(UsageError, match="import-diffusers"):
        Run(folder)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"network": "spatial", "conv_width": 4, "conv_levels": 1}, "network = 'autoencoder-kl'"),
        ({**FIELDS, "output": "sigmoid"}, "puts out the mean alone"),
        ({**FIELDS, "likelihood": "bernoulli"}, "puts out the mean alone"),
        ({**FIELDS, "learn_scale": "pixel"}, "puts out the mean alone"),
    ],
)
def test_what_autoencoder_kl_does_not_compute_is_refused(
    fields: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as error:
        export(
            VAE.build(**{"shape": (8, 12, 3), "likelihood": "gaussian", **fields}),
            tmp_path / "x",
            "diffusers",
        )
    assert words in str(error.value)
    assert not (tmp_path / "x").exists()


def _changed(**fields: Any) -> dict[str, Any]:
    return {**kl_folder.CONFIG, **fields}


def _nested(depth: int) -> Any:
    content: Any = 1
    for _ in range(depth):
        content = [content]
    return content


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (_changed(_class_name="AutoencoderTiny"), "only AutoencoderKL can be imported"),
        (_changed(_class_name=None), "only AutoencoderKL can be imported"),
        (_changed(tiles=2), "'tiles' is not known"),
        (_changed(act_fn="gelu"), "act_fn = 'gelu'"),
        (_changed(out_channels=4), "out_channels = 4"),
        (_changed(in_channels=99), "in_channels = 99"),
        (_changed(down_block_types=["AttnDownEncoderBlock2D"] * 2), "down_block_types"),
        (_changed(down_block_types=["DownEncoderBlock2D"]), "down_block_types"),
        (_changed(use_post_quant_conv=False), "use_post_quant_conv = False"),
        (_changed(block_out_channels=[10**9, 10**9]), "block_out_channels"),
        (_changed(block_out_channels=[4] * 9), "block_out_channels"),
        (_changed(block_out_channels=4), "block_out_channels = 4"),
        (_changed(layers_per_block=10**6), "layers_per_block = 1000000"),
        (_changed(layers_per_block=True), "layers_per_block = True"),
        (_changed(latent_channels=0), "latent_channels = 0"),
        (_changed(norm_num_groups=3), "does not divide"),
        (_changed(sample_size="8"), "sample_size = '8'"),
        (_changed(sample_size=9), "9×9 pixels cannot be halved"),
        (_changed(scaling_factor=-1), "scaling_factor = -1"),
        (_changed(shift_factor="0"), "shift_factor = '0'"),
        (_changed(latents_mean=[0.0]), "latents_mean"),
        (_changed(block_out_channels=_nested(50)), "block_out_channels"),
        (
            _changed(block_out_channels=[8, 8]),
            "encoder.conv_in.weight is (4, 3, 3, 3), and must be (8, 3, 3, 3)",
        ),
        (_changed(mid_block_add_attention=False), "which belongs nowhere"),
        (_changed(layers_per_block=2), "it has no "),
        ([1, 2], "does not hold a JSON object"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_by_name(
    config: Any, words: str, tmp_path: Path
) -> None:
    folder = kl_folder.write(tmp_path / "kl", config)
    with pytest.raises(UsageError) as error:
        import_diffusers(folder)
    assert words in str(error.value)
    assert (
        str(folder) in str(error.value) or "norm_groups" in str(error.value) or "pixels" in str(error.value)
    )
    assert "\n" not in str(error.value)


def _rename(folder: Path, name: str) -> None:
    (folder / WEIGHTS).rename(folder / name)


def _weights(folder: Path, **changes: Any) -> None:
    kl_folder.write(folder, weights={**kl_folder.tensors(), **changes})


HOSTILE: dict[str, tuple[Any, str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "contains no config.json"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), f"contains no {WEIGHTS}"),
    "pickle": (lambda f: _rename(f, "diffusion_pytorch_model.bin"), "a pickle"),
    "half": (lambda f: _rename(f, "diffusion_pytorch_model.fp16.safetensors"), "a variant"),
    "sharded": (lambda f: _rename(f, f"{WEIGHTS}.index.json"), "several files"),
    "cut": (lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-9]), "damaged or cut short"),
    "text": (lambda f: (f / WEIGHTS).write_text("hello"), "damaged or cut short"),
    "nan": (lambda f: _weights(f, **{"quant_conv.bias": torch.full((4,), torch.nan)}), "not finite"),
    "shape": (lambda f: _weights(f, **{"quant_conv.bias": torch.zeros(5)}), "is (5,), and must be (4,)"),
    "extra": (
        lambda f: _weights(f, **{"loss.logvar": torch.zeros(1)}),
        "'loss.logvar', which belongs nowhere",
    ),
    "integers": (
        lambda f: _weights(f, **{"quant_conv.bias": torch.zeros(4, dtype=torch.int8)}),
        "of type I8",
    ),
    "not json": (lambda f: (f / "config.json").write_text("{"), "damaged"),
    "deep": (lambda f: (f / "config.json").write_text("[" * 100_000), "nested too deeply"),
    "huge": (lambda f: (f / "config.json").write_text(" " * 2**21), "larger than 1 MB"),
    "pipeline": (lambda f: _inside(f, "vae"), "give "),
}


def _inside(folder: Path, name: str) -> None:
    shutil.copytree(folder, folder.parent / name)
    shutil.rmtree(folder)
    folder.mkdir()
    (folder.parent / name).rename(folder / name)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_folder_that_is_not_right_is_refused_in_one_line(
    case: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, words = HOSTILE[case]
    change(folder)
    code = main(["import-diffusers", str(folder), "--out", str(tmp_path / "run")])
    text = capsys.readouterr().err.replace("\n", " ")
    assert code == (1 if case == "nan" else 2)
    assert words in text
    assert "Traceback" not in text
    assert not (tmp_path / "run").exists()
