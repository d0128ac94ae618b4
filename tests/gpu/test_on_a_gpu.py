"""Training, resuming and measuring on a GPU: a graph as single steps, and all as on the CPU to rounding."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.gpu import evaluation
from benchmarks.gpu.recipes import difference

import elboroom
from elboroom.cli.main import main
from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.data.batches import Batches
from elboroom.errors import DivergedError
from elboroom.evaluation import evaluate
from elboroom.models.vae import VAE
from elboroom.objectives import Loss, Objective, recipe
from elboroom.training import fit
from elboroom.training.checkpoints.state import load_state
from elboroom.training.loop import Training
from elboroom.training.prepare import build

BASE: dict[str, Any] = {"epochs": 3, "batch_size": 16, "validation": 0.2, "quiet": True, "precision": "fp32"}


@pytest.fixture(scope="module")
def data() -> Dataset:
    x = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 1), dtype=np.uint8)
    split = (np.arange(100) % 5 == 0).astype(np.uint8)
    return Dataset("images", x, split, np.arange(100) % 3, ("a", "b", "c"), scale=255.0)


def config_of(name: str, device: str, **options: Any) -> Config:
    base = {key: value for key, value in BASE.items() if key != "quiet"}
    return recipe(name, Config(), **{**base, "device": device, "figures_every": 0, **options})


def trained(data: Dataset, config: Config, out: Path | None = None) -> tuple[VAE, list[dict[str, Any]]]:
    vae = build(config, data)
    return vae, fit(vae, data, config=config, out=out, quiet=True)


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"hidden": [16]},
    "average, clipping, ramp": {
        "hidden": [16],
        "ema": 0.9,
        "clip": 0.5,
        "beta_schedule": "linear",
        "beta_ramp": 2.0,
    },
    "accumulated": {"hidden": [16], "accumulate": 2, "batch_size": 8},
    "drawn pixels, flipped": {"hidden": [16], "binarize": "stochastic", "flip": True},
    "labels": {"hidden": [16], "condition": "labels"},
    "schedule": {"hidden": [16], "lr_schedule": "CosineAnnealingLR"},
    "convolutions, recomputed": {"network": "conv", "conv_width": 4, "checkpoint_activations": True},
}
RECIPES: dict[str, dict[str, Any]] = {
    "iwae": {"hidden": [16]},
    "vamp": {"hidden": [16], "prior_components": 5},
    "flow-prior": {"hidden": [16]},
    "vq-vae": {"hidden": [16]},
    "factor-vae": {"hidden": [16]},
    "ladder": {"conv_width": 4},
    "sigma-vae": {"hidden": [16]},
}
CASES = {name: ("vae", options) for name, options in OPTIONS.items()} | {
    name: (name, options) for name, options in RECIPES.items()
}


@pytest.mark.parametrize("case", CASES)
def test_a_graph_trains_as_single_steps_do(case: str, gpu: str, data: Dataset) -> None:
    name, options = CASES[case]
    config = config_of(name, gpu, **options)
    eager, graph = (trained(data, config.updated(capture=way))[1] for way in ("off", "auto"))
    again = trained(data, config.updated(capture="off"))[1]
    # Some kernels add in any order, and then even the same training differs from itself.
    assert difference(eager, graph) <= max(1e-5, 10 * difference(eager, again))


def test_two_processes_record_what_lies_between_their_sums(gpu: str, tmp_path: Path) -> None:
    if gpu == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip("two processes need two GPUs")
    command = [
        sys.executable,
        "-m",
        "elboroom",
        "train",
        "digits",
        "--hidden",
        "16",
        "--epochs",
        "2",
        "--quiet",
    ]
    command += ["--devices", "2", "--device", gpu, "--precision", "fp32", "--figures-every", "0"]
    histories = []
    for capture in ("off", "auto"):
        out = tmp_path / capture
        subprocess.run([*command, "--capture", capture, "--out", str(out)], check=True, timeout=200)
        assert "without a CUDA graph" not in (out / "log.txt").read_text()
        histories.append([json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()])
    assert difference(*histories) <= 1e-4


@pytest.mark.parametrize("case", ["plain", "labels", "convolutions, recomputed", "iwae"])
def test_it_trains_as_on_the_cpu(case: str, gpu: str, data: Dataset) -> None:
    """Without noise, which other generators draw: the mean code of a narrow posterior is what is decoded."""
    name, options = CASES[case]
    if name == "iwae":
        options = {**options, "num_samples": 2}
    config = config_of(name, "cpu", epochs=1, **options)
    losses = []
    for device in ("cpu", gpu):
        vae = build(config, data).to(device)
        objective = Objective.from_config(config.objective, 5, vae=vae, examples=80).to(device)
        with evaluation.same_noise():
            condition = None if vae.condition is None else torch.arange(20, device=device) % 3
            x = vae.as_input(data.x[:20])
            terms = vae(x, objective.num_samples, condition)
            loss = objective(terms, 0)
            loss.backward()
        found = [loss.detach(), *(p.grad for p in vae.parameters() if p.grad is not None)]
        losses.append([each.cpu() for each in found])
    for one, other in zip(*losses, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-4 * float(one.abs().max()))


@pytest.mark.parametrize("way", ["auto", "off"])
def test_a_resumed_run_is_the_run_that_was_not_stopped(
    way: str, gpu: str, data: Dataset, tmp_path: Path
) -> None:
    options = {"hidden": [16], "capture": way, "ema": 0.9, "binarize": "stochastic"}
    whole, _ = trained(data, config_of("vae", gpu, **options), tmp_path / "whole")
    trained(data, config_of("vae", gpu, **options, epochs=1), tmp_path / "stopped")
    config = config_of("vae", gpu, **options)
    resumed = build(config, data)
    fit(resumed, data, config=config, out=tmp_path / "stopped", resume=True, quiet=True)
    one, other = (
        load_state(tmp_path / name / "checkpoints" / "last" / "state.safetensors")["engine"]["model"]
        for name in ("whole", "stopped")
    )
    for key, value in one.items():
        assert torch.equal(value, other[key]), key
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_a_bad_example_is_skipped(gpu: str, data: Dataset) -> None:
    x = np.random.default_rng(0).random((64, 6), dtype=np.float32)
    config = config_of("vae", gpu, hidden=[8], validation=0.0)
    rows = Dataset("rows", x, np.zeros(64, np.uint8), published_split=True)
    training = Training(build(config, rows), rows, config, quiet=True)
    training.engine.batches.x[17] = torch.nan
    history = training.run()
    assert all(np.isfinite(row["loss"]) for row in history)
    assert all(p.isfinite().all() for p in training.engine.vae.parameters())


def test_a_training_that_diverges_says_so(gpu: str, data: Dataset) -> None:
    config = config_of("vae", gpu, hidden=[16], likelihood="gaussian", lr=1e30, optimizer="SGD")
    with pytest.raises(DivergedError):
        trained(data, config)


def test_streamed_data_train_as_resident_ones(gpu: str, data: Dataset) -> None:
    config = config_of("vae", gpu, hidden=[16])
    found = []
    for resident in (True, False):
        training = Training(build(config, data), data, config, quiet=True)
        training.engine.batches = Batches(training.data, training.engine.device, resident=resident)
        found.append(training.run())
    assert difference(*found) <= 1e-5


def test_a_run_is_loaded_on_the_cpu(gpu: str, data: Dataset, tmp_path: Path) -> None:
    vae, _ = trained(data, config_of("vae", gpu, hidden=[16]), tmp_path / "run")
    loaded = elboroom.load(tmp_path / "run")
    codes = loaded.embed(data.x)
    assert codes.device.type == "cpu"
    torch.testing.assert_close(vae.embed(data.x).cpu(), codes, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", evaluation.MODELS)
def test_nll_and_codes_are_those_of_the_cpu(name: str, gpu: str) -> None:
    assert evaluation.compare(name, torch.device(gpu), 6, 30)["ok"]


def test_running_out_of_memory_halves_the_pieces(gpu: str) -> None:
    if gpu == "cpu":
        pytest.skip("a CPU has no allocator that could be limited")
    assert evaluation.out_of_memory(torch.device(gpu))["ok"]


@pytest.mark.parametrize("case", ["plain", "labels", "ladder", "vq-vae"])
def test_evaluation_agrees_with_the_cpu(case: str, gpu: str, data: Dataset) -> None:
    name, options = CASES[case]
    vae = build(config_of(name, "cpu", **options), data)
    rows = np.arange(60)
    samples = 0 if name == "vq-vae" else 200
    on_cpu = evaluate(vae, Batches(data, torch.device("cpu")), rows, num_samples=samples)
    vae.to(gpu)
    before = torch.rand(3, device=gpu)
    torch.manual_seed(0)
    expected = torch.rand(3, device=gpu)
    torch.manual_seed(0)
    found = evaluate(vae, Batches(data, torch.device(gpu)), rows, num_samples=samples)
    assert torch.equal(torch.rand(3, device=gpu), expected), "it changes the caller's random state"
    assert before.shape == expected.shape
    for what in ("elbo", "nll"):
        if on_cpu[what] is not None:
            error = 6 * (on_cpu[f"{what}_stderr"] or 0) + 1e-4 * abs(on_cpu[what])
            assert abs(found[what] - on_cpu[what]) <= error, what


def test_own_loops_train_on_it(gpu: str, data: Dataset) -> None:
    vae = build(config_of("vae", "cpu", hidden=[16]), data).to(gpu)
    loss = Loss(vae, Objective()).to(gpu)
    optimizer = torch.optim.Adam(loss.parameters(), 1e-2)
    x = vae.as_input(data.x)
    values = []
    for step in range(20):
        optimizer.zero_grad()
        value = loss(x, step)
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < values[0]


def test_the_commands_use_it(
    gpu: str,
    data: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("d.npz", x=data.x, labels=data.labels)
    size = ["--hidden", "16", "--epochs", "2", "--batch-size", "16"]
    commands = [
        ["train", "d.npz", "--out", "run", *size, "--quiet"],
        ["resume", "run", "--epochs", "3", "--quiet"],
        ["evaluate", "run", "--num-samples", "20", "--json"],
        ["embed", "run", "--out", "z.npz"],
        ["reconstruct", "run", "d.npz:0"],
        ["sample", "run"],
        ["morph", "run", "d.npz:0", "d.npz:1", "--out", "m.png"],
        ["traverse", "run"],
        ["neighbours", "run", "d.npz:0"],
        ["figures", "run"],
    ]
    for command in commands:
        capsys.readouterr()
        assert main([*command, "--device", gpu]) == 0, (command, capsys.readouterr().err)
        if command[0] == "evaluate":
            assert json.loads(capsys.readouterr().out)["examples"] > 0
    assert np.load("z.npz")["z"].shape[0] == 100


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """People with a height, an age and a sport, a tenth of the cells missing."""
    random = np.random.default_rng(0)
    lines = ["height,age,sport"]
    for _ in range(120):
        cells = [
            f"{random.normal(170, 9):.1f}",
            str(random.integers(18, 90)),
            random.choice(["run", "swim", "row"]),
        ]
        lines.append(",".join("" if random.random() < 0.1 else cell for cell in cells))
    path = tmp_path / "people.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_tables_train_and_are_scored(
    gpu: str, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    size = ["--hidden", "16", "--epochs", "3", "--batch-size", "20"]
    commands = [
        ["train", str(table), "--out", "run", *size, "--quiet"],
        ["evaluate", "run", "--num-samples", "20", "--json"],
        ["score", "run", "--num-samples", "10", "--contributions"],
        ["score", "run", "--score", "regret", "--num-samples", "4", "--steps", "3", "--out", "regret.csv"],
        ["impute", "run", "--num-samples", "20"],
        ["sample", "run"],
    ]
    for command in commands:
        assert main([*command, "--device", gpu]) == 0, command
    vae = elboroom.load("run").to(gpu)
    data = elboroom.load_data(table)
    on_cpu = elboroom.load("run")
    torch.testing.assert_close(vae.embed(data.x).cpu(), on_cpu.embed(data.x), rtol=1e-3, atol=1e-4)
    with evaluation.same_noise():
        expected = on_cpu.nll(data.x, 20).value
    with evaluation.same_noise():
        found = vae.nll(data.x, 20).value
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-3, atol=1e-3)


def test_a_graph_of_a_table_trains_as_single_steps_do(gpu: str, table: Path) -> None:
    data = elboroom.load_data(table)
    config = config_of("vae", gpu, hidden=[16], likelihood="mixed")
    eager, graph = (trained(data, config.updated(capture=way))[1] for way in ("off", "auto"))
    assert difference(eager, graph) <= 1e-5
