"""The roofline: the matrix products of a step alone, and the optimiser's bytes at the speed of copying.

Every linear or convolutional layer has a forward product, one for the gradient of its weights and, except for
the first layer, one for the gradient of its input. Each is timed separately, in every memory layout of its
matrices and in every allowed dtype, and the fastest is taken, although one program could hardly use all of
them at once.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from benchmarks.engine.cases import Case
from benchmarks.engine.nets import make_nets
from benchmarks.engine.programs import Done, Job
from benchmarks.engine.programs.plain import wait
from torch import Tensor, nn
from torch.nn import functional as F

VERSION = torch.__version__
# Batch sizes of tasks that have none of their own: codes decoded and images encoded at once.
_ROWS = {"nll": 4000, "embed": 1000}
# Adam reads weight, gradient and both moments and writes weight and moments: seven numbers of four bytes.
# Copying one half of those four buffers to the other moves four.
_ADAM_PER_COPY = 7 / 4
_MOST_COPIES = 20


@dataclass
class Product:
    """One product that can be repeated.

    Attributes
    ----------
    do : callable
        Does it.
    seconds : float
        What it took when it was chosen.
    flops : int
        Multiplications and additions.
    """

    do: Callable[[], Any]
    seconds: float
    flops: int


def _dtypes(job: Job) -> tuple[torch.dtype, ...]:
    return (torch.float32,) if job.program == "products-fp32" else (torch.float32, torch.bfloat16)


def _fastest(candidates: list[Callable[[], Any]], device: str, flops: int) -> Product:
    timed = []
    for do in candidates:
        do()
        wait(device)
        best, spent, tries = math.inf, 0.0, 0
        while tries < 2 or (spent < 0.004 and tries < 10):
            started = time.perf_counter()
            do()
            wait(device)
            seconds = time.perf_counter() - started
            best, spent, tries = min(best, seconds), spent + seconds, tries + 1
        timed.append((best, do))
    seconds, do = min(timed, key=lambda pair: pair[0])
    return Product(do, seconds, flops)


@lru_cache
def matrix_product(m: int, k: int, n: int, dtypes: tuple[torch.dtype, ...], device: str) -> Product:
    """Return products (m, k) times (k, n), with factors and result stored by rows or by columns."""

    def matrix(rows: int, columns: int, by_columns: bool, dtype: torch.dtype) -> Tensor:
        stored = torch.rand((columns, rows) if by_columns else (rows, columns), device=device).to(dtype)
        return stored.t() if by_columns else stored

    candidates: list[Callable[[], Any]] = []
    either = (False, True)
    for dtype, of_a, of_b, of_out in itertools.product(dtypes, either, either, either):
        a, b, out = matrix(m, k, of_a, dtype), matrix(k, n, of_b, dtype), matrix(m, n, of_out, dtype)
        candidates.append(partial(torch.mm, a, b, out=out))
    return _fastest(candidates, device, 2 * m * k * n)


def _linear(layer: nn.Linear, rows: int, first: bool, backward: bool, *where: Any) -> list[Product]:
    i, o = layer.in_features, layer.out_features
    sizes = [(rows, i, o)]
    if backward:
        sizes.append((o, rows, i))
        if not first:
            sizes.append((rows, o, i))
    return [matrix_product(*size, *where) for size in sizes]


def _convolution(
    layer: nn.Conv2d,
    shape: tuple[int, ...],
    first: bool,
    backward: bool,
    dtypes: tuple[torch.dtype, ...],
    device: str,
) -> list[Product]:
    forwards: list[Callable[[], Any]] = []
    backwards: list[Callable[[], Any]] = []
    flops, moves = 0, (layer.stride, layer.padding, layer.dilation)
    for dtype, memory in itertools.product(dtypes, (torch.contiguous_format, torch.channels_last)):
        x = torch.rand(shape, device=device).to(dtype).contiguous(memory_format=memory)
        w = layer.weight.detach().to(device, dtype).contiguous(memory_format=memory)
        forward = partial(F.conv2d, x, w, None, *moves)
        out = forward()
        flops = 2 * out.numel() * w[0].numel()
        forwards.append(forward)
        rest = (False, (0, 0), 1, (not first, True, False))
        backwards.append(partial(torch.ops.aten.convolution_backward, out, x, w, None, *moves, *rest))
    products = [_fastest(forwards, device, flops)]
    if backward:
        products.append(_fastest(backwards, device, flops * (1 if first else 2)))
    return products


def _layers(net: nn.Module, x: Tensor) -> list[tuple[nn.Module, tuple[int, ...]]]:
    """Return linear and convolutional layers in order, each with the shape of its input."""
    found: list[tuple[nn.Module, tuple[int, ...]]] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found.append((module, tuple(inputs[0].shape)))

    hooks = [m.register_forward_pre_hook(note) for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    return found


@lru_cache(maxsize=1)
def products_of(case: Case, dtypes: tuple[torch.dtype, ...], device: str) -> tuple[list[Product], int]:
    """Return the products of one step, or of one chunk of decoding or encoding, and its number of images."""
    rows = _ROWS.get(case.task, case.batch)
    encoder, decoder = make_nets(case.net)
    height, width, channels = case.net.shape
    layers = []
    if case.task != "nll":
        layers += _layers(encoder, torch.zeros(rows, channels, height, width))
    if case.task != "embed":
        layers += _layers(decoder, torch.zeros(rows, case.net.latent_dim))
    products: list[Product] = []
    for number, (layer, shape) in enumerate(layers):
        kind = (number == 0, case.task == "train")
        if isinstance(layer, nn.Linear):
            products += _linear(layer, rows, *kind, dtypes, device)
        elif isinstance(layer, nn.Conv2d):
            products += _convolution(layer, shape, *kind, dtypes, device)
    return products, sum(p.numel() for net in (encoder, decoder) for p in net.parameters())


def run(job: Job, count: int, done: Done) -> None:
    """Time the products of a number of steps, then as many copies of buffers."""
    case = job.case
    products, parameters = products_of(case, _dtypes(job), job.device)
    images = _ROWS.get(case.task, case.batch) / (case.num_samples if case.task == "nll" else 1)
    steps = math.ceil(count / images)
    flops = sum(product.flops for product in products)
    source, target = torch.rand(2, 2 * parameters, device=job.device)
    while True:
        started = time.perf_counter()
        for _ in range(steps):
            for product in products:
                product.do()
        wait(job.device)
        seconds = time.perf_counter() - started
        further = {"flops": float(steps * flops)}
        if case.task == "train":
            copies = min(steps, _MOST_COPIES)
            started = time.perf_counter()
            for _ in range(copies):
                target.copy_(source)
            wait(job.device)
            copy = (time.perf_counter() - started) / copies
            further |= {"optimizer_seconds": steps * copy * _ADAM_PER_COPY}
            further |= {"copy_bytes_per_second": 2 * source.nbytes / copy}
        done(round(steps * images), seconds, **further)


TASKS = {"train": run, "nll": run, "embed": run}
