"""A conditional model learns what it is told, and trains alike however its data come."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elboroom import fit
from elboroom.data import batches as data_batches
from elboroom.data.batches import Batches, Streamed
from elboroom.data.conditioned import condition_size, conditions_of
from elboroom.data.dataset import Dataset
from elboroom.errors import FailureError, UsageError
from elboroom.models.conditioning import Examples
from elboroom.models.vae import VAE
from elboroom.objectives import Objective
from elboroom.runs.run import load
from elboroom.training.checkpoints.state import load_state
from elboroom.training.step.engine import Engine
from elboroom.training.step.nonfinite import find_first

from . import job
from .known import LAYERED, SIDE, build, images

CPU = torch.device("cpu")
KINDS = ["labels", "vectors"]


@pytest.fixture(scope="module", params=["mlp", "chain", "ladder"])
def trained(request: pytest.FixtureRequest) -> VAE:
    """A model that has seen the two kinds of images often enough."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    vae = build(condition_names=("cat", "dog"), **LAYERED.get(request.param, {}))
    epochs = 12 if request.param == "ladder" else 30
    fit(vae, images(240), epochs=epochs, batch_size=16, lr=5e-3, quiet=True)
    torch.set_num_threads(threads)
    return vae


def brighter_left(x: torch.Tensor) -> torch.Tensor:
    return x[:, :, : SIDE // 2].mean((1, 2, 3)) > x[:, :, SIDE // 2 :].mean((1, 2, 3))


def test_samples_look_like_their_class(trained: VAE) -> None:
    assert brighter_left(trained.sample(50, condition="cat")).all()
    assert not brighter_left(trained.sample(50, condition="dog")).any()
    assert not brighter_left(trained.given(1).sample(50)).any()


def test_a_wrong_label_lowers_the_elbo_of_each_example(trained: VAE) -> None:
    data = images(240)
    rows = data.indices("test")
    x, labels = data.values(rows), data.labels[rows]  # type: ignore[index]
    right, wrong = (trained.elbo(x, 50, condition=told) for told in (labels, 1 - labels))
    assert (right > wrong + 1).all()  # by more than a nat, and 50 samples leave a tenth of one


def test_the_same_with_another_label_is_of_that_class(trained: VAE) -> None:
    x = images(240).x[:20]
    labels = np.arange(20) % 2
    codes = trained.carried(trained.embed(x, labels), labels, 1 - labels)
    turned = brighter_left(trained.decode(codes, 1 - labels).mean)
    assert torch.equal(turned, torch.from_numpy(labels == 1))


# However the data come


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("resident", [True, False])
def test_batches_give_each_example_its_own_condition(kind: str, resident: bool) -> None:
    data = images()
    held = Batches(data, CPU, resident=resident)
    order = np.array_split(np.random.default_rng(1).permutation(len(data)), 7)
    plain = list(held.stream(order))
    assert held.conditions(torch.arange(3)) is None
    assert not any(isinstance(rows, Streamed) for rows in plain)
    wanted = build(condition=kind).condition
    held.condition_on(wanted)
    assert wanted is not None
    every = conditions_of(data, wanted)
    expected = np.eye(2)[every] if kind == "labels" else every
    for rows, streamed in zip(order, held.stream(order), strict=True):
        assert len(streamed) == len(rows)
        np.testing.assert_array_equal(held[streamed], data.values(rows))
        told = held.conditions(streamed)
        assert told is not None
        np.testing.assert_array_equal(told, expected[rows].astype(np.float32))
    held.condition_on(None)
    assert held.conditions(torch.arange(3)) is None


def history(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_streamed_trains_as_resident(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job.train(kind, tmp_path / "resident")
    monkeypatch.setattr(data_batches, "fits", lambda *_: False)
    job.train(kind, tmp_path / "streamed")
    assert history(tmp_path / "streamed") == history(tmp_path / "resident")
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("streamed", "resident")]
    assert models[0] == models[1]


@pytest.mark.parametrize("kind", KINDS)
def test_resuming_is_bit_equal_and_a_run_is_loaded_with_its_condition(kind: str, tmp_path: Path) -> None:
    job.train(kind, tmp_path / "whole", 4)
    job.train(kind, tmp_path / "parts", 2)
    job.train(kind, tmp_path / "parts", 4, resume=True)
    assert history(tmp_path / "parts") == history(tmp_path / "whole")
    states = [
        load_state(tmp_path / run / "checkpoints" / "last" / "state.safetensors")["engine"]["model"]
        for run in ("whole", "parts")
    ]
    assert "prior.mean.weight" in states[0]
    assert all(torch.equal(weight, states[1][name]) for name, weight in states[0].items())
    vae = load(tmp_path / "whole")
    assert vae.condition is not None
    assert (vae.condition.kind, vae.condition.size) == (kind, 2)
    told = np.array([0.5, 1.0])
    assert vae.embed(images().x[:3], told).shape == (3, 2)


def test_other_vectors_are_other_data(tmp_path: Path) -> None:
    job.train("vectors", tmp_path / "run", 1)
    data = images()
    assert data.vectors is not None
    moved = dataclasses.replace(data, vectors=data.vectors + 1)
    with pytest.raises(UsageError, match=r"is not what .* was trained on"):
        fit(build(condition="vectors"), moved, out=tmp_path / "run", resume=True, epochs=2, quiet=True)


def test_other_labels_are_other_data_to_a_model_that_learns_them(tmp_path: Path) -> None:
    data = images()
    assert data.labels is not None
    swapped = dataclasses.replace(data, labels=1 - data.labels)
    job.train("labels", tmp_path / "told", 1)
    with pytest.raises(UsageError, match=r"contents, labels, split or validation part differ"):
        fit(build(), swapped, out=tmp_path / "told", resume=True, epochs=2, quiet=True)
    plain: dict[str, Any] = {"condition": "none", "condition_dim": None}
    fit(build(**plain), data, out=tmp_path / "plain", epochs=1, quiet=True)
    history = fit(build(**plain), swapped, out=tmp_path / "plain", resume=True, epochs=2, quiet=True)
    assert len(history) == 2


def test_two_processes_train_as_one(
    tmp_path: Path, free_port: Callable[[], int], popen: type[subprocess.Popen[str]]
) -> None:
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    shared |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, str(job.__file__), str(tmp_path / "two"), *KINDS]
    (tmp_path / "two").mkdir()
    processes = [
        popen(command, env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(2)
    ]
    try:
        for kind in KINDS:
            job.train(kind, tmp_path / "one" / kind)
        assert [process.wait(timeout=300) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for kind in KINDS:
        one, two = (history(tmp_path / size / kind) for size in ("one", "two"))
        for row, row2 in zip(one, two, strict=True):
            for name, value in row.items():
                # sums over parts of a batch are in another order: single-precision rounding, passed on
                expected = value if value is None else pytest.approx(value, rel=2e-4, abs=1e-5)
                assert row2[name] == expected, name


def test_the_condition_that_is_not_finite_is_named() -> None:
    vae, objective = build(condition="vectors"), Objective(1.0)
    c = torch.zeros(4, 2)
    c[2, 1] = torch.nan
    found = find_first(vae, objective, torch.rand(4, SIDE, SIDE, 1), torch.ones(1), c)
    assert found is not None
    assert (found.tensor, found.rows) == ("the conditions", [2])


def test_only_models_that_are_told_nothing_take_the_step_without_autograd() -> None:
    data = images()
    for vae, direct in (
        (VAE.build(shape=data.shape, hidden=(8,)), True),
        (build(condition_parts=("encoder",)), False),
        (build(condition_parts=("decoder",)), False),
        (build(), False),
    ):
        engine = Engine(vae, Objective(1.0), Batches(data, CPU), _config(), CPU)
        assert (engine.paths.direct is not None) is direct
        engine.step(torch.arange(8))


def _config() -> Any:
    from elboroom.config import Config

    return Config()


# Data


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (
            {"labels": None, "label_names": ()},
            "labels",
            "pets has no labels to be conditional on; use labelled",
        ),
        ({"vectors": None}, "vectors", "pets has no vectors to be conditional on"),
        ({"vectors": np.zeros((60, 3))}, "vectors", "vectors of 3 numbers and the model takes 2"),
        (
            {"labels": np.arange(60) % 3, "label_names": ()},
            "labels",
            "has 0, 1, 2, which the model does not know: its labels are cat, dog; the data need names",
        ),
        (
            {"labels": np.arange(60) % 3 - 1, "label_names": ()},
            "labels",
            "20 labels are negative, which usually marks unknown ones .row 0, counting from 0, has -1",
        ),
        (
            {"label_names": ("owl", "cat")},
            "labels",
            "has owl, which the model does not know: .* cat, dog",
        ),
    ],
)
def test_data_that_do_not_fit_are_refused_before_anything_is_written(
    change: dict[str, Any], kind: str, words: str, tmp_path: Path
) -> None:
    data = dataclasses.replace(images(), **change)
    names = {"condition_names": ("cat", "dog")} if kind == "labels" else {}
    with pytest.raises(UsageError, match=words):
        fit(build(condition=kind, **names), data, out=tmp_path / "run", epochs=1, quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        (np.zeros(60), r"shape \(60,\); it must be \(60, C\)"),
        (np.zeros((59, 2)), r"shape \(59, 2\)"),
        (np.zeros((60, 0)), r"shape \(60, 0\)"),
        (np.full((60, 2), np.nan), "vectors of 60 example"),
        (np.full((60, 2), 1e300), "infinite numbers, the first in row 0"),
        (np.full((60, 2), "a"), "must be numbers"),
    ],
)
def test_vectors_that_are_none(vectors: np.ndarray[Any, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        dataclasses.replace(images(), vectors=vectors)


def test_sizes_are_those_of_the_data() -> None:
    data = images()
    assert (condition_size(data, "labels"), condition_size(data, "vectors")) == (2, 2)
    unnamed = dataclasses.replace(data, labels=np.arange(60) % 5, label_names=())
    assert condition_size(unnamed, "labels") == 5
    assert data.with_validation(0.2).vectors is not None


def test_examples_are_sliced_with_their_conditions() -> None:
    data = images()
    assert data.labels is not None
    pair = Examples(data.x, data.labels)
    assert pair[3:5].condition.tolist() == [1, 0]
    assert pair[np.array([5, 0])].condition.tolist() == [1, 0]
    assert np.asarray(pair[2], np.float32).shape == (SIDE, SIDE, 1)
    assert (pair.ndim, pair.shape, len(pair)) == (4, (60, SIDE, SIDE, 1), 60)


def test_a_data_set_without_conditions_is_a_dataset() -> None:
    x = np.zeros((4, 2), np.float32)
    assert Dataset("x", x, split=np.zeros(4)).vectors is None
    with pytest.raises((UsageError, FailureError)):
        fit(build(shape=(2,)), x, epochs=1, quiet=True)
