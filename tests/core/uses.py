"""A small VAE and everything one does with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from elboroom.models.vae import VAE

SHAPES = [(1,), (7,), (5, 3, 1), (4, 7, 3), (2, 1, 1)]

# Every method for use, as a call on a model and a batch of at least two examples.
USES: dict[str, Callable[[VAE, Any], Any]] = {
    "encode": lambda vae, x: vae.encode(x).mean,
    "decode": lambda vae, x: vae.decode(vae.embed(x)).mean,
    "embed": lambda vae, x: vae.embed(x),
    "reconstruct": lambda vae, x: vae.reconstruct(x),
    "sample": lambda vae, _: vae.sample(3),
    "observe": lambda vae, _: vae.sample(3, observe=True),
    "interpolate": lambda vae, x: vae.interpolate(x[0], x[1], 5),
    "elbo": lambda vae, x: vae.elbo(x, 2),
    "nll": lambda vae, x: vae.nll(x, 3).value,
}
each_use = pytest.mark.parametrize("use", USES.values(), ids=USES)
BATCH_USES = ("encode", "embed", "reconstruct", "elbo", "nll")
each_batch_use = pytest.mark.parametrize("use", [USES[name] for name in BATCH_USES], ids=BATCH_USES)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def small(shape: tuple[int, ...] = (5, 3, 1), **fields: Any) -> VAE:
    return VAE.build(shape=shape, hidden=[6, 4], latent_dim=3, **fields)
