from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from elboroom.probability import StandardNormal

from .known import FLOAT64, assert_equal, assert_mean

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("leading", [(), (5,), (2, 3)])
def test_log_prob_is_scipys(leading: tuple[int, ...]) -> None:
    z = 3 * torch.randn(*leading, 4)
    expected = stats.multivariate_normal(np.zeros(4)).logpdf(z.numpy())
    assert_equal(StandardNormal(4).log_prob(z), expected, **FLOAT64)


def test_samples_are_uncorrelated_with_unit_variance() -> None:
    z = StandardNormal(3).sample(20_000)
    assert_mean(z, np.zeros(3))
    assert_mean(z[:, :, None] * z[:, None, :], np.eye(3))


def test_quantile_is_scipys() -> None:
    u = torch.tensor([[1e-12, 0.01], [0.5, 0.7], [0.975, 1 - 1e-9]])
    # cephes' rational approximation in both; 1e-9 is a millionth of a pixel of any map drawn with it
    assert_equal(StandardNormal(2).quantile(u), stats.norm.ppf(u), rtol=1e-9, atol=1e-15)


def test_samples_follow_the_dtype_and_nothing_is_saved() -> None:
    prior = StandardNormal(2).bfloat16()
    assert prior.sample(3).dtype == torch.bfloat16
    assert prior.state_dict() == {}
