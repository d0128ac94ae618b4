"""The interpreter of the page against PyTorch, for networks and distributions of every kind that it knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from elboroom.config.columns import Column
from elboroom.explorer.blob import Blob
from elboroom.explorer.columns import decoded_cells
from elboroom.explorer.heads import code_of, mean_of
from elboroom.explorer.layers import Translator
from elboroom.explorer.model import page_model
from elboroom.models.vae import VAE
from elboroom.probability import GaussianHead
from elboroom.probability.priors import StandardNormal

_IMAGE = {"shape": (9, 7, 3), "latent_dim": 3}
_COLUMNS = (
    Column(name="real", kind="real", location=5, scale=2),
    Column(name="positive", kind="positive", location=1, scale=0.5),
    Column(name="t", kind="real", family="student_t", location=-1, scale=3),
    Column(name="mixture", kind="positive", family="mixture", location=0.3, scale=0.7),
    Column(name="quantile", kind="real", family="quantile", knots=(0, 1, 5, 6), levels=(-2, -0.5, 0.4, 2)),
    Column(name="poisson", kind="count", family="poisson", location=1, scale=0.5),
    Column(name="nb", kind="count", location=2, scale=0.5),
    Column(name="zinb", kind="count", family="zero_inflated_negative_binomial", location=1.5, scale=0.3),
    Column(name="job", kind="category", categories=("cook", "nurse", "smith")),
    Column(name="town", kind="category", categories=("A", "B", "C", "D", "E")),
    Column(name="level", kind="ordinal", categories=("low", "middle", "high", "top")),
    Column(name="few", kind="ordinal", categories=("low", "high")),
    Column(name="yes", kind="boolean", categories=("no", "yes")),
    Column(name="real 2", kind="real", location=-3, scale=1),
)


def _custom() -> VAE:
    """Transposed convolutions, as many networks of others have them."""
    decoder = nn.Sequential(
        nn.Linear(3, 4 * 3 * 2),
        nn.Unflatten(1, (4, 3, 2)),
        nn.ConvTranspose2d(4, 6, (3, 4), stride=2, padding=1, output_padding=(1, 0)),
        nn.LeakyReLU(0.1),
        nn.ConvTranspose2d(6, 2, 3, stride=1, padding=1, bias=False),
        nn.Conv2d(2, 1, (3, 1), padding=(1, 0)),
        nn.ELU(),
        nn.Flatten(),
    )
    size = decoder(torch.zeros(1, 3)).shape[1]
    head = GaussianHead((size,), learn_scale="pixel", mean="sigmoid")
    decoder.append(nn.Linear(size, 2 * size))
    return VAE(nn.Linear(size, 6), decoder, StandardNormal(3), shape=(size,), likelihood=head)


CASES: dict[str, Any] = {
    "mlp": {**_IMAGE, "hidden": (13, 10)},
    "mlp layer silu": {**_IMAGE, "hidden": (12,), "normalization": "layer", "activation": "silu"},
    "mlp batch gelu": {**_IMAGE, "hidden": (12,), "normalization": "batch", "activation": "gelu"},
    "mlp tanh": {**_IMAGE, "hidden": (8,), "activation": "tanh", "likelihood": "continuous_bernoulli"},
    "mlp softplus": {**_IMAGE, "hidden": (8,), "activation": "softplus", "likelihood": "laplace"},
    "spectral": {**_IMAGE, "hidden": (8,), "decoder_norm": "spectral"},
    "levels": {**_IMAGE, "hidden": (8,), "likelihood": "categorical", "levels": 16},
    "conv": {**_IMAGE, "network": "conv", "conv_width": 8, "likelihood": "gaussian", "learn_scale": "pixel"},
    "conv batch": {"shape": (20, 33, 1), "network": "conv", "conv_width": 6, "normalization": "batch"},
    "conv none": {"shape": (12, 12, 1), "network": "conv", "conv_width": 4, "normalization": "none"},
    "conv layer": {"shape": (12, 12, 1), "network": "conv", "conv_width": 4, "normalization": "layer"},
    "grid": {"shape": (20, 33, 3), "network": "spatial", "conv_width": 8, "likelihood": "gaussian"},
    "grid attention": {"shape": (16, 24, 1), "network": "spatial", "conv_width": 4, "attention": True},
    "grid labels": {
        "shape": (8, 8, 1),
        "network": "spatial",
        "conv_width": 4,
        "condition": "labels",
        "condition_dim": 4,
    },
    "autoencoder-kl": {
        "shape": (16, 24, 3),
        "network": "autoencoder-kl",
        **{"block_channels": (4, 8, 8), "norm_groups": 2, "attention": True, "likelihood": "gaussian"},
    },
    "labels": {**_IMAGE, "hidden": (8,), "condition": "labels", "condition_dim": 4},
    "vectors": {**_IMAGE, "network": "conv", "conv_width": 4, "condition": "vectors", "condition_dim": 2},
    "full": {**_IMAGE, "hidden": (8,), "posterior": "full"},
    "sphere": {**_IMAGE, "hidden": (8,), "posterior": "power_spherical"},
    "rows": {"shape": (6,), "hidden": (8,), "likelihood": "gaussian", "standardize": True},
    "columns": {"shape": (len(_COLUMNS),), "hidden": (8,), "likelihood": "mixed", "columns": _COLUMNS},
    "transposed": _custom,
}


def _model(case: str) -> VAE:
    torch.manual_seed(0)
    made = CASES[case]
    vae = made() if callable(made) else VAE.build(**made)
    with torch.no_grad():
        for name, value in vae.named_parameters():
            if "parametrizations" not in name and "likelihood" not in name:
                value.add_(0.15 * torch.randn_like(value))  # so that nothing is 0 or 1
        for name, value in vae.named_buffers():
            if "running" in name:
                value.add_(torch.rand_like(value))
    return vae.eval()


@pytest.fixture(scope="module")
def page(chromium: Any, digits: Path) -> Iterator[Any]:
    """Any page, whose interpreter runs other programs too."""
    found = chromium.new_page()
    found.goto((digits / "explorer.html").resolve().as_uri())
    found.wait_for_function("() => window.explorer !== undefined")
    yield found
    found.close()


def _load(page: Any, vae: VAE, blob: Blob, decoder: Any, encoder: Any) -> None:
    given = vae.condition
    condition = None if given is None else {"inDecoder": given.beside_code > 0, "prior": None}
    facts = {
        **{"shape": list(vae.shape), "latentDim": vae.latent_dim, "decoder": decoder, "encoder": encoder},
        **{"sphere": getattr(vae.prior, "space", None) == "sphere", "condition": condition},
    }
    run = """async ([facts, index, text]) => {
        const arrays = await explorer.arrays.constructor.read(text, index);
        window.other = new explorer.model.constructor(facts, arrays); }"""
    page.evaluate(run, [facts, blob.index, blob.packed().decode()])


def _run(page: Any, what: str, rows: np.ndarray, conditions: np.ndarray | None) -> np.ndarray:
    run = f"""([rows, conditions]) => rows.map((row, i) => Array.from(other.{what}(
        new Float32Array(row), conditions && new Float32Array(conditions[i]))))"""
    return np.array(page.evaluate(run, [rows.tolist(), None if conditions is None else conditions.tolist()]))


@pytest.mark.parametrize("case", CASES)
def test_the_interpreter_computes_what_pytorch_computes(case: str, page: Any) -> None:
    """With weights in float32 the two differ by rounding alone."""
    vae, blob, rng = _model(case), Blob(), np.random.default_rng(1)
    to = Translator(blob, "float32")
    conditions = None if vae.condition is None else rng.dirichlet(np.ones(vae.condition.size), 4)
    codes = rng.normal(size=(4, vae.latent_dim))
    x = rng.uniform(0.05, 0.95, size=(4, *vae.shape)).astype(np.float32)
    plain = _plain(vae)
    with_condition: list[Any] = []
    if vae.conditioning is not None and vae.conditioning.to_input is not None:
        weight = to.matrix(vae.conditioning.to_input.weight)
        with_condition = [{"op": "addCondition", "weight": weight}]
    decoder = [*to.program(plain.decoder), *mean_of(to, vae.likelihood)]
    encoder = None
    if case not in ("columns", "rows"):
        encoder = [*with_condition, *to.program(plain.encoder), *code_of(to, vae.posterior)]
    _load(page, vae, blob, decoder, encoder)
    given = None if conditions is None else torch.from_numpy(conditions).float()
    exact = decoded_cells(vae.decode(codes, given)).reshape(4, -1)
    assert np.std(exact) > 1e-3
    np.testing.assert_allclose(_run(page, "decode", codes, conditions), exact, rtol=2e-4, atol=2e-5)
    if encoder is not None:
        code = vae.embed(x, given).numpy()
        found = _run(page, "encode", x.reshape(4, -1), conditions)
        np.testing.assert_allclose(found, code, rtol=2e-4, atol=2e-5)


def _plain(vae: VAE) -> VAE:
    from elboroom.explorer.model import with_rounded_weights

    return with_rounded_weights(vae, "float32")


@pytest.mark.parametrize("case", ["mlp", "conv", "labels", "columns", "rows", "spectral"])
def test_what_the_page_runs_is_as_exact_as_it_says(case: str, page: Any) -> None:
    vae, blob, rng = _model(case), Blob(), np.random.default_rng(2)
    labels = None if vae.condition is None else np.eye(vae.condition.size, dtype=np.float32)[:3]
    codes = rng.normal(size=(3, vae.latent_dim)).astype(np.float32)
    x: Any = rng.uniform(0.1, 0.9, (3, *vae.shape)).astype(np.float32)
    if case == "columns":
        x = np.ones_like(x)
    if labels is not None:
        from elboroom.models.conditioning import Examples

        x = Examples(x, labels)
    model = page_model(vae, blob, codes, labels, x)
    assert model.error.mean <= 0.5 / 255
    _load(page, vae, blob, model.decoder, model.encoder)
    exact = decoded_cells(vae.decode(codes, labels)).reshape(3, -1)
    width = 1.0 if len(vae.shape) == 3 else exact.std(0)
    found = _run(page, "decode", codes, labels)
    difference = np.abs(found - exact) / width
    assert difference.mean() == pytest.approx(model.error.mean, rel=0.02, abs=1e-5)
    assert difference.max() == pytest.approx(model.error.most, rel=0.02, abs=1e-5)


def test_a_larger_format_is_taken_where_eight_bits_are_too_few() -> None:
    vae = VAE.build(**{**_IMAGE, "hidden": ()})
    with torch.no_grad():
        vae.decoder[0].weight[:, 0] = 4000.0  # the other weights of each row are lost beside it
    codes = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    codes[:, 0] = 0
    assert page_model(vae, Blob(), codes, None, np.full((2, 9, 7, 3), 0.5)).weights == "float16"
