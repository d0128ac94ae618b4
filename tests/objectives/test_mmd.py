from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate
from torch import Tensor

from elboroom.errors import UsageError
from elboroom.objectives import mmd
from elboroom.objectives.mmd import imq, rbf, squared_discrepancy
from elboroom.probability import DiagonalGaussian

from .given import FLOAT64, assert_equal, assert_mean, gaussian, gradients, terms_of

MEAN, SCALE = np.array([0.6, -0.3]), np.array([0.5, 1.2])  # against N(0, I)


def mean_rbf(mean: np.ndarray, variance: np.ndarray, length: float) -> float:
    """E exp(−r²/length) for differences N(mean, variance), a Gaussian integral in each dimension."""
    spread = length + 2 * variance
    return float((np.sqrt(length / spread) * np.exp(-(mean**2) / spread)).prod())


def mean_imq(mean: np.ndarray, variance: np.ndarray, length: float) -> float:
    """E length/(length + r²) = ∫₀^∞ exp(−t) E exp(−t r²/length) dt."""
    value, _ = integrate.quad(lambda t: np.exp(-t) * mean_rbf(mean, variance, length / t), 0, np.inf)
    return float(value)


def exact(mean_kernel: Callable[..., float], length: float) -> float:
    zero, one = np.zeros(2), np.ones(2)
    return (
        mean_kernel(zero, 2 * SCALE**2, length)
        + mean_kernel(zero, 2 * one, length)
        - 2 * mean_kernel(MEAN, SCALE**2 + one, length)
    )


@pytest.mark.parametrize(("kernel", "mean_kernel"), [(rbf, mean_rbf), (imq, mean_imq)])
@pytest.mark.parametrize("length", [0.5, 4.0])
def test_the_discrepancy_of_two_gaussians_is_exact_in_mean(
    kernel: Callable[[Tensor, float], Tensor], mean_kernel: Callable[..., float], length: float
) -> None:
    x = torch.from_numpy(MEAN) + torch.from_numpy(SCALE) * torch.randn(4000, 12, 2)
    y = torch.randn(4000, 9, 2)
    values = squared_discrepancy(x, y, lambda squares: kernel(squares, length))
    assert_mean(values[:, None], [exact(mean_kernel, length)])
    same = squared_discrepancy(torch.randn(4000, 12, 2), y, lambda squares: kernel(squares, length))
    assert_mean(same[:, None], [0.0])


def test_the_discrepancy_is_the_double_loop() -> None:
    x, y = torch.randn(4, 3), torch.randn(5, 3)

    def k(a: Tensor, b: Tensor) -> float:
        return float(torch.exp(-(a - b).square().sum() / 3))

    within = [np.mean([k(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j]) for s in (x, y)]
    across = np.mean([k(a, b) for a in x for b in y])
    assert_equal(squared_discrepancy(x, y, lambda r: rbf(r, 3.0)), sum(within) - 2 * across, **FLOAT64)


@pytest.mark.parametrize("num_samples", [1, 3])
def test_the_penalty_compares_codes_with_the_prior(num_samples: int) -> None:
    posterior = DiagonalGaussian(torch.from_numpy(MEAN).expand(10, 2), torch.from_numpy(SCALE).expand(10, 2))
    for kernel, mean_kernel, scales in [("rbf", mean_rbf, (1.0,)), ("imq", mean_imq, (0.5, 2.0))]:
        penalty = mmd(kernel, scales)  # type: ignore[arg-type]
        values = torch.stack([penalty(terms_of(posterior, num_samples)) for _ in range(200)])
        assert_mean(values[:, None], [sum(exact(mean_kernel, 4.0 * scale) for scale in scales)])


@pytest.mark.parametrize("d", [1, 3, 8])
def test_a_kernels_squared_length_grows_with_the_dimensions(d: int) -> None:
    """E‖x − y‖² of two draws of N(0, I) is 2d: at scale s, similarities are of r² / 2ds."""
    terms = terms_of(gaussian(4, d))
    z = terms.z[0].detach().numpy()
    kernels: dict[str, Callable[[float], float]] = {
        "rbf": lambda share: float(np.exp(-share)),
        "imq": lambda share: 1 / (1 + share),
    }
    for kernel, similar in kernels.items():
        for scale in (0.5, 2.0):
            torch.manual_seed(5)
            penalty = mmd(kernel, (scale,))(terms)  # type: ignore[arg-type]
            torch.manual_seed(5)
            drawn = terms.prior.sample(4).numpy()

            def k(a: np.ndarray, b: np.ndarray, scale: float = scale, similar: Any = similar) -> float:
                return similar(((a - b) ** 2).sum() / (2 * d * scale))  # type: ignore[no-any-return]

            pairs = [(i, j) for i in range(4) for j in range(4)]
            within = [np.mean([k(s[i], s[j]) for i, j in pairs if i != j]) for s in (z, drawn)]
            across = np.mean([k(z[i], drawn[j]) for i, j in pairs])
            assert_equal(penalty, sum(within) - 2 * across, **FLOAT64)


def test_the_published_scales_are_the_default() -> None:
    terms = terms_of(gaussian(6, 3))
    for kernel, scales in [("imq", (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)), ("rbf", (1.0,))]:
        values = []
        for penalty in (mmd(kernel), mmd(kernel, scales)):  # type: ignore[arg-type]
            torch.manual_seed(0)
            values.append(penalty(terms))
        assert_equal(*values)


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_the_gradient_pulls_codes_to_the_prior(kernel: str) -> None:
    far = DiagonalGaussian(torch.full((50, 2), 3.0, requires_grad=True), torch.ones(50, 2))
    (found,) = gradients(lambda: mmd(kernel)(terms_of(far)), far.mean)  # type: ignore[arg-type]
    assert (found.mean(0) > 0).all()


def test_equal_codes_and_a_batch_of_one_have_finite_gradients() -> None:
    for b in (1, 4):
        posterior = DiagonalGaussian(torch.zeros(b, 2, requires_grad=True), torch.full((b, 2), 1e-30))
        (found,) = gradients(lambda q=posterior: mmd("imq")(terms_of(q)), posterior.mean)  # type: ignore[misc]
        assert found.isfinite().all()


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="kernel = 'rfb'; did you mean 'rbf'"):
        mmd("rfb")  # type: ignore[arg-type]
    for scales in ([], [1.0, 0.0]):
        with pytest.raises(UsageError, match="one or more numbers above 0"):
            mmd("rbf", scales)
