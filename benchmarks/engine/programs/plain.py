"""The usual PyTorch loops with fused Adam.

``plain`` has a TensorDataset and a DataLoader. ``plain-bf16`` takes its batches from a tensor in memory,
which is faster, and computes networks and loss under autocast to bfloat16.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch
from benchmarks.engine.nets import float_images, loss, make_nets
from benchmarks.engine.programs import Done, Job
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

VERSION = torch.__version__
_EMBED_BATCH = 1000
# Rows decoded at once in importance sampling.
_ROWS = 20_000


def wait(device: str) -> None:
    """Wait until the device has finished."""
    if device == "cuda":
        torch.cuda.synchronize()


def _is_low(job: Job) -> bool:
    return job.program == "plain-bf16"


def _autocast(job: Job) -> torch.autocast:
    return torch.autocast(job.device, torch.bfloat16, enabled=_is_low(job))


def _epochs(job: Job) -> Iterator[Tensor]:
    """Shuffled batches on the device, epoch after epoch."""
    x, size = float_images(job.images), job.case.batch
    if _is_low(job):
        x = x.to(job.device)
        while True:
            for rows in torch.randperm(len(x), device=job.device).split(size):
                yield x[rows]
    loader = DataLoader(TensorDataset(x), batch_size=size, shuffle=True)
    while True:
        for (batch,) in loader:
            yield batch.to(job.device)


def train(job: Job, count: int, done: Done) -> None:
    """Train epoch after epoch; a piece is a number of steps and may begin anywhere in an epoch."""
    torch.manual_seed(0)
    case = job.case
    encoder, decoder = (net.to(job.device) for net in make_nets(case.net))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=True)
    steps, taken = math.ceil(count / case.batch), 0
    images, started = 0, time.perf_counter()
    for x in _epochs(job):
        with _autocast(job):
            value = loss(encoder, decoder, x)
        optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        taken, images = taken + 1, images + len(x)
        if taken == steps:
            wait(job.device)
            done(images, time.perf_counter() - started)
            taken, images, started = 0, 0, time.perf_counter()


@torch.no_grad()
def nll(job: Job, count: int, done: Done) -> None:
    """Encode once and decode the samples of all images in chunks."""
    encoder, decoder = (net.to(job.device) for net in make_nets(job.case.net))
    x = float_images(job.images)[:count].to(job.device)
    most, samples = max(1, _ROWS // len(x)), job.case.num_samples
    chunks = [min(most, samples - k) for k in range(0, samples, most)]
    while True:
        started = time.perf_counter()
        with _autocast(job):
            features = encoder(x)
        mean, log_variance = features.float().chunk(2, -1)
        weights = []
        for k in chunks:
            noise = torch.randn(k, *mean.shape, device=job.device)
            z = mean + torch.exp(0.5 * log_variance) * noise
            with _autocast(job):
                decoded = decoder(z.flatten(0, 1))
            logits = decoded.float().unflatten(0, z.shape[:2])
            cross_entropy = F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none")
            prior_to_posterior = 0.5 * (noise.square() + log_variance - z.square()).sum(-1)
            weights.append(prior_to_posterior - cross_entropy.flatten(2).sum(-1))
        (math.log(samples) - torch.logsumexp(torch.cat(weights), 0)).sum().item()
        done(len(x), time.perf_counter() - started)


@torch.no_grad()
def embed(job: Job, count: int, done: Done) -> None:
    """Compute posterior means in batches of 1,000."""
    encoder, _ = make_nets(job.case.net)
    encoder.to(job.device)
    x = float_images(job.images)
    while True:
        started = time.perf_counter()
        with _autocast(job):
            features = [encoder(part.to(job.device)) for part in torch.split(x, _EMBED_BATCH)]
        torch.cat(features).float().chunk(2, -1)[0].cpu()
        done(len(x), time.perf_counter() - started)


TASKS = {"train": train, "nll": nll, "embed": embed}
