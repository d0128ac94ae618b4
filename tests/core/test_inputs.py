"""Arrays of any type, shape and view: taken as they should be, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elboroom.errors import UsageError

from .known import FLOAT32, assert_equal
from .uses import USES, each_batch_use, each_shape, each_use, small


@each_shape
def test_uint8_is_the_float_over_the_scale(shape: tuple[int, ...]) -> None:
    vae = small(shape)
    pixels = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    assert_equal(vae.as_input(pixels), pixels.float() / 255)
    assert_equal(vae.embed(pixels), vae.embed(pixels.float() / 255))
    assert_equal(vae.embed(pixels.numpy()), vae.embed((pixels.float() / 255).numpy()))


@pytest.mark.parametrize("scale", [16.0, 1.0, 0.5])
def test_scales_other_than_255(scale: float) -> None:
    pixels = torch.randint(0, 17, (4, 5, 3, 1), dtype=torch.uint8)
    vae = small(scale=scale, likelihood="gaussian")
    assert_equal(vae.as_input(pixels), pixels.float() / scale)


@pytest.mark.parametrize("dtype", [torch.bool, torch.float16, torch.float64])
def test_other_types_are_in_model_units(dtype: torch.dtype) -> None:
    x = torch.randint(0, 2, (4, 5, 3, 1)).to(dtype)
    assert_equal(small(scale=16).as_input(x), x.float())


def test_input_is_left_as_it_was() -> None:
    pixels = np.full((2, 5, 3, 1), 200, np.uint8)
    for use in USES.values():
        use(small(), pixels)
    assert (pixels == 200).all()


VIEWS: dict[str, Callable[[Any], Any]] = {
    "transposed": lambda x: np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2),
    "strided": lambda x: np.repeat(x, 2, 0)[::2],
    "flipped": lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
    "read-only": lambda x: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_any_view_that_numpy_makes_is_taken(view: Callable[[Any], Any], dtype: type) -> None:
    """A read-only one is what a memory map gives, a flipped one is how pictures are mirrored."""
    vae, x = (
        small(likelihood="gaussian"),
        np.random.default_rng(0).integers(0, 256, (4, 5, 3, 1)).astype(dtype),
    )
    assert_equal(vae.as_input(view(x)), vae.as_input(x))
    assert_equal(vae.decode(view(x[..., [0, 0, 0]])).mean, vae.decode(x[..., [0, 0, 0]]).mean, **FLOAT32)


@each_batch_use
def test_no_examples_give_no_numbers(use: Callable[..., Tensor]) -> None:
    assert len(use(small(), torch.rand(0, 5, 3, 1))) == 0


@each_shape
@each_batch_use
def test_a_wrong_shape_is_an_error_that_names_both(shape: tuple[int, ...], use: Callable[..., Any]) -> None:
    with pytest.raises(UsageError) as error:
        use(small(shape), torch.rand(4, 9, *shape))
    text = str(error.value)
    assert "\n" not in text
    assert str((4, 9, *shape)) in text
    assert f"(n, {', '.join(map(str, shape))})" in text


@pytest.mark.parametrize("wrong", [(), (3,), (5, 3, 1), (2, 5, 3), (2, 3, 5, 1), (2, 5, 3, 3)], ids=str)
def test_shapes_that_are_nearly_right_are_wrong(wrong: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"the model takes \(n, 5, 3, 1\)"):
        small().embed(torch.zeros(wrong))


@pytest.mark.parametrize("wrong", [(), (2,), (3, 4)], ids=str)
def test_a_code_of_the_wrong_length_is_an_error_that_names_both(wrong: tuple[int, ...]) -> None:
    with pytest.raises(UsageError) as error:
        small().decode(np.zeros(wrong))
    assert str(error.value) == f"got codes of shape {wrong}; the model takes (..., 3)"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@each_use
def test_the_models_dtype_is_kept(use: Callable[..., Tensor], dtype: torch.dtype) -> None:
    vae = small(likelihood="gaussian").to(dtype)
    for x in (torch.rand(2, 5, 3, 1), torch.zeros(2, 5, 3, 1, dtype=torch.uint8)):
        out = use(vae, x)
        assert out.dtype == dtype
        assert torch.isfinite(out).all()


@pytest.mark.parametrize("dtype", [torch.int64, torch.int16])
def test_whole_numbers_are_refused_since_their_unit_is_unknown(dtype: torch.dtype) -> None:
    """An array made of a list of images is int64: neither pixels nor model units for certain."""
    with pytest.raises(UsageError, match="uint8"):
        small().as_input(torch.ones(4, 5, 3, 1, dtype=dtype))
