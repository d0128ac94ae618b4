"""What a shape means: the same to a model that is built and to data that are loaded."""

import numpy as np
import pytest

from elboroom import VAE, load_data
from elboroom.errors import UsageError
from elboroom.figures.grids import as_images


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8, 2), (8, 8, 3), (8, 8, 4), (8, 8, 5), (9, 8, 7), (5,)])
def test_shapes_that_both_take(shape):
    x = np.zeros((10, *shape), np.uint8)
    assert load_data(x).shape == VAE.build(shape=shape, hidden=[3]).shape == shape


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (4, 8, 8), (13, 64, 64)])
def test_channels_first_are_named_with_the_fix(shape):
    for refused in (lambda: load_data(np.zeros((10, *shape), np.uint8)), lambda: VAE.build(shape=shape)):
        with pytest.raises(UsageError, match=r"numpy\.moveaxis\(x, 1, -1\)"):
            refused()
    turned = np.moveaxis(np.zeros((10, *shape), np.uint8), 1, -1)
    assert load_data(turned).shape == VAE.build(shape=turned.shape[1:], hidden=[3]).shape


def test_more_channels_and_axes_are_refused_by_both():
    for shape in ((8, 8, 8), (9, 8, 20), (2, 3, 4, 5)):
        with pytest.raises(UsageError):
            load_data(np.zeros((10, *shape), np.uint8))
        with pytest.raises(UsageError, match="at most 4 channels"):
            VAE.build(shape=shape)


def test_alpha_is_shown_over_white():
    red = np.array([1.0, 0.0, 0.0, 0.25]).reshape(1, 1, 1, 4)
    assert as_images(red).ravel().tolist() == [1.0, 0.75, 0.75]
    grey = np.array([0.5, 1.0]).reshape(1, 1, 1, 2)
    assert as_images(grey).ravel().tolist() == [0.5]
