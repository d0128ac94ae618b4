"""Pythae: its VAE with the shared networks, its ``BaseTrainer``, ``get_nll`` and ``embed``."""

from __future__ import annotations

import importlib.metadata
import math
import tempfile
import time
from typing import Any

import torch
from benchmarks.engine.cases import Net
from benchmarks.engine.nets import float_images, make_nets
from benchmarks.engine.programs import Done, Job
from pythae.data.datasets import BaseDataset  # type: ignore[import-untyped]
from pythae.models import VAE, VAEConfig  # type: ignore[import-untyped]
from pythae.models.base.base_utils import ModelOutput  # type: ignore[import-untyped]
from pythae.models.nn import BaseDecoder, BaseEncoder  # type: ignore[import-untyped]
from pythae.trainers import BaseTrainer, BaseTrainerConfig  # type: ignore[import-untyped]
from pythae.trainers.training_callbacks import TrainingCallback  # type: ignore[import-untyped]
from torch import Tensor, nn

VERSION = importlib.metadata.version("pythae")
# Faster than Pythae's defaults.
_EMBED_BATCH, _NLL_BATCH = 1000, 1000


class _Encoder(BaseEncoder):  # type: ignore[misc]
    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Any:
        mean, log_variance = self.net(x).chunk(2, -1)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class _Decoder(BaseDecoder):  # type: ignore[misc]
    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, z: Tensor) -> Any:
        # Pythae's cross-entropy takes probabilities.
        return ModelOutput(reconstruction=torch.sigmoid(self.net(z)))


def _model(net: Net) -> Any:
    torch.manual_seed(0)
    encoder, decoder = make_nets(net)
    height, width, channels = net.shape
    config = VAEConfig(
        input_dim=(channels, height, width), latent_dim=net.latent_dim, reconstruction_loss="bce"
    )
    return VAE(config, encoder=_Encoder(encoder), decoder=_Decoder(decoder))


class _Stopwatch(TrainingCallback):  # type: ignore[misc]
    """Counts the trainer's steps and reports each piece of them."""

    def __init__(self, steps: int, batch: int, done: Done):
        self.steps, self.batch, self.done = steps, batch, done
        self.taken, self.started = 0, 0.0

    def start(self) -> None:
        self.taken, self.started = 0, time.perf_counter()

    def on_train_step_end(self, training_config: Any, **kwargs: Any) -> None:  # noqa: ARG002
        self.taken += 1
        if self.taken == self.steps:
            # The last batch of an epoch may be smaller, which makes Pythae look slightly faster than it is.
            self.done(self.steps * self.batch, time.perf_counter() - self.started)
            self.start()


def train(job: Job, count: int, done: Done) -> None:
    """Time the epochs of Pythae's trainer, with its DataLoader, progress bar and callbacks.

    What it does between epochs is not counted.
    """
    case = job.case
    x = float_images(job.images)
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=1,
            learning_rate=1e-3,
            per_device_train_batch_size=case.batch,
            no_cuda=job.device != "cuda",
            seed=0,
        )
        watch = _Stopwatch(math.ceil(count / case.batch), case.batch, done)
        data = BaseDataset(x, torch.zeros(len(x)))
        trainer = BaseTrainer(_model(case.net), data, training_config=settings, callbacks=[watch])
        trainer.prepare_training()
        watch.start()
        epoch = 0
        while True:
            epoch += 1
            trainer.train_step(epoch)


@torch.no_grad()  # Pythae does not disable gradients itself; experienced users do
def nll(job: Job, count: int, done: Done) -> None:
    """Call ``get_nll``, which processes one image after another."""
    model = _model(job.case.net).to(job.device).eval()
    x = float_images(job.images)[:count].to(job.device)
    while True:
        started = time.perf_counter()
        model.get_nll(x, n_samples=job.case.num_samples, batch_size=_NLL_BATCH)
        done(len(x), time.perf_counter() - started)


@torch.no_grad()
def embed(job: Job, count: int, done: Done) -> None:
    """Call ``embed`` in batches of 1,000; it also decodes them."""
    model = _model(job.case.net).to(job.device).eval()
    x = float_images(job.images)
    while True:
        started = time.perf_counter()
        torch.cat([model.embed(part.to(job.device)).cpu() for part in torch.split(x, _EMBED_BATCH)])
        done(len(x), time.perf_counter() - started)


TASKS = {"train": train, "nll": nll, "embed": embed}
