from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import jacrev, vmap

from elboroom.errors import UsageError
from elboroom.objectives import jacobian_norm, weight_decay, with_spectral_norm
from elboroom.probability import DiagonalGaussian

from .given import FLOAT64, assert_equal, assert_mean, gaussian, terms_of


def smooth(d: int = 2, n: int = 5) -> nn.Sequential:
    return nn.Sequential(nn.Linear(d, 7), nn.Tanh(), nn.Linear(7, n))


def test_the_jacobian_of_a_linear_decoder_is_its_matrix() -> None:
    decoder = nn.Linear(2, 5)
    values = torch.stack([jacobian_norm(terms_of(gaussian(4, 2), decoder=decoder)) for _ in range(300)])
    assert_mean(values.detach()[:, None], decoder.weight.square().sum().detach()[None])


def test_the_jacobian_of_any_decoder_and_its_gradient() -> None:
    decoder, posterior = smooth(), gaussian(4, 2)
    terms = terms_of(posterior, 3, decoder=decoder)
    jacobians = vmap(jacrev(decoder))(terms.z.reshape(-1, 2))
    exact = jacobians.square().sum((1, 2)).mean()
    parameters = [posterior.mean, *(p for p in decoder.parameters() if p is not decoder[2].bias)]
    slopes = torch.autograd.grad(exact, parameters, retain_graph=True)
    values, gradients = [], []
    for _ in range(400):
        value = jacobian_norm(terms)
        values.append(value.detach())
        found = torch.autograd.grad(value, parameters, retain_graph=True)
        gradients.append(torch.cat([g.flatten() for g in found]))
    assert_mean(torch.stack(values)[:, None], exact.detach()[None])
    assert_mean(torch.stack(gradients), torch.cat([g.flatten() for g in slopes]))


def test_the_jacobian_is_measured_without_gradients_too() -> None:
    decoder = nn.Linear(1, 1)
    with torch.no_grad():
        terms = terms_of(gaussian(4, 1), decoder=decoder)
        value = jacobian_norm(terms)
    assert not value.requires_grad
    assert_equal(value, decoder.weight.square().sum(), **FLOAT64)


def test_codes_that_need_no_gradient_train_the_decoder_all_the_same() -> None:
    decoder = nn.Linear(1, 1)
    posterior = DiagonalGaussian(torch.zeros(3, 1), torch.ones(3, 1))
    jacobian_norm(terms_of(posterior, decoder=decoder)).backward()
    assert_equal(decoder.weight.grad, 2 * decoder.weight, **FLOAT64)


def test_weight_decay_is_half_the_squared_weights_without_biases() -> None:
    decoder, terms = smooth(), terms_of(gaussian(2, 2))
    value = weight_decay(decoder)(terms)
    expected = 0.5 * (decoder[0].weight.square().sum() + decoder[2].weight.square().sum())
    assert_equal(value, expected, **FLOAT64)
    value.backward()
    assert_equal(decoder[0].weight.grad, decoder[0].weight)
    assert decoder[0].bias.grad is None


def test_spectral_norm_makes_every_largest_singular_value_one() -> None:
    decoder = with_spectral_norm(
        nn.Sequential(nn.Linear(3, 12), nn.ReLU(), nn.Unflatten(1, (3, 2, 2)), nn.Conv2d(3, 4, 3, padding=1))
    )
    for _ in range(300):  # one power iteration each
        decoder(torch.randn(2, 3))
    for layer in (decoder[0], decoder[3]):
        largest = np.linalg.svd(layer.weight.detach().flatten(1).numpy(), compute_uv=False)[0]
        assert largest == pytest.approx(1.0, abs=1e-6)  # its convergence is geometric
    before = set(decoder.state_dict())
    assert set(with_spectral_norm(decoder).state_dict()) == before


def test_a_decoder_without_matrices_is_refused() -> None:
    with pytest.raises(UsageError, match="weight_decay: ReLU has no weight"):
        weight_decay(nn.ReLU())
    with pytest.raises(UsageError, match="got a ReLU, which has no linear or convolutional"):
        with_spectral_norm(nn.ReLU())
