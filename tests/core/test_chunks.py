"""Chunks sized by free memory of a GPU: the same numbers, few host waits, smaller ones if it runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elboroom.config.columns import Column
from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.errors import FailureError, UsageError
from elboroom.evaluation import classes, evaluate, likelihood
from elboroom.evaluation.estimators import Plan
from elboroom.evaluation.neighbours import embed_rows
from elboroom.models import chunks
from elboroom.models.chunks import computed
from elboroom.models.inputs import Inputs
from elboroom.models.vae import VAE

CPU = torch.device("cpu")
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [16]},
    "given labels": {"hidden": [16], "condition": "labels", "condition_dim": 3},
    "full": {"hidden": [16], "posterior": "full", "prior": "vamp"},
    "conv": {"network": "conv", "conv_width": 4},
    "ladder": {"network": "ladder", "conv_width": 4},
    "chain": {"network": "chain", "chain_dims": [2, 2], "chain_hidden": [8, 8]},
}
LAYERED = (
    "ladder",
    "chain",
)  # whose codes are drawn and decoded in one pass, so that chunks change the noise


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Make every device one with so many free bytes, as a GPU is."""
    return lambda nbytes: monkeypatch.setattr(chunks, "free_memory", lambda _device: nbytes)


def model(name: str) -> tuple[VAE, dict[str, Any]]:
    torch.manual_seed(3)
    options = MODELS[name] if name in LAYERED else {"latent_dim": 2, **MODELS[name]}
    vae = VAE.build(shape=(8, 8, 1), **options)
    return vae, {"condition": [0, 1, 2, 0, 1]} if "label" in name else {}


def images(n: int = 5) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (n, 8, 8, 1), dtype=np.uint8)


@pytest.mark.parametrize(
    ("rows", "columns", "at_once"), [(3, 4, 5), (1, 7, 3), (5, 1, 2), (4, 4, 99), (0, 3, 4)]
)
@pytest.mark.parametrize("room", [1, 2, 100])
def test_pieces_put_together_are_the_whole(rows: int, columns: int, at_once: int, room: int) -> None:
    table = torch.arange(rows * columns * 2).reshape(rows, columns, 2)
    sizes = []

    def compute(r: slice, c: slice) -> Tensor:
        piece = table[r, c]
        sizes.append(piece[..., 0].numel())
        if sizes[-1] > room:
            raise torch.OutOfMemoryError
        return piece

    assert torch.equal(computed(compute, rows, columns, at_once, CPU), table)
    assert max(sizes) <= max(at_once, 1)
    fitting = [size for size in sizes if size <= room]
    assert sum(fitting) == rows * columns
    assert len(sizes) - len(fitting) <= at_once.bit_length(), "it does not remember what was too large"


def test_memory_for_not_even_one_example_is_a_failure_in_one_line() -> None:
    def compute(_rows: slice, _columns: slice) -> Tensor:
        raise torch.OutOfMemoryError

    with pytest.raises(
        FailureError, match="memory of cpu does not suffice for one example at a time"
    ) as error:
        computed(compute, 4, 4, 16, CPU)
    assert "\n" not in str(error.value)


def test_a_chunk_takes_a_quarter_of_what_is_free_and_no_more_than_helps(free: Callable[[int], None]) -> None:
    assert chunks.numbers_at_once(CPU, 123) == 123
    assert chunks.bytes_at_once(CPU) is None
    free(3200)
    assert chunks.numbers_at_once(CPU, 123) == 25  # of 32 bytes each
    assert chunks.bytes_at_once(CPU) == 800
    free(1)
    assert chunks.numbers_at_once(CPU, 123) == 1
    free(1 << 50)
    assert chunks.numbers_at_once(CPU, 123) == chunks.MOST_NUMBERS


@pytest.mark.parametrize("name", [name for name in MODELS if name not in LAYERED])
def test_numbers_are_the_same_whatever_memory_is_free(name: str, free: Callable[[int], None]) -> None:
    vae, given = model(name)
    found = []
    for nbytes in (1 << 40, 128 * 64 * 30, 128 * 64 * 7, 1):  # one piece, and of 30, 7 and 1 decoded images
        free(nbytes)
        torch.manual_seed(5)
        found.append((vae.nll(images(), 30, **given), vae.embed(images(), **given)))
    for nll, codes in found[1:]:
        torch.testing.assert_close(nll.value, found[0][0].value, rtol=1e-6, atol=1e-4)
        torch.testing.assert_close(nll.ess, found[0][0].ess, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(codes, found[0][1], rtol=1e-5, atol=1e-6)


def test_large_chunks_decode_the_codes_of_small_ones(
    free: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With noise that does not depend on chunks, those of a GPU give the numbers of a CPU's."""
    vae, _ = model("mlp")
    noise, taken = torch.randn(30, 5, 2), 0

    def drawn(shape: Any, **_: Any) -> Tensor:
        nonlocal taken
        taken += shape[0]
        return noise[taken - shape[0] : taken]

    monkeypatch.setattr("elboroom.models.inference._DECODED_NUMBERS", 4 * 5 * 64)
    monkeypatch.setattr(torch, "randn", drawn)
    found = []
    for nbytes in (None, 1 << 40, 128 * 64 * 9):
        taken = 0
        monkeypatch.setattr(chunks, "free_memory", lambda _device, nbytes=nbytes: nbytes)
        found.append(vae.nll(images(), 30).value)
        assert taken == 30
    for value in found[1:]:
        torch.testing.assert_close(value, found[0], rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("room", [40, 7, 1])
def test_smaller_pieces_after_running_out_of_memory_give_the_same_numbers(
    free: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    vae, given = model("given labels")
    free(1 << 40)
    torch.manual_seed(5)
    whole, codes = vae.nll(images(), 30, **given).value, vae.embed(images(), **given)
    decoder, encoder = vae.decoder.forward, vae.encoder.forward

    def limited(network: Any, most: int) -> Any:
        def forward(x: Tensor) -> Tensor:
            if len(x) > most:
                raise torch.OutOfMemoryError
            return network(x)

        return forward

    monkeypatch.setattr(vae.decoder, "forward", limited(decoder, room))
    torch.manual_seed(5)
    torch.testing.assert_close(vae.nll(images(), 30, **given).value, whole, rtol=1e-6, atol=1e-4)
    monkeypatch.setattr(vae.encoder, "forward", limited(encoder, min(room, 2)))
    torch.testing.assert_close(vae.embed(images(), **given), codes, rtol=1e-5, atol=1e-6)


def test_a_ladder_draws_fewer_at_a_time_when_memory_runs_out(monkeypatch: pytest.MonkeyPatch) -> None:
    vae, _ = model("ladder")
    run = vae.decoder.infer
    sizes = []

    def infer(features: Tensor, num_samples: int, *args: Any, **named: Any) -> Any:
        sizes.append(num_samples)
        if num_samples > 3:
            raise torch.OutOfMemoryError
        return run(features, num_samples, *args, **named)

    monkeypatch.setattr(vae.decoder, "infer", infer)
    with vae.at_rest():
        (draws,) = vae.importance(vae.as_input(images()), 10)
    assert sizes == [10, 5, 2, 3, 5, 2, 3]
    assert draws.log_weights.shape == (10, 5)
    assert draws.rates is not None
    assert draws.rates.shape == (len(vae.layers), 10, 5)


@pytest.mark.parametrize("name", LAYERED)
def test_a_model_of_several_layers_fits_in_memory(name: str, free: Callable[[int], None]) -> None:
    vae, _ = model(name)
    codes = vae.embed(images())
    for nbytes in (1 << 40, 128 * 64 * 20, 1):
        free(nbytes)
        assert vae.nll(images(), 6).value.isfinite().all()
        torch.testing.assert_close(vae.embed(images()), codes, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["mlp", "given labels"])
def test_rows_of_a_data_set_have_the_same_codes_on_a_gpu(name: str, free: Callable[[int], None]) -> None:
    vae, _ = model(name)
    data = Dataset("some", images(40), np.zeros(40), labels=np.arange(40) % 3, scale=255.0)
    rows = np.arange(39, -1, -1)
    codes = embed_rows(vae, data, rows)
    assert codes.dtype == np.float32
    taken = []
    embed = vae.embed
    vae.embed = lambda x, **named: (taken.append(getattr(x, "x", x).dtype), embed(x, **named))[1]
    free(1 << 40)
    np.testing.assert_allclose(embed_rows(vae, data, rows), codes, rtol=1e-5, atol=1e-6)
    assert taken == [np.uint8]
    vae.scale = 256.0  # as for noise that is added to the pixels: then the data's own scale counts
    vae.data_range = None
    np.testing.assert_allclose(embed_rows(vae, data, rows), codes, rtol=1e-5, atol=1e-6)
    assert taken == [np.uint8, np.float32]
    assert embed_rows(vae, data, rows[:0]).shape == (0, 2)


@pytest.mark.parametrize("binarize", ["none", "stochastic"])
def test_a_gpus_data_are_checked_before_they_are_measured(
    binarize: Any, free: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers stay the same, and what cannot be scored is refused before anything is drawn."""
    vae, _ = model("mlp")
    data = Dataset("some", images(1200), np.zeros(1200), scale=255.0)
    batches = Batches(data, CPU, binarize=binarize)
    rows = np.arange(1200)
    before = evaluate(vae, batches, rows, num_samples=20)
    lengths: list[int] = []
    check = Inputs.check_values
    monkeypatch.setattr(
        Inputs, "check_values", lambda vae, x, **k: (lengths.append(len(x)), check(vae, x, **k))
    )
    free(1 << 40)
    found = evaluate(vae, batches, rows, num_samples=20)
    assert lengths == [1200]
    for name in ("elbo", "distortion", "rate", "nll", "nll_ess", "active_units"):
        assert found[name] == pytest.approx(before[name], rel=1e-5), name
    free(4 * 700 * 64 * 29)
    lengths.clear()
    evaluate(vae, batches, rows, num_samples=0)
    assert lengths == [700, 500]
    bad = Batches(
        Dataset("bad", np.full((600, 64), 2.0, np.float32).reshape(600, 8, 8, 1), np.zeros(600)), CPU
    )
    monkeypatch.setattr(vae, "importance", None)
    with pytest.raises(UsageError, match="values from 2 to 2 lie outside"):
        evaluate(vae, bad, np.arange(600))


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of the arrays whose values were checked, which is where the host may wait."""
    found: list[int] = []
    monkeypatch.setattr(Inputs, "check_values", lambda _self, x, **_: found.append(len(x)))
    return found


@pytest.mark.parametrize("name", ["mlp", "full", "conv", *LAYERED])
def test_the_host_waits_for_a_device_once_an_array(
    name: str, free: Callable[[int], None], checks: list[int]
) -> None:
    """Tensors on "meta" have no values that the host could read: it would raise an error."""
    vae = model(name)[0].to("meta")
    free(128 * 64 * 300)
    codes = vae.embed(images(50))
    assert (codes.device.type, len(codes)) == ("meta", 50)
    assert checks == [50]
    nll = vae.nll(images(50), 40)
    assert nll.pareto_k.shape == (50,)
    assert checks == [50, 50]
    free(4 * 64 * 29 * 10)  # room for the bytes of ten images
    vae.embed(images(50))
    assert max(checks[2:]) <= 10
    assert sum(checks[2:]) == 50


@pytest.mark.usefixtures("checks")
@pytest.mark.parametrize("name", [*MODELS, "iaf", "planar"])
def test_no_batch_of_an_evaluation_is_waited_for(name: str, free: Callable[[int], None]) -> None:
    if name in MODELS:
        vae, _ = model(name)
    else:
        vae = VAE.build(shape=(8, 8, 1), latent_dim=2, hidden=[16], posterior=name)
    vae = vae.to("meta")
    free(1 << 40)
    x = torch.empty(50, 8, 8, 1, device="meta")
    c = torch.empty(50, 3, device="meta") if name == "given labels" else None
    with vae.at_rest():
        measured = likelihood._measure(vae, x, c, Plan("importance", 30), 0)
        assert measured.nll is not None
        assert measured.nll.pareto_k.device.type == "meta"
        means = torch.empty(3, 64, device="meta"), torch.empty(3, vae.latent_dim, device="meta")
        found = classes._measure(vae, x, c, means)
        assert found["ssim"].shape == (50,)


@pytest.mark.parametrize("name", ["mlp", "given labels", "ladder"])
def test_the_parts_of_each_number_come_in_the_same_pieces(name: str, free: Callable[[int], None]) -> None:
    vae, given = model(name)
    free(128 * 64 * 7)
    with vae.at_rest():
        drawn = list(vae.importance(vae.as_input(images()), 6, *given.values(), by_number=True))
    for draws in drawn:
        assert draws.by_number is not None
        assert draws.by_number.shape[1:] == (5, 8, 8, 1)
        torch.testing.assert_close(
            draws.by_number.flatten(2).sum(-1), draws.log_likelihood, rtol=1e-5, atol=1e-4
        )


@pytest.mark.usefixtures("checks")
def test_no_batch_of_a_table_is_waited_for(free: Callable[[int], None]) -> None:
    columns = (
        Column(name="height", kind="real"),
        Column(name="sport", kind="category", categories=("run", "swim", "row")),
        Column(name="years", kind="count"),
    )
    vae = VAE.build(shape=(3,), hidden=[8], likelihood="mixed", columns=columns).to("meta")
    free(1 << 40)
    with vae.at_rest():
        measured = likelihood._measure(
            vae, torch.empty(50, 3, device="meta"), None, Plan("importance", 30), 0
        )
    assert measured.nll is not None
    assert vae.embed(np.zeros((5, 3), np.float32)).shape == (5, 2)
