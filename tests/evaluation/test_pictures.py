"""Measures of pictures against known answers and independent computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dct, idctn
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d

from elboroom.errors import UsageError
from elboroom.evaluation.classes import ssim
from elboroom.evaluation.picture_features import frechet, frechet_distance, train_feature_net
from elboroom.evaluation.pictures import compare_pictures, high_frequency_share
from elboroom.objectives import ms_ssim


def pictures(n: int = 6, h: int = 20, w: int = 17, c: int = 3) -> np.ndarray:
    smooth = gaussian_filter(np.random.default_rng(0).random((n, h, w, c)), (0, 0.8, 0.8, 0))
    return (smooth - smooth.min()) / (smooth.max() - smooth.min())


def test_pixels_by_hand() -> None:
    x = pictures() * 0.8
    y = x.copy()
    y[0] += 0.1  # 20 dB
    y[1:] += 0.01  # 40 dB
    found = compare_pictures(x, y)
    assert found["mse"].value == pytest.approx((0.01 + 5 * 1e-4) / 6)
    assert found["psnr"].value == pytest.approx((20 + 5 * 40) / 6)
    assert found["psnr"].error == pytest.approx(np.std([20, 40, 40, 40, 40, 40], ddof=1) / 6**0.5)
    assert found["psnr"].examples == 6


def test_equal_pictures() -> None:
    x = pictures()
    found = compare_pictures(x, x)
    assert found["mse"].value == 0
    assert found["psnr"].value == 100  # stated, in place of an infinite number
    assert found["ssim"].value == pytest.approx(1)
    assert found["high_frequency_share"].value == pytest.approx(1)
    assert found["high_frequency_share"].error == pytest.approx(0, abs=1e-9)
    assert found["high_frequency_share"].details["correlation"] == pytest.approx(1)


def wave(h: int, w: int, row: int, column: int) -> np.ndarray:
    """A picture of one frequency of the cosine transform, (1, h, w, 1)."""
    spectrum = np.zeros((h, w))
    spectrum[row, column] = 1
    image = idctn(spectrum, norm="ortho")
    return image[None, :, :, None]


@pytest.mark.parametrize(
    ("row", "column", "upper"),
    [(5, 0, False), (6, 0, True), (0, 7, False), (0, 8, True), (4, 5, False), (5, 5, True), (11, 15, True)],
)
def test_the_upper_half_of_the_spectrum(row: int, column: int, upper: bool) -> None:
    """Of 12×16 pixels: rows' frequencies from 6 and columns' from 8 on, or both together on a circle."""
    kept = np.concatenate([wave(12, 16, 11, 0)] * 2)  # energy 1, in the upper half
    other = kept + 0.5 * wave(12, 16, row, column)
    added = 1.25 if upper else 1.0
    low = 0.25 / np.abs(other).max()
    assert high_frequency_share(0.5 + low * kept, 0.5 + low * other) == pytest.approx(added)


def test_the_share_is_a_ratio_of_sums_and_not_a_mean_of_ratios() -> None:
    fine = wave(8, 8, 7, 7)[0]
    x = 0.5 + np.stack([0.1 * fine, 0.3 * fine])
    y = 0.5 + np.stack([0.1 * fine, 0.0 * fine])
    found = compare_pictures(x, y)["high_frequency_share"]
    assert found.value == pytest.approx(0.01 / 0.10)  # and not (1 + 0) / 2
    assert found.details["correlation"] == pytest.approx(0.01 / np.sqrt(0.01 * 0.10))


def test_the_transform_mirrors_at_the_edges() -> None:
    """A ramp jumps where it is repeated; its cosine spectrum by definition has hardly any detail."""
    ramp = np.broadcast_to(np.linspace(0, 1, 32)[None, :, None, None], (2, 32, 32, 1))
    noise = 0.5 + 0.1 * np.random.default_rng(0).standard_normal((2, 32, 32, 1)).clip(-4, 4)
    by_hand = np.square(dct(np.linspace(0, 1, 32), norm="ortho")[16:]).sum() * 32
    spectrum = np.abs(np.fft.fft(np.linspace(0, 1, 32), norm="ortho")) ** 2
    share = high_frequency_share(noise, ramp)
    wanted = high_frequency_share(ramp, noise)
    assert share == pytest.approx(1 / wanted)
    assert by_hand < 0.01 * spectrum[8:25].sum() * 32


def test_noise_of_the_right_energy_has_a_share_but_no_correlation() -> None:
    rng = np.random.default_rng(0)
    x, y = (0.5 + 0.1 * rng.standard_normal((8, 32, 32, 1)).clip(-4, 4) for _ in range(2))
    found = compare_pictures(x, y)["high_frequency_share"]
    assert found.value == pytest.approx(1, abs=0.05)
    assert abs(found.details["correlation"]) < 0.05


def test_similarity_by_two_dimensional_convolution() -> None:
    x = pictures()
    y = np.clip(x + 0.1 * np.random.default_rng(1).standard_normal(x.shape), 0, 1)
    at = np.arange(11) - 5
    window = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for a, b in zip(x, y, strict=True):
        maps = []
        for i in range(3):
            moments = [
                convolve2d(p, window, mode="valid")
                for p in (a[..., i], b[..., i], a[..., i] ** 2, b[..., i] ** 2, a[..., i] * b[..., i])
            ]
            mx, my, xx, yy, xy = moments
            maps.append(
                (2 * mx * my + 1e-4)
                * (2 * (xy - mx * my) + 9e-4)
                / ((mx**2 + my**2 + 1e-4) * (xx - mx**2 + yy - my**2 + 9e-4))
            )
        values.append(np.mean(maps))
    np.testing.assert_allclose(ssim(torch.from_numpy(x), torch.from_numpy(y)), values, rtol=1e-9)
    assert compare_pictures(x, y)["ssim"].value == pytest.approx(np.mean(values), rel=1e-9)
    ours = ms_ssim(torch.from_numpy(x), torch.from_numpy(y)).numpy()  # at this size it has one scale
    np.testing.assert_allclose(ssim(torch.from_numpy(x), torch.from_numpy(y)), ours, rtol=1e-6)


def test_small_pictures_have_a_smaller_window() -> None:
    x = pictures(h=6, w=9, c=1)
    assert ssim(torch.from_numpy(x), torch.from_numpy(x)).numpy() == pytest.approx(np.ones(6))
    assert compare_pictures(x, x)["ssim"].value == pytest.approx(1)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((2, 8, 8, 1)), np.zeros((2, 8, 9, 1)), "shapes"),
        (np.zeros((8, 8, 1)), np.zeros((8, 8, 1)), "at least two"),
        (np.full((2, 8, 8, 1), 255.0), np.zeros((2, 8, 8, 1)), "must be in"),
        (np.full((2, 8, 8, 1), np.nan), np.zeros((2, 8, 8, 1)), "must be in"),
        (np.full((2, 8, 8, 1), 0.5), np.zeros((2, 8, 8, 1)), "no detail"),
    ],
)
def test_refusals(x: np.ndarray, y: np.ndarray, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compare_pictures(x, y)


def test_the_frechet_distance_by_a_matrix_root() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((50, 4)) @ rng.standard_normal((4, 4))
    b = rng.standard_normal((40, 4)) @ rng.standard_normal((4, 4)) + 1
    first, second = np.cov(a.T), np.cov(b.T)
    root = sqrtm(first @ second).real
    wanted = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first + second - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(wanted, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + np.array([1, 0, 0, 2])) == pytest.approx(5, rel=1e-9)  # means alone
    assert frechet_distance([[0.0], [2.0]], [[0.0], [6.0]]) == pytest.approx(4 + 8 * (3 - 1) ** 2 / 4)
    with pytest.raises(UsageError, match="one length"):
        frechet_distance(a, b[:, :3])


def test_distances_on_a_trained_network_grow_with_blur_and_noise() -> None:
    rng = np.random.default_rng(0)
    x = np.stack([gaussian_filter(rng.random((16, 16, 1)), (1, s, 0)) for s in rng.uniform(0.3, 1, 240)])
    first, second = x[:120], x[120:]
    net = train_feature_net(first, rng.integers(0, 2, 120), steps=40)
    blurred = [gaussian_filter(second, (0, s, s, 0)) for s in (0, 0.5, 1.0, 2.0)]
    distances = [frechet(net, first, one).value for one in blurred]
    assert distances == sorted(distances)
    assert distances[-1] > 5 * distances[0]
    found = frechet(net, first, second)
    assert found.details == {"features": net.name, "others": 120}
    assert net.name.startswith("elboroom-features-1/turns+blurs+labels/")


def test_a_network_is_the_same_by_its_seed_and_leaves_randomness_alone() -> None:
    x = pictures(8, 12, 14, 1)
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    first = train_feature_net(x, steps=2)
    assert torch.equal(torch.rand(3), wanted)
    assert first.name == train_feature_net(x, steps=2).name
    assert first.name != train_feature_net(x, steps=2, seed=1).name
    assert first.features(x).shape == (8, 96)
    with pytest.raises(UsageError, match="channels"):
        first.features(pictures(8, 12, 14, 3))
    with pytest.raises(UsageError, match="one for each"):
        train_feature_net(x, np.zeros(7))
    with pytest.raises(UsageError, match="too small"):
        train_feature_net(pictures(8, 8, 8, 1))
