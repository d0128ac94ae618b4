from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from elboroom.config import ObjectiveConfig
from elboroom.models.terms import Terms
from elboroom.models.vae import VAE
from elboroom.objectives import Objective, elbo
from elboroom.objectives.schedules import constant, linear

from .known import FLOAT64, assert_equal

pytestmark = pytest.mark.usefixtures("float64")


class Critic(nn.Module):
    """A penalty with weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, terms: Terms) -> Tensor:
        value: Tensor = self.layer(terms.z).mean()
        return value


def size_of_codes(terms: Terms) -> Tensor:
    return terms.z.square().mean()


@pytest.fixture
def terms() -> Terms:
    made: Terms = VAE.build(shape=(5,), hidden=[4])(torch.rand(6, 5), 3)
    return made


def loss_at(objective: Objective, terms: Terms, step: int) -> Tensor:
    loss: Tensor = objective(terms, torch.tensor(objective.coefficients(step)))
    return loss


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_loss_is_mean_distortion_plus_beta_times_rate(terms: Terms, beta: float) -> None:
    loss = loss_at(Objective(beta), terms, 0)
    assert loss.shape == ()
    assert_equal(loss, terms.distortion.mean() + beta * terms.rate.mean(), **FLOAT64)
    assert_equal(loss, -elbo(terms, torch.tensor(beta)).mean())


def test_beta_may_be_a_schedule(terms: Terms) -> None:
    objective = Objective(linear(2.0, ramp=10))
    for step, beta in [(0, 0.0), (5, 1.0), (10, 2.0)]:
        assert_equal(
            loss_at(objective, terms, step), (terms.distortion + beta * terms.rate).mean(), **FLOAT64
        )


def test_penalties_are_added_with_their_weights(terms: Terms) -> None:
    critic = Critic()
    objective = Objective(
        4.0, penalties={"size": (size_of_codes, linear(8.0, ramp=4)), "critic": (critic, constant(-0.5))}
    )
    assert list(objective.schedules) == ["beta", "size", "critic"]
    assert objective.coefficients(1) == [4.0, 2.0, -0.5]
    expected = (terms.distortion + 4 * terms.rate).mean() + 2 * size_of_codes(terms) - 0.5 * critic(terms)
    assert_equal(loss_at(objective, terms, 1), expected, **FLOAT64)


def test_a_penaltys_weights_are_the_objectives() -> None:
    critic = Critic()
    objective = Objective(penalties={"size": (size_of_codes, linear(1, 1)), "critic": (critic, linear(1, 1))})
    assert {id(p) for p in objective.parameters()} == {id(p) for p in critic.parameters()}
    assert list(Objective().parameters()) == []


def test_a_penaltys_weights_get_gradients(terms: Terms) -> None:
    critic = Critic()
    loss_at(Objective(penalties={"critic": (critic, constant(3.0))}), terms, 0).backward()
    assert_equal(critic.layer.weight.grad, 3 * terms.z.mean((0, 1))[None], **FLOAT64)


def test_a_copy_uses_the_weights_that_it_lists(terms: Terms) -> None:
    copied = copy.deepcopy(Objective(penalties={"critic": (Critic(), constant(3.0))}))
    loss_at(copied, terms, 0).backward()
    assert all(p.grad is not None for p in copied.parameters())


def test_any_bound_may_be_given(terms: Terms) -> None:
    def iwae(some: Terms, beta: Tensor) -> Tensor:
        return torch.logsumexp(some.log_weights, 0)

    assert_equal(loss_at(Objective(bound=iwae), terms, 0), -torch.logsumexp(terms.log_weights, 0).mean())


def test_the_default_configuration_is_the_true_elbo(terms: Terms) -> None:
    objective = Objective.from_config(ObjectiveConfig(), steps_per_epoch=7)
    assert objective.num_samples == 1
    for step in (0, 10**6):
        assert_equal(loss_at(objective, terms, step), (terms.distortion + terms.rate).mean(), **FLOAT64)
