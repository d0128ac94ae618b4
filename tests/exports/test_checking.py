"""What counts as equal to the model: numbers to 1e-5, and ties that rounding decides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elboroom import VAE
from elboroom.errors import FailureError
from elboroom.exports.checking import BATCHES, TOLERANCE, differences, largest_difference
from elboroom.exports.networks import Network, networks_of


def quantized(feature: float) -> Network:
    """An encoder whose only vector (feature, 0) is compared with the entries (-1, 0) and (1, 0)."""
    vae = VAE.build(
        shape=(1,), hidden=[], posterior="vq", code_grid=(1,), code_channels=2, codebook_size=2, scale=1.0
    )
    with torch.no_grad():
        for weight in vae.encoder.parameters():
            weight.zero_()
        list(vae.encoder.parameters())[-1][0] = feature
        vae.posterior.codebooks[0].codes.copy_(torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))
    return networks_of(vae.eval()).encoder


def chosen(index: int) -> Any:
    """A run that chooses one entry for all examples."""

    def run(inputs: Any) -> list[Tensor]:
        n = len(inputs[0])
        return [
            torch.tensor([[2.0 * index - 1, 0.0]]).repeat(n, 1),
            torch.full((n, 1), index, dtype=torch.int64),
        ]

    return run


def test_either_side_of_a_tie_is_right_and_far_from_it_one_is() -> None:
    assert largest_difference(quantized(0.5), chosen(1)) == 0
    with pytest.raises(FailureError, match=r"differs from the model by 2 in mean, more than 1e-05"):
        largest_difference(quantized(0.5), chosen(0))
    for side in (0, 1):  # 1e-9 off the middle: in float32 the distances to both are 1
        assert largest_difference(quantized(1e-9), chosen(side)) <= TOLERANCE


def plain() -> Network:
    torch.manual_seed(0)
    return networks_of(VAE.build(shape=(4,), hidden=[8], scale=1.0).eval()).encoder


def shifted(network: Network, by: float, rows: int = 0) -> Any:
    def run(inputs: Any) -> list[Tensor]:
        with torch.no_grad():
            first, *others = (each.clone() for each in network.module(*inputs))
        first[rows:] += by
        return [first, *others]

    return run


@pytest.mark.parametrize("by", [0.0, 5e-6])
def test_numbers_within_the_tolerance_are_equal(by: float) -> None:
    encoder = plain()
    assert largest_difference(encoder, shifted(encoder, by)) == pytest.approx(by, abs=1e-6)


@pytest.mark.parametrize(("by", "rows"), [(3e-5, 0), (1.0, 0), (3e-5, max(BATCHES) - 1)])
def test_other_numbers_are_not_even_in_one_example(by: float, rows: int) -> None:
    encoder = plain()
    with pytest.raises(FailureError, match=r"exported encoder differs from the model by .* in mean"):
        largest_difference(encoder, shifted(encoder, by, rows))


def test_pixels_are_measured_in_their_range() -> None:
    decoder = networks_of(VAE.build(shape=(2, 2, 1), hidden=[8], scale=255.0).eval()).decoder
    assert largest_difference(decoder, shifted(decoder, 1e-3)) == pytest.approx(1e-3 / 255, rel=0.1)


def test_other_shapes_and_types_are_refused() -> None:
    encoder = plain()
    with pytest.raises(FailureError, match=r"puts out mean as torch.float64 \(1, 2\) for 1 examples"):
        largest_difference(encoder, lambda inputs: [each.double() for each in encoder.module(*inputs)])
    with pytest.raises(FailureError, match=r"puts out mean as torch.float32 \(1, 1, 2\)"):
        largest_difference(encoder, lambda inputs: [each[None] for each in encoder.module(*inputs)])


def test_what_is_not_finite_is_equal_to_itself_only() -> None:
    a = np.array([np.inf, -np.inf, np.nan, 1.0])
    assert differences(a, a).max() == 0
    assert differences(a, np.array([-np.inf, 1.0, 1.0, np.nan])).tolist() == [np.inf] * 4
