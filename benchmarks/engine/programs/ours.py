"""elboroom through its public interface: ``fit``, ``VAE.nll`` and ``VAE.embed`` on uint8 images."""

from __future__ import annotations

import math
import time
from typing import Any, Literal

import numpy as np
import torch
from benchmarks.engine.images import read_images
from benchmarks.engine.programs import Absent, Done, Job

import elboroom
from elboroom.training import keep_freed_memory
from elboroom.training.devices import has_bf16

VERSION = elboroom.__version__
# More epochs than will run: training ends when no more pieces are needed.
_FOREVER = 1_000_000
# By then a long training has compiled its step, or found that this does not pay.
_WARM = 100


def precision_options(program: str) -> dict[str, Any]:
    """Return the options of ``fit`` for this program; empty if elboroom has no such option."""
    if not _knows("precision"):
        if program == "elboroom-fp32":
            raise Absent("this elboroom has no option precision: its other row is fp32")
        return {}
    return {"precision": "fp32" if program == "elboroom-fp32" else "auto"}


def compile_options(program: str) -> dict[str, Any]:
    """Return the options of ``fit`` that let it compile where that pays, for the program that may."""
    if program != "elboroom-compiled":
        return {}
    if not _knows("compile"):
        raise Absent("this elboroom has no option compile: its other rows are not compiled")
    return {"compile": "auto"}


def _knows(option: str) -> bool:
    sections = elboroom.Config()
    return any(hasattr(getattr(sections, name), option) for name in elboroom.Config.model_fields)


def _model(job: Job) -> elboroom.VAE:
    torch.manual_seed(0)
    net = job.case.net
    kind: dict[str, Any] = {"hidden": net.hidden} if net.hidden else {"network": "conv"}
    return elboroom.VAE.build(shape=net.shape, latent_dim=net.latent_dim, activation="relu", **kind)


def _precision_to_evaluate_in(job: Job) -> Literal["fp32", "bf16"]:
    """Return bf16 for the row ``elboroom`` if the hardware supports it, else the default, fp32."""
    return "bf16" if job.program == "elboroom" and has_bf16(torch.device(job.device)) else "fp32"


def train(job: Job, count: int, done: Done) -> None:
    """Train with ``fit``; a piece is one epoch, timed by its own ``seconds``, after the first steps."""
    keep_freed_memory()  # as the command line does
    case = job.case
    x = read_images(job.images)
    data = elboroom.Dataset("benchmark", x, np.zeros(len(x), np.uint8), scale=255.0, published_split=True)
    batches = math.ceil(count / case.batch)

    def report(_vae: elboroom.VAE, row: dict[str, Any]) -> None:
        if row["step"] > _WARM:
            done(batches * case.batch, row["seconds"])

    elboroom.fit(
        _model(job),
        data,
        epochs=_FOREVER,
        batch_size=case.batch,
        batches_per_epoch=batches,
        lr=1e-3,
        validation=0.0,
        device=job.device,
        quiet=True,
        on_epoch=report,
        **precision_options(job.program),
        **compile_options(job.program),
    )


def nll(job: Job, count: int, done: Done) -> None:
    """Call ``VAE.nll`` once for ``count`` images."""
    vae, precision = _model(job).to(job.device), _precision_to_evaluate_in(job)
    x = np.array(read_images(job.images)[:count])
    while True:
        started = time.perf_counter()
        vae.nll(x, num_samples=job.case.num_samples, precision=precision).value.sum().item()
        done(len(x), time.perf_counter() - started)


def embed(job: Job, count: int, done: Done) -> None:
    """Call ``VAE.embed`` once for all images."""
    vae, precision = _model(job).to(job.device), _precision_to_evaluate_in(job)
    x = np.array(read_images(job.images))
    while True:
        started = time.perf_counter()
        vae.embed(x, precision=precision).cpu()
        done(len(x), time.perf_counter() - started)


TASKS = {"train": train, "nll": nll, "embed": embed}
