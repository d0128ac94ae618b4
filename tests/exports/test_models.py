"""Every posterior, likelihood and network as ONNX, beside what the model's own methods give."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from elboroom import VAE
from elboroom.config.columns import FAMILIES, Column
from elboroom.config.likelihoods import LIKELIHOODS
from elboroom.config.networks import LAYERED, NETWORKS
from elboroom.config.posteriors import POSTERIORS
from elboroom.errors import UsageError
from elboroom.exports.checking import TOLERANCE
from elboroom.exports.description import describe
from elboroom.exports.networks import Network, networks_of
from elboroom.exports.onnx_files import write_onnx
from elboroom.exports.outputs import NO_SCALE, OUTPUTS
from elboroom.io.files import json_text

ort = pytest.importorskip("onnxruntime", reason="onnxruntime, which runs ONNX files, is not here")
pytest.importorskip("onnxscript", reason="onnxscript, which writes ONNX files, is not here")

SHAPE = (8, 8, 1)
_CONV = {"network": "conv", "conv_width": 4, "conv_levels": 2}
_LADDER = {**_CONV, "network": "ladder", "ladder_layers": (1, 1), "ladder_z_channels": 1}
_QUANTILE = {"knots": (-1.0, 0.0, 1.0, 3.0), "levels": (-1.5, 0.0, 0.5, 2.0)}


def _columns() -> list[Column]:
    """One of each family, of the first kind that takes it."""
    kinds = {family: kind for kind, families in reversed(FAMILIES.items()) for family in families}
    named = {"ordinal": ("low", "mid", "high"), "boolean": ("no", "yes")}
    return [
        Column(
            name=f"{kind} {family}",
            kind=kind,
            family=family,
            categories=named.get(kind, ()),
            location=0.5,
            scale=2.0,
            **(_QUANTILE if family == "quantile" else {}),
        )
        for family, kind in kinds.items()
    ]


# Small models that show every choice at least once; numbers of counts and of rows are not pixels.
CASES: dict[str, dict[str, Any]] = {
    "full": {"posterior": "full", "likelihood": "laplace", "learn_scale": "pixel"},
    "householder": {"posterior": "householder", "likelihood": "student_t", "normalization": "batch"},
    "planar": {"posterior": "planar", "posterior_steps": 2, "likelihood": "poisson"},
    "iaf": {"posterior": "iaf", "posterior_steps": 2, "likelihood": "categorical", "levels": 4, **_CONV},
    "sphere": {"posterior": "power_spherical", "likelihood": "gaussian", "output": "sigmoid"},
    "vq": {
        **{"posterior": "vq", "code_grid": (2,), "codebook_size": 8, "codebook_depth": 2},
        **{"likelihood": "discretized_logistic", "mixtures": 2, **_CONV},
    },
    "fsq": {
        **{"posterior": "fsq", "code_grid": (3,), "likelihood": "negative_binomial"},
        **{"condition": "labels", "condition_dim": 3, "condition_parts": ("encoder", "decoder")},
    },
    "deterministic": {
        **{"posterior": "deterministic", "likelihood": "zero_inflated_negative_binomial"},
        **{"decoder_norm": "spectral"},
    },
    "chain": {
        **{"network": "chain", "chain_dims": (2, 3), "chain_hidden": (4, 6), "condition": "vectors"},
        **{"likelihood": "continuous_bernoulli", "condition_dim": 2},
    },
    "ladder": {**_LADDER, "condition": "labels", "condition_dim": 3, "condition_names": ("a", "b", "c")},
    "spatial": {"network": "spatial", "conv_width": 4, "conv_levels": 1, "attention": True},
    "autoencoder-kl": {
        **{"network": "autoencoder-kl", "block_channels": (4, 8), "norm_groups": 2, "attention": True},
        "likelihood": "gaussian",
    },
    "rows": {"shape": (5,), "likelihood": "gaussian", "standardize": True, "learn_scale": "shared"},
    "table": {"likelihood": "mixed", "shape": (11,), "columns": _columns()},
}


def test_every_choice_has_its_case() -> None:
    def shown(part: str, default: str) -> set[str]:
        return {fields.get(part, default) for fields in CASES.values()}

    assert shown("posterior", "diagonal") == {*POSTERIORS}
    assert shown("likelihood", "bernoulli") == {*LIKELIHOODS}
    assert shown("network", "mlp") == {*NETWORKS}
    without = {kind for kind, outputs in OUTPUTS.items() if "scale" not in [each.name for each in outputs]}
    assert {*NO_SCALE} == without


def build(name: str) -> VAE:
    """With weights that make all outputs differ, as after training."""
    torch.manual_seed(0)
    fields = {"shape": SHAPE, "hidden": (8,), "latent_dim": 3, **CASES[name]}
    if fields.get("network", "mlp") != "mlp":
        del fields["hidden"]
    if fields.get("network") in (*LAYERED, "spatial", "autoencoder-kl") or fields.get("posterior") in (
        "vq",
        "fsq",
    ):
        del fields["latent_dim"]
    vae = VAE.build(**fields)
    with torch.no_grad():
        for weight in vae.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    if name == "rows":
        vae.likelihood.fit(torch.arange(5.0), torch.arange(1.0, 6.0))
    return vae


def inputs(name: str, vae: VAE, n: int) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    rng = np.random.default_rng(n)
    condition = {}
    if vae.condition is not None:
        labels = rng.integers(0, vae.condition.size, n)
        vectors = rng.normal(size=(n, vae.condition.size))
        made = np.eye(vae.condition.size)[labels] if vae.condition.kind == "labels" else vectors
        condition = {"condition": made.astype(np.float32)}
    if name == "rows":
        return rng.normal(3, 4, (n, 5)).astype(np.float32), condition
    if name == "table":
        x = np.abs(rng.normal(2, 3, (n, 11))).astype(np.float32)
        columns = vae.likelihood.columns
        for i, column in enumerate(columns):
            if column.categories:
                x[:, i] = rng.integers(0, len(column.categories), n)
            elif column.kind == "count":
                x[:, i] = x[:, i].round()
        x[rng.random(x.shape) < 0.3] = np.nan
        return x, condition
    return rng.integers(0, 256, (n, *SHAPE), dtype=np.uint8), condition


def gap(one: Any, other: Tensor) -> float:
    a, b = np.asarray(one, np.float64), other.numpy().astype(np.float64)
    assert a.shape == b.shape
    return float((np.abs(a - b) / np.maximum(1, np.abs(b))).max())


# As ONNX a few that hold most; the others as the graph that ONNX is made of, which takes a third of the time.
# ``make battery`` writes all.
_WHOLE = os.environ.get("ELBOROOM_EXPORTS") == "all"
AS_ONNX = {*CASES} if _WHOLE else {"full", "vq", "table"}


def runner(network: Network, folder: Path, name: str) -> Callable[..., list[Any]]:
    if name not in AS_ONNX:
        program = network.program.module()
        return lambda **given: [
            each.detach().numpy() for each in program(*map(torch.from_numpy, given.values()))
        ]
    write_onnx(network, folder, "{}")
    session = ort.InferenceSession(folder / f"{network.name}.onnx")
    assert [one.name for one in session.get_outputs()] == [port.name for port in network.outputs]
    return lambda **given: session.run(None, given)


@pytest.mark.parametrize("name", CASES)
def test_what_is_exported_agrees_with_the_model(name: str, tmp_path: Path) -> None:
    vae = build(name)
    networks = networks_of(vae)
    with vae.at_rest():
        encoder, decoder = (runner(network, tmp_path, name) for network in networks)
    for n in (1, 2, 7):
        x, condition = inputs(name, vae, n)
        q: Any = vae.encode(x, **condition)
        names = [port.name for port in networks.encoder.outputs]
        found = dict(zip(names, encoder(x=x, **condition), strict=True))
        with torch.no_grad():
            _check_encoded(found, q)
        assert ("scale" in found) != ("no_scale" in describe(networks))
        (decoded,) = decoder(z=found["mean"], **condition)
        expected = vae.decode(torch.from_numpy(found["mean"]), **condition).mean
        scale = vae.scale if networks.pixels == "uint8" else 1.0
        assert gap(decoded / scale, expected) <= TOLERANCE


def _check_encoded(found: dict[str, Any], q: Any) -> None:
    assert gap(found["mean"], q.mean) <= TOLERANCE
    if "factor" in found:
        assert gap(found["scale"] ** 2, q.covariance.diagonal(dim1=1, dim2=2)) <= TOLERANCE
        assert gap(found["factor"] @ found["factor"].swapaxes(1, 2), q.covariance) <= TOLERANCE
    elif "scale" in found:
        assert gap(found["scale"], q.scale) <= TOLERANCE
    if "concentration" in found:
        assert gap(found["concentration"], q.concentration) <= TOLERANCE
    if "indices" in found:
        assert found["indices"].tolist() == q.indices.tolist()


def test_the_description_names_classes_columns_and_layers() -> None:
    about = describe(networks_of(build("ladder")))
    assert about["condition"] == {"kind": "labels", "size": 3, "labels": ["a", "b", "c"]}
    assert about["layers"] == [[0, 4], [4, 20]]
    about = describe(networks_of(build("table")))
    assert [column["name"] for column in about["columns"]][:2] == ["real gaussian", "real student_t"]
    named = {column["kind"]: column["categories"] for column in about["columns"] if "categories" in column}
    assert named == {"ordinal": ["low", "mid", "high"], "boolean": ["no", "yes"]}
    assert about["pixels"] is None
    assert json.loads(json_text(about)) == about


def test_a_fixed_condition_is_inside() -> None:
    vae = build("fsq").eval().given(2)
    networks = networks_of(vae)
    assert [port.name for port in networks.encoder.inputs] == ["x"]
    x, _ = inputs("fsq", vae, 5)
    (mean, _) = networks.encoder.module(torch.from_numpy(x))
    assert torch.equal(mean, vae.embed(x))


def test_float_pixels_are_in_the_units_of_the_model() -> None:
    torch.manual_seed(0)
    vae = VAE.build(shape=SHAPE, hidden=[8], scale=16.0)
    networks = networks_of(vae, pixels="float32")
    assert networks.encoder.inputs[0].dtype == "float32"
    x = torch.rand(3, *SHAPE)
    mean, _ = networks.encoder.module(x)
    assert torch.equal(mean, vae.embed(x))
    (decoded,) = networks.decoder.module(mean)
    assert torch.equal(decoded, vae.reconstruct(x))


def test_pixels_cut_at_one_half_are_cut_inside() -> None:
    torch.manual_seed(0)
    vae = VAE.build(shape=SHAPE, hidden=[8])
    x = torch.arange(64, dtype=torch.uint8).reshape(1, *SHAPE) + 96  # 127 is below a half, 128 above
    mean, _ = networks_of(vae, threshold=True).encoder.module(x)
    assert torch.equal(mean, vae.embed((x >= 128).float()))


@pytest.mark.parametrize("case", ["rows", "table"])
def test_rows_of_numbers_are_no_pixels(case: str) -> None:
    with pytest.raises(UsageError, match=r"pixels = 'uint8': this model takes numbers"):
        networks_of(VAE.build(**CASES[case], hidden=[4], scale=1.0), pixels="uint8")


def test_a_model_in_float64_or_in_training_mode_is_left_as_it_is() -> None:
    torch.manual_seed(0)
    vae = VAE.build(shape=(4,), hidden=[8], normalization="batch", scale=1.0).double().train()
    before = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    networks = networks_of(vae)
    assert vae.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in vae.state_dict().items())
    x = torch.rand(3, 4)
    with networks.vae.at_rest():
        mean, _ = networks.encoder.module(x)
    torch.testing.assert_close(mean, vae.embed(x).float())


def test_it_leaves_the_random_generator_alone() -> None:
    vae = build("rows")
    state = torch.get_rng_state()
    networks_of(vae)
    assert torch.equal(torch.get_rng_state(), state)
