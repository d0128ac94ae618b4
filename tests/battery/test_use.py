"""What takes a moment: a pass and its gradients, samples, other batches, files."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor

from elboroom.errors import UsageError
from elboroom.models.vae import VAE

from .chosen import USED
from .combinations import SHAPE, Combination, build, inputs_of, objective_of, told_of

WITHOUT_DENSITY = ("deterministic", "vq", "fsq")


@dataclass
class Made:
    """A model after one pass back and forth in training, with what came of it."""

    one: Combination
    vae: VAE
    x: Tensor
    loss: Tensor
    critics: list[torch.nn.Parameter]

    def told(self, *rows: int) -> dict[str, Any]:
        """The condition of examples from one row to another, if there is one."""
        return told_of(self.one, slice(*rows))

    @property
    def has_density(self) -> bool:
        return self.one.fields.get("posterior") not in WITHOUT_DENSITY


@pytest.fixture(scope="module", params=USED, ids=str)
def made(request: pytest.FixtureRequest) -> Made:
    one: Combination = request.param
    vae, x = build(one), inputs_of(one, 6)
    objective = objective_of(one, vae)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        terms = vae(x, objective.num_samples, **told_of(one, slice(6)))
        # Late enough that no schedule is at 0 any more.
        loss = objective(terms, torch.tensor(objective.coefficients(20)))
        for part in objective.opponents:
            loss = loss + part.own_loss(terms)
        loss.backward()
    return Made(one, vae, x, loss.detach(), [p for part in objective.opponents for p in part.parameters()])


def test_finite_gradients_reach_all_that_is_trained(made: Made) -> None:
    assert made.loss.shape == ()
    assert torch.isfinite(made.loss)
    for name, weight in [*made.vae.named_parameters(), *(("critic", weight) for weight in made.critics)]:
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
    # A ladder's posterior starts as its prior, by weights of 0 that let nothing through in the first step.
    halves = [made.vae.decoder] if made.one.network == "ladder" else [made.vae.encoder, made.vae.decoder]
    for half in halves:
        assert any(weight.grad is not None and weight.grad.any() for weight in half.parameters()), half


def test_samples_have_the_shape_and_values_of_the_data(made: Made) -> None:
    vae, head = made.vae, made.vae.likelihood
    with torch.random.fork_rng():
        torch.manual_seed(2)
        means = vae.sample(3, **made.told(3))
        draws = vae.sample(3, observe=True, **made.told(3))
        assert vae.sample(0, **made.told(0)).shape == (0, *SHAPE)
    assert means.shape == draws.shape == (3, *SHAPE)
    codes = vae.embed(made.x, **made.told(6))
    assert codes.shape == (6, vae.latent_dim)
    assert vae.decode(codes.reshape(2, 3, -1), **made.told(3)).mean.shape == (2, 3, *SHAPE)
    assert vae.reconstruct(made.x[:0], **made.told(0)).shape == (0, *SHAPE)
    low, high = head.support or (-math.inf, math.inf)
    for values in (means, draws):
        assert torch.isfinite(values).all()
        assert ((values >= low) & (values <= high)).all()
    if head.spacing is not None:
        steps = draws / head.spacing
        assert torch.allclose(steps, steps.round(), rtol=0, atol=1e-5)


def test_examples_do_not_see_each_other(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured of an example is the same in any batch, where its noise is the same."""
    own = torch.randn, torch.rand
    monkeypatch.setattr(torch, "randn", lambda *shape, **how: own[0](*shape, **how).fill_(0.3))
    monkeypatch.setattr(torch, "rand", lambda *shape, **how: own[1](*shape, **how).fill_(0.3))
    monkeypatch.setattr(torch, "_sample_dirichlet", lambda shares, *_: shares / shares.sum(-1, keepdim=True))
    vae, x = made.vae, made.x
    uses: dict[str, Callable[..., Tensor]] = {"embed": vae.embed, "elbo": vae.elbo}
    uses["nll"] = lambda x, **told: vae.nll(x, 3, **told).value
    if not made.has_density:
        with pytest.raises(UsageError, match=r"^[^\n]*take 0 samples[^\n]*$"):
            uses.pop("nll")(x, **made.told(6))
    for name, use in uses.items():
        whole = use(x, **made.told(6))
        part = use(x[1:4], **made.told(1, 4))
        # A product of another size adds up in another order: 6e-8 of sums of up to some hundred nats.
        assert torch.allclose(whole[1:4], part, rtol=1e-5, atol=1e-4), name


def test_a_model_that_was_saved_and_loaded_is_the_same(made: Made) -> None:
    again = build(made.one, seed=1)
    again.load_state_dict(load(save(made.vae.state_dict())))
    told = made.told(6)
    for one, other in zip(_use(made.vae, made.x, told), _use(again, made.x, told), strict=True):
        assert torch.equal(one, other)


def _use(vae: VAE, x: Tensor, told: dict[str, Any]) -> list[Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return [vae.elbo(x, **told), vae.sample(6, **told)]
