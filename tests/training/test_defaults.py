"""Network and likelihood that the data choose: which data are photos, and what presets and options win."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from elboroom.config import Config, ModelConfig, read_preset
from elboroom.data import load_data
from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.training.defaults import fitting_model, is_photos
from elboroom.training.prepare import build


def _data(*shape: int, dtype: Any = np.uint8, low: float = 0, high: float = 255) -> Any:
    x = np.linspace(low, high, 20 * int(np.prod(shape))).reshape(20, *shape).astype(dtype)
    return load_data(x)


PHOTO = _data(16, 20, 3)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (PHOTO, True),
        (_data(15, 40, 3), False),
        (_data(28, 28, 1), False),
        (_data(48, 64, 1), True),
        (_data(64, 47, 1), False),
        (_data(64, 64, 1, high=1), False),  # 0 and 1 only
        (_data(64, 64, 3, dtype=np.float32, low=-1, high=1), True),
        (_data(100, dtype=np.float32), False),
    ],
)
def test_colour_images_and_large_grey_ones_are_photos(data: Any, expected: bool) -> None:
    assert is_photos(data) == expected


def test_photos_get_convolutions_and_a_gaussian_with_a_learned_scale_and_it_is_said() -> None:
    model, words = fitting_model(Config(), PHOTO)
    assert (model.network, model.likelihood, model.learn_scale) == ("conv", "gaussian", "shared")
    assert (model.output, model.likelihood_scale) == ("sigmoid", 0.1)
    assert words == (
        "chosen for colour images of 16×20: --network conv and --likelihood gaussian with a learned scale"
    )
    assert build(Config(), PHOTO).config == ModelConfig(**{**dict(model), "shape": PHOTO.shape, "scale": 255})


def test_the_mean_of_photos_outside_0_and_1_is_not_squeezed_into_them() -> None:
    model, _ = fitting_model(Config(), _data(16, 16, 3, dtype=np.float32, low=-1, high=1))
    assert (model.output, model.likelihood_scale) == ("identity", 0.2)


def test_other_data_keep_an_mlp_and_bernoulli() -> None:
    for data in (_data(28, 28, 1), _data(10, dtype=np.float32, high=1)):
        model, words = fitting_model(Config(), data)
        assert (model.network, model.likelihood, words) == ("mlp", "bernoulli", "")
    vae = VAE.build(shape=(28, 28, 1))
    assert vae.config is not None
    assert (vae.config.network, vae.config.likelihood) == ("mlp", "bernoulli")


@pytest.mark.parametrize(
    ("options", "network", "likelihood"),
    [
        ({"network": "mlp"}, "mlp", "gaussian"),
        ({"hidden": (64,)}, "mlp", "gaussian"),
        ({"network": "ladder"}, "ladder", "gaussian"),
        ({"likelihood": "bernoulli"}, "conv", "bernoulli"),
        ({"likelihood": "gaussian"}, "conv", "gaussian"),
        ({"binarize": "threshold"}, "conv", "bernoulli"),
    ],
)
def test_what_was_asked_for_is_not_replaced(options: Any, network: str, likelihood: str) -> None:
    model, _ = fitting_model(Config().updated(**options), PHOTO)
    assert (model.network, model.likelihood) == (network, likelihood)
    assert model.learn_scale == ("none" if "likelihood" in options or likelihood == "bernoulli" else "shared")


@pytest.mark.parametrize("name", ["haskell-dogpeople", "dogpeople", "dogpeople-elbo"])
def test_presets_win(name: str) -> None:
    before = read_preset(name).model
    model, words = fitting_model(read_preset(name), PHOTO)
    assert model == before.without_auto()
    assert words == ""


def test_options_of_a_likelihood_that_was_not_named_are_refused_as_before() -> None:
    with pytest.raises(UsageError, match="learn_scale = 'shared' requires likelihood = 'gaussian'"):
        ModelConfig(learn_scale="shared")
