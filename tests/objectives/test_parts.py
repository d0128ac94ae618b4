"""What an objective tells of its parts, and penalties whose weights grow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from elboroom.config import Config, ObjectiveConfig
from elboroom.errors import UsageError
from elboroom.models.terms import Terms
from elboroom.models.vae import VAE
from elboroom.objectives import Objective, prior_critic, total_correlation_critic
from elboroom.objectives.schedules import constant

from .given import FLOAT64, assert_equal, gaussian, terms_of


def size(terms: Terms) -> Tensor:
    return terms.z.square().mean()


def test_parts_are_the_loss_and_the_penalties_without_their_weights() -> None:
    terms = terms_of(gaussian(4, 2))
    objective = Objective(penalties={"size": (size, constant(3.0)), "twice": (_twice, constant(0.0))})
    coefficients = torch.tensor(objective.coefficients(0))
    loss, values = objective.parts(terms, coefficients)
    assert_equal(loss, objective(terms, coefficients))
    assert list(values) == ["size", "twice"]
    assert_equal(values["size"], size(terms))
    assert_equal(loss, (terms.distortion + terms.rate).mean() + 3 * values["size"], **FLOAT64)


def _twice(terms: Terms) -> Tensor:
    return 2 * size(terms)


def test_opponents_tell_their_losses_by_name() -> None:
    tc, prior = total_correlation_critic(2, hidden=(4,)), prior_critic(2, hidden=(4,))
    objective = Objective(
        penalties={"size": (size, constant(1.0)), "tc": (tc, constant(1.0)), "prior": (prior, constant(1.0))}
    )
    terms = terms_of(gaussian(4, 2))
    torch.manual_seed(0)
    found = objective.own_losses(terms)
    assert list(found) == ["tc", "prior"]
    torch.manual_seed(0)
    assert_equal(found["tc"], tc.own_loss(terms))
    assert_equal(found["prior"], prior.own_loss(terms))


def weights(config: ObjectiveConfig, steps: list[int]) -> list[list[float]]:
    vae = VAE.build(shape=(3,), hidden=[4])
    objective = Objective.from_config(config, 10, vae=vae, examples=20)
    return [objective.coefficients(step) for step in steps]


def test_penalties_grow_with_the_ramp_and_beta_does_not() -> None:
    config = ObjectiveConfig(penalties={"code_norm": 4.0, "mmd_rbf": 10.0}, penalty_ramp=2.0)
    assert weights(config, [0, 5, 10, 20, 99]) == [[1, 0, 0], [1, 1, 2.5], [1, 2, 5], [1, 4, 10], [1, 4, 10]]


def test_without_a_ramp_weights_are_there_from_the_first_step_on() -> None:
    assert weights(ObjectiveConfig(penalties={"code_norm": 4.0}), [0, 99]) == [[1, 4], [1, 4]]


def test_a_ramp_of_a_fraction_of_epochs_ends_on_its_step() -> None:
    config = ObjectiveConfig(penalties={"code_norm": 3.0}, penalty_ramp=0.7)
    assert weights(config, [6, 7])[1] == [1, 3.0]
    assert weights(config, [6, 7])[0][1] < 3.0


def test_a_ramp_without_penalties_is_refused() -> None:
    with pytest.raises(UsageError, match=r"penalty_ramp = 2 has no effect without penalties"):
        Config().updated(penalty_ramp=2)
