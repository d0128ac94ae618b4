"""Inception: equal to torch-fidelity's for weights and pictures of a formula, and through the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from elboroom.cli.main import main
from elboroom.errors import UsageError
from elboroom.evaluation.inception import Inception, InceptionNetwork
from elboroom.io.tensors import fingerprint, write_tensors

# From torch-fidelity 0.4.0, FeatureExtractorInceptionV3("", ["2048"]), with the weights and pictures below.
FIRST = [0.1085855, 0.1719058, 0.8584161, 0.1204877, 0.1884657, 0.8758506]
MEAN, DEVIATION = 0.4151266931, 0.5582831294


def random_weights() -> dict[str, Tensor]:
    rng = np.random.default_rng(2015)
    with torch.device("meta"):
        layers = InceptionNetwork().state_dict()
    found = {}
    for name in sorted(layers):
        shape = tuple(layers[name].shape)
        if name.endswith("num_batches_tracked"):
            continue
        drawn = rng.standard_normal(shape, np.float32)
        if len(shape) == 4:
            drawn *= np.float32(np.sqrt(2 / np.prod(shape[1:])))
        elif name.endswith(("running_var", "bn.weight")):
            drawn = 1 + np.float32(0.1) * np.tanh(drawn)
        else:
            drawn *= np.float32(0.1)
        found[name] = torch.from_numpy(drawn)
    return found


def waves(channels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Two pictures, (2, 40, 28, channels)."""
    n, y, x, c = np.indices((2, 40, 28, channels))
    return 0.5 + 0.5 * np.sin(1.3 * n + 0.7 * y + 0.31 * x * (1 + n) + 2 * c)


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return random_weights()


@pytest.fixture(scope="module")
def inception(weights: dict[str, Tensor]) -> Inception:
    return Inception(weights, fingerprint(weights))


def test_the_features_are_those_of_torch_fidelity(inception: Inception) -> None:
    found = inception.features(waves(3))
    assert found.shape == (2, 2048)
    assert found[:, :3].ravel() == pytest.approx(FIRST, rel=1e-4)
    assert found.mean() == pytest.approx(MEAN, rel=1e-5)
    assert found.std() == pytest.approx(DEVIATION, rel=1e-5)


def test_one_channel_stands_for_three_equal_ones(inception: Inception) -> None:
    grey = waves(1)
    np.testing.assert_array_equal(inception.features(grey), inception.features(np.repeat(grey, 3, 3)))
    with pytest.raises(UsageError, match="pictures have 2 channels; Inception knows those of 1 or 3"):
        inception.features(waves(2))


def test_weights_of_another_network_are_refused(weights: dict[str, Tensor]) -> None:
    name = "Mixed_7c.branch3x3_2b.conv.weight"
    with pytest.raises(UsageError, match=rf"{name} is missing, and the network takes of shape \(384, 384, 3"):
        Inception({key: value for key, value in weights.items() if key != name}, "")
    with pytest.raises(UsageError, match=r"more\.weight is of shape \(1,\), and the network takes missing"):
        Inception({**weights, "more.weight": torch.zeros(1)}, "")
    classes = {
        "fc.weight": torch.zeros(1008, 2048),
        "Mixed_5b.branch1x1.bn.num_batches_tracked": torch.tensor(7),
    }
    assert Inception({**weights, **classes}, "abc").name == "inception-2048/abc"


def test_the_command_compares_on_it(
    weights: dict[str, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, file = str(tmp_path / "run"), tmp_path / "inception.safetensors"
    write_tensors(file, {name: value.half() for name, value in weights.items()})
    train = ["train", "digits", "--epochs", "1", "--hidden", "8", "--figures-every", "0", "--out", run]
    assert main([*train, "--quiet"]) == 0
    measured = ["evaluate", run, "--limit", "6", "--num-samples", "0", "--json"]
    capsys.readouterr()
    assert main([*measured, "--measures", "pictures", "--features", str(file)]) == 0
    found = json.loads(capsys.readouterr().out)["measures"]["pictures"]
    # Digits of 8 by 8 are too small for the small network, not for this one.
    for name in ("frechet_reconstructions", "frechet_draws", "precision"):
        assert found[name]["details"]["features"].startswith("inception-2048/")
    assert found["frechet_draws"]["value"] > 0
    assert main([*measured, "--features", str(file)]) == 2
    assert "is for --measures pictures" in capsys.readouterr().err
    pickled = tmp_path / "inception.pth"
    pickled.write_bytes(b"anything")
    assert main([*measured, "--measures", "pictures", "--features", str(pickled)]) == 2
    assert "give Inception's weights as .safetensors" in capsys.readouterr().err
