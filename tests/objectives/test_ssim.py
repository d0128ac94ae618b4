from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d

from elboroom.errors import UsageError
from elboroom.objectives import ms_ssim, structural_dissimilarity
from elboroom.probability import Gaussian

from .given import assert_equal, gaussian, terms_of

WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


def maps(x: np.ndarray, y: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Luminance and contrast · structure of two images (h, w) by two-dimensional convolution."""
    at = np.arange(size) - size // 2
    window = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))
    window /= window.sum()

    def blur(image: np.ndarray) -> np.ndarray:
        blurred: np.ndarray = convolve2d(image, window, mode="valid")
        return blurred

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    return (2 * mx * my + c1) / (mx**2 + my**2 + c1), (2 * cov + c2) / (vx + vy + c2)


def halved(image: np.ndarray) -> np.ndarray:
    h, w = (side // 2 * 2 for side in image.shape)
    quads: np.ndarray = image[:h, :w].reshape(h // 2, 2, w // 2, 2).mean((1, 3))
    return quads


def reference(x: np.ndarray, y: np.ndarray, scales: int, size: int) -> float:
    weights, value = WEIGHTS[:scales] / WEIGHTS[:scales].sum(), 1.0
    for scale, weight in enumerate(weights):
        luminance, structure = maps(x, y, size)
        last = scale == scales - 1
        value *= max((luminance * structure if last else structure).mean(), 1e-3) ** weight
        x, y = halved(x), halved(y)
    return value


def pictures(n: int, h: int, w: int, c: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = gaussian_filter(rng.random((n, h, w, c)), (0, 1.5, 1.5, 0))
    return x, np.clip(x + 0.05 * rng.normal(size=x.shape), 0, 1)


@pytest.mark.parametrize(
    ("h", "w", "c", "scales", "size"),
    [(8, 8, 1, 1, 7), (20, 33, 3, 1, 11), (28, 28, 1, 2, 11), (64, 64, 3, 3, 11), (176, 176, 1, 5, 11)],
)
def test_similarity_is_that_of_plain_convolutions(h: int, w: int, c: int, scales: int, size: int) -> None:
    x, y = pictures(2, h, w, c)
    expected = [
        np.mean([reference(a[..., i], b[..., i], scales, size) for i in range(c)])
        for a, b in zip(x, y, strict=True)
    ]
    # variances are differences of squares up to 1, so the quotients by C2 = 9e-4 keep 12 digits
    assert_equal(ms_ssim(torch.from_numpy(x), torch.from_numpy(y)), expected, rtol=1e-9)


@pytest.mark.parametrize("side", [1, 5, 28, 64])
def test_equal_images_are_equal(side: int) -> None:
    x = torch.rand(3, side, side, 2, dtype=torch.float32)
    assert_equal(ms_ssim(x, x), np.ones(3))


def test_more_noise_is_less_similar() -> None:
    x = torch.from_numpy(pictures(1, 28, 28, 1)[0])
    noise = torch.randn_like(x)
    values = [ms_ssim(x, x + scale * noise).item() for scale in (0.0, 0.02, 0.1, 0.5)]
    assert values == sorted(values, reverse=True)


def test_leading_shapes_broadcast() -> None:
    x, y = torch.rand(4, 3, 12, 12, 1), torch.rand(3, 12, 12, 1)
    expected = torch.stack([ms_ssim(one, y) for one in x])
    assert_equal(ms_ssim(x, y), expected, rtol=1e-12)
    assert_equal(ms_ssim(y, x), expected, rtol=1e-12)


def test_the_penalty_is_one_minus_the_mean_over_codes() -> None:
    x, picture = torch.rand(3, 12, 12, 1), torch.rand(2, 3, 12, 12, 1)
    likelihood = Gaussian(picture, torch.tensor(1.0), 3)
    terms = dataclasses.replace(terms_of(gaussian(3, 2), 2), x=x, likelihood=likelihood)
    assert_equal(structural_dissimilarity(terms), 1 - ms_ssim(picture, x).mean())


@pytest.mark.parametrize("picture", [torch.zeros, torch.ones, torch.rand])
def test_gradients_are_finite_in_float32(picture: type) -> None:
    x = torch.rand(2, 28, 28, 1, dtype=torch.float32)
    for y in (picture(2, 28, 28, 1, dtype=torch.float32), 1 - x, x.clone()):
        y.requires_grad_()
        (1 - ms_ssim(y, x).mean()).backward()
        assert y.grad.isfinite().all()


def test_rows_and_unequal_images_are_refused() -> None:
    with pytest.raises(UsageError, match=r"\(4, 5\) and \(4, 5\): give images"):
        ms_ssim(torch.zeros(4, 5), torch.zeros(4, 5))
    with pytest.raises(UsageError, match="of one size"):
        ms_ssim(torch.zeros(4, 8, 8, 1), torch.zeros(4, 8, 8, 3))
    with pytest.raises(UsageError, match=r"shape \(2,\); leave it out"):
        structural_dissimilarity(terms_of(gaussian(3, 2)))
