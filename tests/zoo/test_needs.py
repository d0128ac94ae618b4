"""What is accepted by name can be computed: every bound and penalty with every posterior and network."""

from __future__ import annotations

import itertools
from typing import Any
from unittest.mock import patch

import pytest
import torch

from elboroom.config import Config
from elboroom.config.bounds import BOUNDS
from elboroom.config.penalties import PENALTIES
from elboroom.config.posteriors import POSTERIORS
from elboroom.errors import UsageError
from elboroom.models.vae import VAE
from elboroom.objectives import Objective, critics

SHAPE = (8, 8, 1)
MODELS: dict[str, dict[str, Any]] = {
    **{name: {"posterior": name, "latent_dim": 3, "hidden": (6,)} for name in POSTERIORS},
    "vq": {"posterior": "vq", "code_grid": (2,), "codebook_size": 4, "hidden": (6,)},
    "fsq": {"posterior": "fsq", "code_grid": (2,), "hidden": (6,)},
    "chain": {"network": "chain", "chain_dims": (2, 3), "chain_hidden": (4, 6)},
    "ladder": {"network": "ladder", "conv_width": 4, "conv_levels": 2, "ladder_layers": (1, 1)},
}
# What a model lacks that its configuration does not show: a penalty is then refused when it is built.
REFUSED_LATER = {("commitment", name) for name in MODELS if name != "vq"}
REFUSED_LATER |= {("equivariance", name) for name in MODELS}  # none has a code on a grid
NEED_NO_FILE = [name for name in PENALTIES if name != "lpips"]  # which has tests of its own
ASKED = [
    *(({"bound": name}, model) for name, model in itertools.product(BOUNDS, MODELS)),
    *(({"penalties": {name: 1.0}}, model) for name, model in itertools.product(NEED_NO_FILE, MODELS)),
]


def _name(value: Any) -> str:
    return str(value) if isinstance(value, str) else str(*value.get("penalties", {}) or value.values())


@pytest.mark.parametrize(("fields", "model"), ASKED, ids=_name)
def test_what_is_accepted_has_a_value_and_a_gradient(fields: dict[str, Any], model: str) -> None:
    row = BOUNDS[fields.get("bound", "elbo")]
    name = _name(fields)
    need = PENALTIES[name].need if "penalties" in fields else row.need
    samples = {"num_samples": 8} if row.num_samples > 1 else {}
    try:
        config = Config().updated(**fields, **samples, **MODELS[model])
    except UsageError:
        assert need is not None
        return
    torch.manual_seed(0)
    vae = VAE.build(config.model, shape=SHAPE)
    try:
        with patch.object(critics, "_leaky_mlp", lambda d, *_, **__: torch.nn.Linear(d, 1)):
            objective = Objective.from_config(config.objective, 3, vae=vae, examples=20)
    except UsageError:
        assert (name, model) in REFUSED_LATER
        return
    assert (name, model) not in REFUSED_LATER
    loss = objective(
        vae(torch.rand(4, *SHAPE), max(8 * bool(samples), 1)), torch.tensor(objective.coefficients(1))
    )
    loss.backward()
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert all(p.grad is None or p.grad.isfinite().all() for p in vae.parameters())
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in vae.parameters())
