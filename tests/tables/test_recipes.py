"""Each recipe on a mixed table: trained, or refused with a reason; and other ways of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elboroom
from elboroom.config import Config
from elboroom.config.columns import Column
from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.errors import UsageError
from elboroom.evaluation import evaluate, evaluate_columns
from elboroom.objectives import RECIPES, recipe
from elboroom.training import fit_many
from elboroom.training.prepare import build
from elboroom.training.together import train as together

from .test_evaluate import table

# Their likelihood is one for all columns; with the mixed one they are trained.
OF_NUMBERS = ("wae-mmd", "rae-l2", "rae-gp", "rae-sn")
REFUSED = {
    **dict.fromkeys(OF_NUMBERS, "column 'job' is category, and this model takes plain numbers"),
    "sigma-vae": "choose likelihood='mixed'",  # a gaussian scale
    "continuous-bernoulli": "choose likelihood='mixed'",
    "discretized-logistic": "choose likelihood='mixed'",
    "ms-ssim-vae": "compares images (h, w, c)",
    **dict.fromkeys(("tokenizer", "tokenizer-vq", "tokenizer-fsq"), "got examples of shape (5,)"),
    "vae-gan": "network = 'mlp' takes, not 'conv'",
    "two-layer": "network = 'mlp' takes, not 'chain'",
    "ladder": "network = 'mlp' takes, not 'ladder'",
}
NO_DENSITY = ("ae", "aae", "vq-vae", "residual-vq", "fsq", *OF_NUMBERS)  # of codes
SMALL: dict[str, Any] = {"epochs": 1, "batch_size": 40, "seed": 1}
NUM_SAMPLES = ("iwae", "missing-iwae", "miwae", "piwae", "ciwae", "dreg")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return table(160)


def _trained(config: Config, data: Dataset) -> elboroom.VAE:
    vae = build(config, data)
    history = elboroom.fit(vae, data, config=config, quiet=True)
    assert np.isfinite(history[-1]["loss"])
    assert all(parameter.isfinite().all() for parameter in vae.parameters())
    return vae


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in REFUSED or name in OF_NUMBERS])
def test_a_recipe_is_trained_and_measured(name: str, data: Dataset) -> None:
    fewer = (
        {"num_samples": 4} if name in NUM_SAMPLES and RECIPES[name].fields.get("bound_groups") is None else {}
    )
    likelihood = {"likelihood": "mixed"} if name in OF_NUMBERS else {}
    vae = _trained(recipe(name, hidden=(8,), **SMALL, **fewer, **likelihood), data)
    rows, batches = data.indices("test")[:8], Batches(data, torch.device("cpu"))
    found = evaluate(vae, batches, rows, num_samples=0 if name in NO_DENSITY else 3)
    assert np.isfinite(found["elbo"])
    assert all(np.isfinite(column["nats"]) for column in evaluate_columns(vae, batches, rows))
    assert vae.sample(2).isfinite().all()
    assert vae.reconstruct(data.x[rows]).isfinite().all()


@pytest.mark.parametrize("name", REFUSED)
def test_a_recipe_that_does_not_suit_tables_is_refused_in_one_line(name: str, data: Dataset) -> None:
    likelihood = {"likelihood": "mixed"} if "network" in REFUSED[name] else {}
    with pytest.raises(UsageError) as error:
        _trained(recipe(name, **SMALL, **likelihood), data)
    assert REFUSED[name] in str(error.value)
    assert "\n" not in str(error.value)


def _of_other_families(data: Dataset) -> Dataset:
    families: dict[str, dict[str, Any]] = {
        "age": {"family": "mixture"},
        "job": {"kind": "ordinal", "family": "ordinal"},
        "smokes": {"family": "categorical"},
        "income": {"family": "quantile"},
        "children": {"family": "zero_inflated_negative_binomial"},
    }
    columns = tuple(Column(**{**dict(column), **families[column.name]}) for column in data.columns)
    return Dataset("others", data.x, data.split, columns=columns)


def _labelled(data: Dataset) -> Dataset:
    labels = np.arange(len(data)) % 3
    return Dataset("labelled", data.x, data.split, labels, columns=data.columns)


@pytest.mark.parametrize("options", [{}, {"prior": "vamp", "condition_parts": ("decoder",)}])
def test_conditional_models_of_tables(options: dict[str, Any], data: Dataset) -> None:
    labelled = _labelled(data)
    vae = _trained(Config().updated(condition="labels", hidden=(8,), **SMALL, **options), labelled)
    assert vae.sample(2, condition=[0, 2]).shape == (2, 5)
    nll = vae.nll(data.x[:4], 5, condition=labelled.labels[:4]).value
    assert nll.isfinite().all()


def test_seeds_are_trained_in_batched_steps(
    data: Dataset, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "_TRACED_FROM", 2)
    data = _of_other_families(data)
    configs = [Config().updated(hidden=(8,), **(SMALL | {"seed": seed})) for seed in (1, 2)]
    found = fit_many(configs, data)
    assert "one after the other" not in "".join(capsys.readouterr())
    for config, fitted in zip(configs, found, strict=True):
        alone = _trained(config, data)
        torch.testing.assert_close(
            fitted.vae.embed(data.x[:9]), alone.embed(data.x[:9]), atol=2e-4, rtol=2e-4
        )


def test_accumulated_steps_are_those_of_the_whole_batch(data: Dataset) -> None:
    one = _trained(Config().updated(hidden=(8,), num_samples=1, **SMALL), data)
    two = _trained(Config().updated(hidden=(8,), **(SMALL | {"batch_size": 20}), accumulate=2), data)
    torch.testing.assert_close(one.embed(data.x[:9]), two.embed(data.x[:9]), atol=1e-4, rtol=1e-4)


def test_bf16_products_leave_the_densities_exact(data: Dataset) -> None:
    vae = _trained(Config().updated(hidden=(8,), precision="bf16", **SMALL), data)
    found = evaluate(vae, Batches(data, torch.device("cpu")), np.arange(8), num_samples=3, precision="bf16")
    assert np.isfinite(found["nll"])


def test_a_model_is_saved_and_a_run_is_resumed(data: Dataset, tmp_path: Path) -> None:
    ordinal = _of_other_families(data)
    config = Config().updated(hidden=(8,), **SMALL)
    vae = build(config.updated(epochs=2), ordinal)
    elboroom.fit(vae, ordinal, config=config.updated(epochs=2), out=tmp_path / "whole", quiet=True)
    first = build(config, ordinal)
    elboroom.fit(first, ordinal, config=config, out=tmp_path / "run", quiet=True)
    again = elboroom.load(tmp_path / "run")
    elboroom.fit(
        again, ordinal, config=config.updated(epochs=2), out=tmp_path / "run", resume=True, quiet=True
    )
    for (name, value), resumed in zip(vae.state_dict().items(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(resumed, value, msg=name)
    vae.save(tmp_path / "model.safetensors")
    loaded = elboroom.load(tmp_path / "model.safetensors")
    seen = ordinal.x[:9]
    torch.manual_seed(0)
    before = vae.elbo(seen)
    torch.manual_seed(0)
    assert torch.equal(loaded.elbo(seen), before)  # the learned thresholds are in the file
    assert loaded.config == vae.config
    assert torch.equal(loaded.embed(ordinal.x[:9]), vae.embed(ordinal.x[:9]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"binarize": "threshold"}, "makes pixels black or white, and table is a table"),
        ({"pixel_scale": 10.0}, "pixel_scale = 10 divides pixels"),
        ({"dequantize": "uniform"}, "adds noise to 8-bit values"),
        ({"flip": True}, "flip mirrors images"),
    ],
)
def test_what_is_done_to_pixels_is_refused(options: dict[str, Any], said: str, data: Dataset) -> None:
    with pytest.raises(UsageError) as error:
        _trained(Config().updated(hidden=(8,), **SMALL, **options), data)
    assert said in str(error.value)


def test_no_buffer_of_the_likelihood_is_infinite(data: Dataset) -> None:
    """A report on a step that is not finite would name it."""
    vae = build(Config().updated(hidden=(8,)), data)
    assert all(buffer.isfinite().all() for buffer in vae.buffers())


def test_pictures_have_no_mixed_likelihood() -> None:
    digits = Dataset("digits", np.zeros((9, 4, 4, 1), np.float32), np.arange(9) % 2)
    with pytest.raises(UsageError, match="is for tables, and digits has no columns of several kinds"):
        build(Config().updated(likelihood="mixed"), digits)
