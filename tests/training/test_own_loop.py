"""Loops of one's own, under DDP, FSDP2, Accelerate and Fabric, train what ``fit`` trains."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import elboroom
from elboroom.models.vae import VAE
from elboroom.objectives import Loss, Objective, prior_critic
from elboroom.objectives.schedules import constant

from . import own_loop_job as job


@pytest.fixture(scope="module")
def fitted() -> dict[str, Tensor]:
    """Weights after the same 50 steps of ``fit``."""
    vae = job.build()
    history = elboroom.fit(vae, job.data(), config=job.CONFIG, quiet=True)
    assert history[-1]["step"] == 50
    return vae.state_dict()


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory: pytest.TempPathFactory, popen: type[subprocess.Popen[str]]) -> Path:
    """What two processes make of it, in each way; they meet through a file and talk over loopback."""
    folder = tmp_path_factory.mktemp("own")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-m", f"{Path(__file__).parent.name}.own_loop_job", str(folder)]
    processes = [
        popen(
            [*command, str(rank)],
            cwd=Path(__file__).parents[1],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        errors = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [process.returncode for process in processes] == [0, 0], errors
    return folder


def assert_same(found: dict[str, Tensor], fitted: dict[str, Tensor]) -> None:
    """Sums over two halves are in another order, which 50 steps of Adam pass on."""
    assert found.keys() == fitted.keys()
    for name, value in fitted.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize("way", job.WAYS)
@pytest.mark.parametrize("rank", [0, 1])
def test_two_processes_train_what_fit_trains(
    way: str, rank: int, wrapped: Path, fitted: dict[str, Tensor]
) -> None:
    if way == "fsdp" and torch.__version__ < (2, 13):
        pytest.skip("FSDP2 of torch 2.8 finds no tensors in the dataclass that a VAE returns")
    assert_same(load_file(wrapped / f"{way}-{rank}.safetensors"), fitted)


def test_training_changes_the_weights_by_more_than_the_tolerance(fitted: dict[str, Tensor]) -> None:
    start = job.build().state_dict()
    assert max(float((fitted[name] - value).abs().max()) for name, value in start.items()) > 0.01


@pytest.mark.parametrize("as_one", [False, True])
def test_a_plain_loop_trains_what_fit_trains(as_one: bool, fitted: dict[str, Tensor]) -> None:
    vae, objective = job.build(), job.objective()
    loss_of = Loss(vae, objective) if as_one else job.two_calls(vae, objective)
    job.train(vae.parameters(), loss_of)
    assert_same(vae.state_dict(), fitted)


@pytest.mark.parametrize("as_one", [False, True])
def test_accelerate_trains_what_fit_trains(as_one: bool, fitted: dict[str, Tensor]) -> None:
    accelerate = pytest.importorskip("accelerate")
    vae, objective = job.build(), job.objective()
    accelerator = accelerate.Accelerator(cpu=True)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
    model, optimizer = accelerator.prepare(Loss(vae, objective) if as_one else vae, optimizer)
    loss_of = model if as_one else job.two_calls(model, objective)
    job.train(None, loss_of, optimizer=optimizer, backward=accelerator.backward)
    assert_same(vae.state_dict(), fitted)


def test_fabric_trains_what_fit_trains(fitted: dict[str, Tensor]) -> None:
    lightning_fabric = pytest.importorskip("lightning_fabric")
    vae = job.build()
    fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
    loss, optimizer = fabric.setup(Loss(vae, job.objective()), optimizer)
    job.train(None, loss, optimizer=optimizer, backward=fabric.backward)
    assert_same(vae.state_dict(), fitted)


def test_the_loss_has_the_value_of_the_objective_and_the_gradient_of_its_critic() -> None:
    vae = VAE.build(shape=(5,), hidden=[4])
    critic = prior_critic(2, hidden=(3,))
    loss = Loss(vae, Objective(0.0, penalties={"critic": (critic, constant(2.0))}))
    x = torch.rand(6, 5)
    torch.manual_seed(3)
    value = loss(x, 0)
    value.backward()
    found = [p.grad for p in loss.parameters()]
    torch.manual_seed(3)
    terms = vae(x)
    expected = terms.distortion.mean() + 2 * critic(terms)
    torch.testing.assert_close(value, expected)
    model = torch.autograd.grad(expected, [*vae.parameters()], retain_graph=True)
    against = torch.autograd.grad(critic.own_loss(terms), [*critic.parameters()])
    for grad, other in zip(found, [*model, *against], strict=True):
        torch.testing.assert_close(grad, other)
