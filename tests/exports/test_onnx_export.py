"""An exported ONNX model computes what the model computes, by onnxruntime alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import elboroom
from elboroom import VAE
from elboroom.errors import FailureError, UsageError
from elboroom.exports import TARGETS, export
from elboroom.exports.checking import TOLERANCE
from elboroom.exports.networks import networks_of

ort = pytest.importorskip("onnxruntime", reason="onnxruntime, which runs ONNX files, is not here")
onnx = pytest.importorskip("onnx", reason="onnx, which writes ONNX files, is not here")
pytest.importorskip("onnxscript", reason="onnxscript, which writes ONNX files, is not here")

SHAPE = (6, 5, 3)
RANDOM = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
}


@pytest.fixture(scope="module")
def vae() -> VAE:
    torch.manual_seed(0)
    return VAE.build(shape=SHAPE, latent_dim=2, hidden=[16])


@pytest.fixture(scope="module")
def folder(vae: VAE, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exports") / "both"
    export(vae, out, ["onnx", "pt2"])
    return out


def pixels(n: int) -> NDArray[np.uint8]:
    return np.random.default_rng(n).integers(0, 256, (n, *SHAPE), dtype=np.uint8)


def run(path: Path, **inputs: NDArray[Any]) -> list[NDArray[Any]]:
    return ort.InferenceSession(path).run(None, inputs)


@pytest.mark.parametrize("n", [1, 2, 7, 33])
def test_it_computes_what_the_model_computes(vae: VAE, folder: Path, n: int) -> None:
    x = pixels(n)
    mean, scale = run(folder / "encoder.onnx", x=x)
    q: Any = vae.encode(x)
    np.testing.assert_allclose(mean, q.mean, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(scale, q.scale, rtol=0, atol=TOLERANCE)
    (decoded,) = run(folder / "decoder.onnx", z=mean)
    assert decoded.shape == x.shape
    np.testing.assert_allclose(decoded / 255, vae.reconstruct(x), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_pytorch_programs_compute_the_same(vae: VAE, folder: Path, n: int) -> None:
    encoder, decoder = (torch.export.load(folder / f"{name}.pt2").module() for name in ("encoder", "decoder"))
    x = torch.from_numpy(pixels(n))
    mean, scale = encoder(x)
    q: Any = vae.encode(x)
    torch.testing.assert_close(mean, q.mean)
    torch.testing.assert_close(scale, q.scale)
    (decoded,) = decoder(mean)
    torch.testing.assert_close(decoded / 255, vae.reconstruct(x))


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_the_file_says_what_it_takes_and_draws_nothing(folder: Path, name: str) -> None:
    model = onnx.load(folder / f"{name}.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 18)]
    assert not RANDOM & {node.op_type for node in model.graph.node}
    values = [*model.graph.input, *model.graph.output]
    assert {value.type.tensor_type.shape.dim[0].dim_param for value in values} == {"n"}
    assert all(value.doc_string for value in values)
    about = json.loads(next(entry.value for entry in model.metadata_props if entry.key == "elboroom"))
    whole = json.loads((folder / "export.json").read_text())
    assert about[name] == whole[name]
    assert [port["name"] for port in about[name]["inputs"]] == [value.name for value in model.graph.input]
    assert [port["name"] for port in about[name]["outputs"]] == [value.name for value in model.graph.output]
    assert whole["formats"]["onnx"]["opset"] == 18
    assert whole["formats"]["onnx"]["checked"]["batches"] == [1, 2, 7]


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_a_file_has_no_weights_but_its_own(tmp_path: Path, kind: str) -> None:
    """Else each would have all of them."""
    vae = VAE.build(shape=(4,), hidden=[2], decoder_hidden=[500, 500], latent_dim=1)
    networks = networks_of(vae)
    with vae.at_rest():
        TARGETS[kind].write([networks.encoder], tmp_path, {})
    assert (tmp_path / f"encoder.{kind}").stat().st_size < 100_000  # the decoder has a million


def test_no_file_names_a_folder_of_this_machine(folder: Path) -> None:
    """PyTorch's exporters write where in the code each operation stands."""
    for path in folder.iterdir():
        contents = [path.read_bytes()]
        if path.suffix == ".pt2":
            with zipfile.ZipFile(path) as archive:
                contents = [archive.read(name) for name in archive.namelist()]
        for content in contents:
            assert str(Path(elboroom.__file__).parent).encode() not in content
            assert b"site-packages" not in content
            assert str(Path.home()).encode() + b"/" not in content


ALONE = "import sys; sys.modules['elboroom'] = None\n"


def test_the_readmes_code_runs_without_elboroom(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    codes = [part.split("```")[0] for part in text.split("```python\n")[1:]]
    assert len(codes) == 2
    for code in codes:
        assert len(code.splitlines()) <= 10
        more = "print(tuple(mean.shape), tuple(scale.shape), tuple(decoded.shape), sorted(sys.modules))"
        made = subprocess.run(
            [sys.executable, "-c", f"{ALONE}{code}\n{more}"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        assert made.stdout.startswith("(2, 2) (2, 2) (2, 6, 5, 3)")
        assert "'elboroom." not in made.stdout
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run([sys.executable, "-c", f"{ALONE}import elboroom"], check=True, capture_output=True)


class _Noisy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + torch.randn_like(x)


class _Branching(_Noisy):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("net", "why"),
    [(_Noisy, "it draws random numbers"), (_Branching, "torch.export says")],
)
def test_a_network_that_cannot_be_exported_leaves_nothing(net: type, why: str, tmp_path: Path) -> None:
    vae = VAE(net(), nn.Linear(2, 4), elboroom.VAE.build(shape=(4,)).prior, shape=(4,))
    with pytest.raises(FailureError, match=f"the encoder cannot be exported: {why}"):
        export(vae, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_differs_from_the_model_is_not_left(vae: VAE, tmp_path: Path, monkeypatch: Any) -> None:
    save = onnx.save

    def spoilt(proto: Any, *args: Any, **kwargs: Any) -> None:
        tensor = next(one for one in proto.graph.initializer if len(one.raw_data) > 64)
        values = np.frombuffer(tensor.raw_data, np.float32).copy()
        values += 1e-4
        tensor.raw_data = values.tobytes()
        save(proto, *args, **kwargs)

    monkeypatch.setattr(onnx, "save", spoilt)
    with pytest.raises(FailureError, match=r"exported encoder differs from the model by .* more than 1e-05"):
        export(vae, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_replaced_only_if_asked_and_an_export(vae: VAE, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(vae, out, "pt2")
    before = (out / "encoder.pt2").read_bytes()
    with pytest.raises(UsageError, match=r"already contains an export; set overwrite=True to replace it"):
        export(vae, out, "pt2")
    assert (out / "encoder.pt2").read_bytes() == before
    export(vae, out, "onnx", overwrite=True)
    assert {path.name for path in out.iterdir()} == {
        "encoder.onnx",
        "decoder.onnx",
        "export.json",
        "README.md",
    }
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"contains files but no export"):
        export(vae, mine, "pt2", overwrite=True)
    with pytest.raises(UsageError, match=r"is not a folder"):
        export(vae, mine / "thesis.tex", "pt2", overwrite=True)
    assert (mine / "thesis.tex").read_text() == "years of work"


def test_wrong_arguments_are_named(vae: VAE, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"to = 'onxx': no such format; did you mean 'onnx'\?"):
        export(vae, tmp_path / "out", "onxx")
    with pytest.raises(UsageError, match=r"to is empty; name at least one of onnx, pt2"):
        export(vae, tmp_path / "out", [])
    with pytest.raises(UsageError, match=r"pixels = 'int8': must be"):
        export(vae, tmp_path / "out", pixels="int8")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"no run at"):
        export(tmp_path / "nowhere", tmp_path / "out")


# ONNX of a large network takes seconds: ``make battery`` makes both.
_LARGE = "onnx" if os.environ.get("ELBOROOM_EXPORTS") == "all" else "pt2"


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        ("onnx", {"network": "spatial", "conv_width": 4, "conv_levels": 1}),
        (_LARGE, {"network": "autoencoder-kl", "block_channels": (4, 8), "norm_groups": 2}),
    ],
    ids=["spatial", "autoencoder-kl"],
)
def test_attention_is_exported(form: str, fields: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(0)
    vae = VAE.build(shape=(4, 6, 3), likelihood="gaussian", attention=True, latent_channels=2, **fields)
    with torch.no_grad():
        for weight in vae.parameters():
            weight.add_(0.1 * torch.randn_like(weight))  # some start at 0
    found = export(vae, tmp_path / "x", form)["formats"][form]["checked"]["largest_difference"]
    assert max(found.values()) <= TOLERANCE
