"""Data outside a likelihood's support, or in other units than the training data, are refused or spoken of."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from elboroom import VAE, Config, fit, load, load_data
from elboroom.cli.main import main
from elboroom.errors import DataWarning, UsageError
from elboroom.training.prepare import build

IMAGE = (4, 4, 1)
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (40, *IMAGE)).astype(np.uint8)
FLOATS = (GREY / 255).astype(np.float32)

ENCODE: dict[str, Callable[[VAE, Any], object]] = {
    "encode": lambda vae, x: vae.encode(x).mean,
    "embed": lambda vae, x: vae.embed(x),
    "reconstruct": lambda vae, x: vae.reconstruct(x),
    "interpolate": lambda vae, x: vae.interpolate(x[0], x[1], 3),
}
SCORE: dict[str, Callable[[VAE, Any], object]] = {
    "elbo": lambda vae, x: vae.elbo(x),
    "nll": lambda vae, x: vae.nll(x, 2).value,
}


def small(likelihood: str, **options: Any) -> VAE:
    return VAE.build(shape=IMAGE, hidden=[4], likelihood=likelihood, **options)


@pytest.mark.parametrize("use", [*ENCODE.values(), *SCORE.values()], ids=[*ENCODE, *SCORE])
@pytest.mark.parametrize(
    ("likelihood", "x", "text"),
    [
        ("bernoulli", FLOATS * 255, "divide them by 255"),
        ("bernoulli", FLOATS * 2 - 1, r"map x to \(x \+ 1\) / 2"),
        ("continuous_bernoulli", FLOATS + 0.9, "outside"),
        ("categorical", FLOATS * 255, "divide them by 255"),
        ("discretized_logistic", FLOATS - 0.5, "outside"),
        ("poisson", FLOATS - 0.5, "at least 0"),
        ("gaussian", np.where(FLOATS > 0.5, np.nan, FLOATS), "nan or infinite"),
        ("gaussian", np.where(FLOATS > 0.5, np.inf, FLOATS), "nan or infinite"),
    ],
)
def test_no_method_takes_values_outside_the_support(
    use: Callable[..., object], likelihood: str, x: Any, text: str
) -> None:
    with pytest.raises(UsageError, match=text) as error:
        use(small(likelihood), x)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("likelihood", "x"),
    [
        ("bernoulli", FLOATS),
        ("bernoulli", FLOATS * np.float32(1 + 5e-7)),  # rounding
        ("bernoulli", GREY),
        ("bernoulli", GREY > 127),
        ("continuous_bernoulli", np.where(FLOATS > 0.5, 1.0, 0.0)),  # the ends belong to it
        ("categorical", GREY),
        ("categorical", FLOATS),
        ("discretized_logistic", FLOATS),
        ("poisson", GREY.astype(np.float32)),
        ("negative_binomial", np.array(GREY, np.float64)),
        ("gaussian", FLOATS * 2 - 1),
        ("student_t", FLOATS * 255),
    ],
)
def test_what_can_be_scored_is_scored(likelihood: str, x: Any) -> None:
    for use in (*ENCODE.values(), *SCORE.values()):
        use(small(likelihood), x)


@pytest.mark.parametrize(
    ("likelihood", "x", "text"),
    [
        ("poisson", FLOATS, "whole numbers"),
        ("zero_inflated_negative_binomial", GREY, "whole numbers"),  # divided by the default scale of 255
        ("categorical", FLOATS * 0.999, "256 levels"),
        ("discretized_logistic", FLOATS * 0.999, "256 levels"),
    ],
)
def test_between_two_levels_nothing_is_scored_but_codes_there_are(likelihood: str, x: Any, text: str) -> None:
    """Decoded means, such as samples and the frames of a morph, lie between levels and may be encoded."""
    vae = small(likelihood)
    for use in ENCODE.values():
        use(vae, x)
    for use in SCORE.values():
        with pytest.raises(UsageError, match=text):
            use(vae, x)


def trained(x: Any, likelihood: str, out: Path | None = None, **options: Any) -> VAE:
    shape = x.shape[1:]
    vae = VAE.build(shape=shape, hidden=[4], likelihood=likelihood, **options)
    fit(vae, x, out=out, epochs=1, batch_size=20, quiet=True)
    return vae


def test_a_trained_model_knows_the_range_of_its_data(tmp_path: Path) -> None:
    vae = trained(FLOATS * 2 - 1, "gaussian", tmp_path / "run")
    for model in (vae, load(tmp_path / "run")):
        assert model.data_range == pytest.approx((-1, 1))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.elbo(FLOATS)
        with pytest.warns(DataWarning, match="values from 0 to 4, and the model was trained on values from"):
            model.elbo(FLOATS * 4)
        with pytest.raises(UsageError, match="units of the training data"):
            model.elbo(FLOATS * 255)
    assert load(tmp_path / "run").data_range == vae.data_range


def test_a_run_that_does_not_say_its_range_still_loads(tmp_path: Path) -> None:
    trained(FLOATS, "gaussian", tmp_path / "run")
    path = tmp_path / "run" / "environment.json"
    facts = json.loads(path.read_text())
    del facts["data_range"]
    path.write_text(json.dumps(facts))
    vae = load(tmp_path / "run")
    assert vae.data_range is None
    vae.elbo(FLOATS * 255)


def test_pixels_of_bytes_and_of_floats_are_not_mixed_up() -> None:
    with pytest.raises(UsageError, match="units of the training data"):
        trained(FLOATS, "gaussian", scale=1.0).elbo(GREY)
    with pytest.raises(UsageError, match="divided by 255 are at most 1"):
        trained(FLOATS * 255, "gaussian").elbo(GREY)


def test_an_outlier_in_a_table_may_be_scored() -> None:
    """To find what does not belong is a use of a density; a warning does not stand in its way."""
    vae = trained(RNG.normal(size=(60, 3)).astype(np.float32), "gaussian")
    with pytest.warns(DataWarning, match="same units"):
        assert torch.isfinite(vae.elbo(np.array([[0.0, 0.0, 300.0]], np.float32))).all()


def run_of(tmp_path: Path, x: Any, **options: Any) -> str:
    """What `elboroom train` leaves behind, without its pictures, which take long."""
    path, run = tmp_path / "own.npy", tmp_path / "run"
    np.save(path, x)
    config = Config().updated(source=str(path), epochs=1, hidden=(4,), **options)
    data = load_data(path)
    fit(build(config, data), data, out=run, config=config, quiet=True)
    return str(run)


@pytest.mark.parametrize("verb", ["evaluate", "embed", "figures"])
def test_the_command_line_checks_other_data(
    tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(tmp_path, GREY)
    capsys.readouterr()
    other = str(tmp_path / "other.npy")
    words = [verb, run, *(["--data"] if verb != "embed" else []), other]
    words += {"embed": ["--out", str(tmp_path / "z.npy")], "figures": ["--only", "losses"]}.get(verb, [])
    for x, text in ((FLOATS * 255, "divide them by 255"), (FLOATS * 2 - 1, "map x to")):
        np.save(other, x)
        assert main(words) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert (
            f"elboroom: other.npy: values from {x.min():.6g} to {x.max():.6g} lie outside [0, 1]" in told.err
        )
        assert text in told.err


def test_data_that_fill_next_to_nothing_of_the_range_are_spoken_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run with --data.pixel-scale divides other data by it as well, even floats in [0, 1]."""
    run = run_of(tmp_path, GREY, pixel_scale=255.0)
    np.save(tmp_path / "other.npy", FLOATS)
    assert main(["evaluate", run, "--data", str(tmp_path / "other.npy"), "--num-samples", "0"]) == 0
    assert "warning: other.npy: values from 0 to 0.00392157" in capsys.readouterr().err


@pytest.mark.parametrize("binarize", ["threshold", "stochastic"])
def test_a_run_on_binary_pixels_is_drawn_with_binary_pixels(
    tmp_path: Path, binarize: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two levels score zeros and ones only, so grey originals could not be drawn."""
    run = run_of(tmp_path, GREY, binarize=binarize, likelihood="categorical", levels=2)
    assert main(["reconstruct", run, ":3"]) == 0
    Image.fromarray(GREY[3, ..., 0]).save(tmp_path / "grey.png")
    assert main(["reconstruct", run, str(tmp_path / "grey.png")]) == 0
    assert main(["figures", run, "--only", "loss_histogram"]) == 0
    assert main(["embed", run, "--out", str(tmp_path / "z.npy")]) == 0
    if binarize == "threshold":
        codes = load(run).embed((FLOATS >= 0.5).astype(np.float32)).numpy()
        np.testing.assert_allclose(np.load(tmp_path / "z.npy"), codes, rtol=0, atol=1e-6)
    assert main(["train", str(tmp_path / "own.npy"), "--binarize", binarize, "--dry-run"]) == 0
    np.save(tmp_path / "wide.npy", FLOATS * 255)
    capsys.readouterr()
    assert main(["train", str(tmp_path / "wide.npy"), "--binarize", binarize, "--dry-run"]) == 2
    assert f"the pixels that --binarize {binarize} takes" in capsys.readouterr().err
