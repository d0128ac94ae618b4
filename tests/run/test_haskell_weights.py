"""Weights of the Haskell program: what it computes, against numpy; and what is malformed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elboroom.cli.main import main
from elboroom.config import read_preset
from elboroom.errors import UsageError
from elboroom.runs.haskell_weights import import_haskell
from elboroom.runs.run import Run, load
from elboroom.training.prepare import in_sums

# Sums of up to 7 products in float32 through two layers: 6e-8 relative each, of values near 1.
FLOAT32 = {"rtol": 3e-6, "atol": 3e-6}


def layers(*sizes: int, seed: int = 0) -> list[Any]:
    """Matrices as the program saves them: a row per input, the bias last, three decimals."""
    rng = np.random.default_rng(seed)
    return [np.round(rng.normal(size=(fan_in + 1, fan_out)), 3) for fan_in, fan_out in pairwise(sizes)]


def write(base: Path, front: list[Any], back: list[Any]) -> Path:
    for half, matrices in (("front", front), ("back", back)):
        Path(f"{base}_{half}_nn_info.txt").write_text(f"{len(matrices)}")
        for i, matrix in enumerate(matrices):
            lines = [",".join(f"{value:.3f}" for value in row) for row in matrix]
            Path(f"{base}_{half}_nn_layer_{i}.txt").write_text("\n".join(lines) + "\n")
    return base


def run_layers(x: Any, matrices: list[Any]) -> Any:
    """[x, 1] · W with tanh between layers."""
    for i, matrix in enumerate(matrices):
        x = np.hstack([np.tanh(x) if i else x, np.ones((len(x), 1))]) @ matrix
    return x


FRONT, BACK = layers(4, 6, 4), layers(2, 3, 5, 4, seed=1)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write(tmp_path / "vae", FRONT, BACK)


def test_computes_what_the_program_computes(base: Path) -> None:
    vae, config = import_haskell(base)
    x = np.random.default_rng(4).random((9, 2, 2, 1)).astype(np.float32)
    out = run_layers(x.reshape(9, 4), FRONT)
    posterior = vae.encode(x)
    np.testing.assert_allclose(vae.embed(x), out[:, :2], **FLOAT32)
    np.testing.assert_allclose(posterior.scale, 1e-6 + np.log1p(np.exp(out[:, 2:])), **FLOAT32)
    z = np.random.default_rng(5).normal(size=(7, 2)).astype(np.float32)
    pictures = 1 / (1 + np.exp(-run_layers(z, BACK)))
    np.testing.assert_allclose(vae.decode(z).mean.reshape(7, 4), pictures, **FLOAT32)
    assert not vae.training
    # It divides 8-bit pixels by 256, not 255.
    bright = np.full((1, 2, 2, 1), 128, dtype=np.uint8)
    np.testing.assert_allclose(vae.embed(bright), run_layers(np.full((1, 4), 0.5), FRONT)[:, :2], **FLOAT32)
    assert config.model.hidden == (6,)
    assert config.model.decoder_hidden == (3, 5)
    assert (config.model.latent_dim, config.model.scale, config.model.shape) == (2, 256.0, (2, 2, 1))


@pytest.mark.parametrize(
    ("inputs", "given", "shape"),
    [(9, None, (3, 3, 1)), (6, None, (6,)), (12, (2, 2, 3), (2, 2, 3)), (9, (9,), (9,))],
)
def test_shapes(inputs: int, given: Any, shape: tuple[int, ...], tmp_path: Path) -> None:
    base = write(tmp_path / "w", layers(inputs, 2), layers(1, inputs))
    vae, config = import_haskell(base, given)
    assert vae.shape == config.model.shape == shape
    assert vae.sample(3).shape == (3, *shape)


def test_the_command_writes_a_run_that_loads(base: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "run"
    assert main(["data", "import-haskell", str(base), "--out", str(out)]) == 0
    assert "encoder 4-6-4, decoder 2-3-5-4" in capsys.readouterr().err
    x = np.random.default_rng(4).random((9, 2, 2, 1)).astype(np.float32)
    torch.testing.assert_close(load(out).embed(x), import_haskell(base)[0].embed(x), rtol=0, atol=0)
    assert Run(out).environment["imported_from"] == str(base)
    assert Run(out).config.data.source is None
    assert main(["data", "import-haskell", str(base), "--out", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["data", "import-haskell", str(base), "--out", str(out), "--overwrite"]) == 0
    assert main(["sample", str(out), "--n", "3", "--out", str(tmp_path / "s.npy")]) == 0
    assert np.load(tmp_path / "s.npy").shape == (3, 2, 2, 1)


def test_what_needs_data_says_that_an_imported_run_has_none(base: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "run"
    main(["data", "import-haskell", str(base), "--out", str(out)])
    capsys.readouterr()
    assert main(["evaluate", str(out)]) == 2
    assert "does not record its data; give them with --data" in capsys.readouterr().err
    assert main(["reconstruct", str(out), ":0"]) == 2
    assert "None" not in capsys.readouterr().err


def spoil(name: str, text: str | bytes | None) -> Callable[[Path], None]:
    def act(base: Path) -> None:
        path = Path(f"{base}_{name}.txt")
        if text is None:
            path.unlink()
        else:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())

    return act


MALFORMED: dict[str, tuple[Callable[[Path], None], str]] = {
    "no info": (spoil("front_nn_info", None), r"cannot read .*front_nn_info\.txt"),
    "no back": (spoil("back_nn_info", None), r"cannot read .*back_nn_info\.txt"),
    "empty info": (spoil("front_nn_info", ""), "number of layers as a whole number"),
    "words": (spoil("front_nn_info", "two"), "number of layers as a whole number"),
    "bytes": (spoil("front_nn_info", b"\xff\xfe"), "number of layers as a whole number"),
    "no layers": (spoil("front_nn_info", "0"), "names 0 layers"),
    "negative": (spoil("front_nn_info", "-2"), "names -2 layers"),
    "too many": (spoil("front_nn_info", "3"), r"cannot read .*front_nn_layer_2\.txt"),
    "no layer": (spoil("front_nn_layer_1", None), r"cannot read .*front_nn_layer_1\.txt"),
    "empty layer": (spoil("front_nn_layer_0", ""), "at least one row of weights and one of biases"),
    "bias only": (spoil("front_nn_layer_0", "1,2,3\n"), "at least one row of weights and one of biases"),
    "ragged": (spoil("back_nn_layer_0", "1,2,3\n1,2\n1,2,3\n"), "not a matrix of comma-separated numbers"),
    "a word": (spoil("back_nn_layer_0", "1,2\n1,x\n"), "not a matrix of comma-separated numbers"),
    "layer of bytes": (spoil("back_nn_layer_0", b"\xff\xfe\x00"), "not a matrix of comma-separated"),
    "nan": (spoil("back_nn_layer_0", "1,2,nan\n" * 3), "and one of biases, all finite"),
    "inf": (spoil("back_nn_layer_0", "1,2,1e999\n" * 3), "and one of biases, all finite"),
    "rows": (spoil("front_nn_layer_1", "1,2,3,4\n" * 6), "has 6 rows; .* there must be 7"),
    "outputs": (spoil("front_nn_layer_1", "1,2,3\n" * 7), "has 3 outputs and the decoder 2 inputs"),
    "pixels": (spoil("back_nn_layer_2", "1,2,3\n" * 6), "has 4 inputs and the decoder 3 outputs"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_file_is_an_error_in_one_line(name: str, base: Path, tmp_path: Path, capsys: Any) -> None:
    act, words = MALFORMED[name]
    act(base)
    with pytest.raises(UsageError, match=words) as error:
        import_haskell(base)
    assert str(base) in str(error.value)
    assert main(["data", "import-haskell", str(base), "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.splitlines() == [f"elboroom: {error.value}"]
    assert not (tmp_path / "run").exists()


def test_a_shape_of_another_size_is_an_error(base: Path, tmp_path: Path, capsys: Any) -> None:
    with pytest.raises(UsageError, match=r"--shape \(5,\): the saved encoder has 4 inputs"):
        import_haskell(base, (5,))
    out = ["--out", str(tmp_path / "run")]
    assert main(["data", "import-haskell", str(base), *out, "--shape", "0", "4"]) == 2
    assert capsys.readouterr().err.startswith("elboroom: shape")


@pytest.mark.parametrize(
    ("name", "beta", "schedule"),
    [("haskell-mnist", 0.0, "constant"), ("haskell-mnist-ramp", 1e-4, "delayed")],
)
def test_the_presets_are_the_programs_numbers(name: str, beta: float, schedule: str) -> None:
    config = read_preset(name)
    pixels, batch = 28 * 28, 32
    resolved = in_sums(config, (28, 28, 1))
    assert resolved.objective.beta == pytest.approx(beta * batch * pixels, rel=1e-12)
    assert (config.objective.beta, config.objective.beta_schedule) == (beta, schedule)
    assert config.objective.beta_unit == "mean_kl_sum"
    assert config.optimizer.optimizer == "Adam"
    assert resolved.optimizer.optimizer_options["eps"] == pytest.approx(1e-6 * pixels, rel=1e-12)
    assert config.optimizer.lr == 1e-3
    steps = config.training
    assert (steps.batch_size, steps.batches_per_epoch, steps.epochs) == (batch, 100, 100)
    model = config.model
    assert (model.latent_dim, model.hidden, model.decoder_hidden) == (2, (1000,), None)
    assert (model.activation, model.init, model.posterior_scale) == ("tanh", "affine", "softplus")
    assert (model.likelihood, model.output, model.learn_scale) == ("gaussian", "sigmoid", "none")
    assert 2 * model.likelihood_scale**2 == pytest.approx(1, rel=1e-15)
    assert (config.data.source, config.data.pixel_scale, config.data.validation) == ("mnist", 256.0, 0.0)
    assert config.data.binarize == "none"
