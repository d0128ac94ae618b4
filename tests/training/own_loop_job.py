"""Training loops of one's own, in one process or as one of two: ``own_loop_job.py FOLDER RANK``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from elboroom.config import Config
from elboroom.data import Dataset
from elboroom.distributed.noise import part_of_batch
from elboroom.models.vae import VAE
from elboroom.objectives import Loss, Objective
from elboroom.training.order import epoch_order

EPOCHS, BATCH = 5, 8
CONFIG = Config().updated(
    **{"epochs": EPOCHS, "batch_size": BATCH, "validation": 0.0, "precision": "fp32"},
    **{"likelihood": "gaussian", "bound": "iwae", "num_samples": 3},
    **{"beta_schedule": "linear", "beta_ramp": 3.0},
)
Train = Callable[[VAE, Objective], Callable[[Tensor, int], Tensor]]


def build() -> VAE:
    torch.manual_seed(1)
    return VAE.build(shape=(5,), hidden=[16], likelihood="gaussian")


def data() -> Dataset:
    """80 rows to train on: 50 steps."""
    x = np.random.default_rng(0).normal(size=(80, 5)).astype(np.float32)
    return Dataset("rows", x, np.zeros(80, np.uint8), scale=1.0, published_split=True)


def two_calls(model: Callable[..., Any], objective: Objective) -> Callable[[Tensor, int], Tensor]:
    """The model, then the objective."""
    return lambda x, step: objective(model(x, objective.num_samples), step)


def train(
    parameters: Any,
    loss_of: Callable[[Tensor, int], Tensor],
    *,
    rank: int = 0,
    processes: int = 1,
    backward: Callable[[Tensor], Any] = Tensor.backward,
    optimizer: Any = None,
) -> None:
    """A plain loop of 50 steps; of several processes each takes its part of a batch and of its noise."""
    optimizer = optimizer or torch.optim.Adam(parameters, lr=1e-3)
    rows, step, share = data(), 0, BATCH // processes
    torch.manual_seed(0)  # as fit does with the seed of the configuration
    for epoch in range(EPOCHS):
        for batch in epoch_order(rows.indices("train"), CONFIG.training, epoch):
            start = rank * share
            own = torch.from_numpy(np.asarray(rows.x[batch[start : start + share]]))
            with part_of_batch(start, share, BATCH) if processes > 1 else nullcontext():
                loss = loss_of(own, step)
            optimizer.zero_grad()
            backward(loss)
            optimizer.step()
            step += 1
    assert step == 50


def objective() -> Objective:
    return Objective.from_config(CONFIG.objective, 10)


def whole(weights: dict[str, Any]) -> dict[str, Tensor]:
    """Weights that may be divided among the processes."""
    return {
        name: (value.full_tensor() if hasattr(value, "full_tensor") else value).detach().contiguous()
        for name, value in weights.items()
    }


def ddp(rank: int) -> VAE:
    vae = build()
    wrapped = DistributedDataParallel(vae)
    train(wrapped.parameters(), two_calls(wrapped, objective()), rank=rank, processes=2)
    return vae


def ddp_of_the_loss(rank: int) -> VAE:
    vae = build()
    wrapped = DistributedDataParallel(Loss(vae, objective()))
    train(wrapped.parameters(), wrapped, rank=rank, processes=2)
    return vae


def fsdp(rank: int) -> VAE:
    vae = build()
    fully_shard(vae, mesh=init_device_mesh("cpu", (2,)))
    train(vae.parameters(), two_calls(vae, objective()), rank=rank, processes=2)
    return vae


def fsdp_of_the_loss(rank: int) -> VAE:
    vae, mesh = build(), init_device_mesh("cpu", (2,))
    loss = Loss(vae, objective())
    for part in (vae.encoder, vae.decoder, loss):
        fully_shard(part, mesh=mesh)
    train(loss.parameters(), loss, rank=rank, processes=2)
    return vae


WAYS = {one.__name__: one for one in (ddp, ddp_of_the_loss, fsdp, fsdp_of_the_loss)}


def main(folder: Path, rank: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2)
    for name, way in WAYS.items():
        weights = whole(way(rank).state_dict())
        save_file(weights, folder / f"{name}-{rank}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
