"""JAX: one compiled ``lax.scan`` per epoch, over batches gathered from resident uint8 images."""

from __future__ import annotations

import math
import time
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from benchmarks.engine.cases import Net
from benchmarks.engine.images import read_images
from benchmarks.engine.programs import Absent, Done, Job
from jax import lax

VERSION = jax.__version__
_BETAS, _EPSILON, _RATE = (0.9, 0.999), 1e-8, 1e-3
# Rows decoded at once in importance sampling.
_ROWS = 20_000
Params = Any


def _put(job: Job, count: int | None = None) -> jax.Array:
    """Move images to the device as uint8 (n, d)."""
    if not job.case.net.hidden:
        raise Absent("the convolutional networks are not written in JAX; its convolutions are slow on a CPU")
    if job.device == "cuda" and jax.default_backend() != "gpu":
        raise Absent("this jax sees no GPU; install jax[cuda12]")
    images = np.asarray(read_images(job.images)[:count])
    return jax.device_put(images.reshape(len(images), -1))


def init(net: Net) -> Params:
    """Draw weights (in, out) and biases of encoder and decoder from torch's uniform distribution."""
    draw = np.random.default_rng(0)
    widths = [math.prod(net.shape), *net.hidden]

    def layers(sizes: list[int]) -> list[tuple[jax.Array, jax.Array]]:
        made = []
        for fan_in, fan_out in pairwise(sizes):
            bound = fan_in**-0.5
            weight, bias = (draw.uniform(-bound, bound, size) for size in ((fan_in, fan_out), (fan_out,)))
            made.append((jnp.asarray(weight, jnp.float32), jnp.asarray(bias, jnp.float32)))
        return made

    return layers([*widths, 2 * net.latent_dim]), layers([net.latent_dim, *widths[::-1]])


def _run(layers: list[tuple[jax.Array, jax.Array]], x: jax.Array) -> jax.Array:
    for weight, bias in layers[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    return x @ layers[-1][0] + layers[-1][1]


def loss(params: Params, x: jax.Array, noise: jax.Array) -> jax.Array:
    """Return −ELBO with one sample in nats, the mean over the batch x (b, d)."""
    encoder, decoder = params
    mean, log_variance = jnp.split(_run(encoder, x), 2, -1)
    logits = _run(decoder, mean + jnp.exp(0.5 * log_variance) * noise)
    distortion = (jax.nn.softplus(logits) - x * logits).sum()
    rate = -0.5 * (1 + log_variance - mean**2 - jnp.exp(log_variance)).sum()
    return (distortion + rate) / len(x)


@partial(jax.jit, static_argnames="latent_dim", donate_argnames="state")
def _epoch(state: Any, images: jax.Array, order: jax.Array, latent_dim: int) -> Any:
    """Take steps of Adam over the rows of ``order`` (steps, b)."""

    def step(state: Any, rows: jax.Array) -> tuple[Any, jax.Array]:
        params, first, second, time_, key = state
        key, now = jax.random.split(key)
        x = images[rows].astype(jnp.float32) / 255
        noise = jax.random.normal(now, (len(rows), latent_dim))
        value, gradient = jax.value_and_grad(loss)(params, x, noise)
        time_ += 1
        first = jax.tree.map(lambda m, g: _BETAS[0] * m + (1 - _BETAS[0]) * g, first, gradient)
        second = jax.tree.map(lambda v, g: _BETAS[1] * v + (1 - _BETAS[1]) * g * g, second, gradient)
        rate = _RATE / (1 - _BETAS[0] ** time_)
        root = jnp.sqrt(1 - _BETAS[1] ** time_)
        params = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v) / root + _EPSILON), params, first, second
        )
        return (params, first, second, time_, key), value

    state, values = lax.scan(step, state, order)
    return state, values.mean()


def train(job: Job, count: int, done: Done) -> None:
    """Train; a piece is one scan."""
    case = job.case
    images = _put(job)
    steps = math.ceil(count / case.batch)
    params = init(case.net)
    moments = [jax.tree.map(jnp.zeros_like, params) for _ in range(2)]
    state = (params, *moments, jnp.zeros(()), jax.random.key(0))
    draw = np.random.default_rng(0)
    while True:
        started = time.perf_counter()
        order = draw.integers(len(images), size=(steps, case.batch), dtype=np.int32)
        state, mean = _epoch(state, images, order, case.net.latent_dim)
        mean.block_until_ready()
        done(steps * case.batch, time.perf_counter() - started)


@partial(jax.jit, static_argnames=("chunks", "size"))
def _nll(params: Params, images: jax.Array, key: jax.Array, chunks: int, size: int) -> jax.Array:
    encoder, decoder = params
    x = images.astype(jnp.float32) / 255
    mean, log_variance = jnp.split(_run(encoder, x), 2, -1)

    def chunk(_: None, now: jax.Array) -> tuple[None, jax.Array]:
        noise = jax.random.normal(now, (size, *mean.shape))
        z = mean + jnp.exp(0.5 * log_variance) * noise
        logits = _run(decoder, z)
        log_likelihood = (x * logits - jax.nn.softplus(logits)).sum(-1)
        return None, log_likelihood + 0.5 * (noise**2 + log_variance - z**2).sum(-1)

    _, weights = lax.scan(chunk, None, jax.random.split(key, chunks))
    return jnp.log(chunks * size) - jax.nn.logsumexp(weights.reshape(chunks * size, -1), 0)


def nll(job: Job, count: int, done: Done) -> None:
    """Encode once and decode the samples of all images in chunks, in one compiled scan."""
    images = _put(job, count)
    params, samples = init(job.case.net), job.case.num_samples
    most = max(1, _ROWS // len(images))
    size = max(k for k in range(1, most + 1) if samples % k == 0)
    while True:
        started = time.perf_counter()
        _nll(params, images, jax.random.key(0), samples // size, size).block_until_ready()
        done(len(images), time.perf_counter() - started)


@jax.jit
def _embed(params: Params, images: jax.Array) -> jax.Array:
    return jnp.split(_run(params[0], images.astype(jnp.float32) / 255), 2, -1)[0]


def embed(job: Job, count: int, done: Done) -> None:
    """Compute the posterior means of all images in one call."""
    images, params = _put(job), init(job.case.net)
    while True:
        started = time.perf_counter()
        np.asarray(_embed(params, images))
        done(len(images), time.perf_counter() - started)


TASKS = {"train": train, "nll": nll, "embed": embed}
