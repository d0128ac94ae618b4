"""Checkpoints: any tree of numbers and tensors, bit for bit, without pickle."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from elboroom.errors import UsageError
from elboroom.io.tensors import write_tensors
from elboroom.training.checkpoints.state import (
    copy_state,
    load_state,
    random_state,
    save_state,
    set_random_state,
)

from .runs import assert_identical

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]
TREES: dict[str, Any] = {
    "numbers": {"i": -(2**62), "f": 0.1 + 0.2, "tiny": 5e-324, "huge": 1.7976931348623157e308, "t": True},
    "not finite": {"nan": math.nan, "inf": math.inf, "minus": -math.inf, "zero": -0.0},
    "nothing": {"none": None, "list": [], "dict": {}, "text": ""},
    "text": {"ε": "β = 4\n\t\"'\\/", "a/b": "c", " ": "​"},
    "integer keys": {"state": {0: {"step": torch.tensor(3.0)}, 1: {"step": torch.tensor(4.0)}, 10: {}}},
    "nested": {"a": [{"b": [torch.arange(3), {"c": {2: [torch.ones(2)]}}]}, [[1, [2.5]]]]},
    "special tensors": {
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(math.nan),
        "strided": torch.arange(12).reshape(3, 4).T,
        "not finite": torch.tensor([math.inf, -math.inf, -0.0, math.nan]),
        "leaf": torch.ones(2, requires_grad=True),
    },
    "one tensor twice": {"tied": [torch.ones(2)] * 2},
    "types": {str(dtype): torch.tensor([0, 1, 1]).to(dtype) for dtype in DTYPES},
    "names that meet": {"a": {"b/c": torch.zeros(1), "b": {"c": torch.ones(1)}}},
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_comes_back_bit_for_bit(tree: dict[str, Any], tmp_path: Path) -> None:
    save_state(tmp_path / "s.safetensors", tree)
    found = load_state(tmp_path / "s.safetensors")
    expected = {"tree": copy_state(tree)}
    assert_identical({"tree": found}, expected)


def test_the_state_of_an_optimizer_comes_back(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    optimizer = torch.optim.Adam([weight], amsgrad=True)
    weight.square().sum().backward()
    optimizer.step()
    save_state(tmp_path / "s", optimizer.state_dict())
    found = load_state(tmp_path / "s")
    assert_identical(found, copy_state(optimizer.state_dict()))
    torch.optim.Adam([weight], amsgrad=True).load_state_dict(found)


def test_tuples_come_back_as_lists(tmp_path: Path) -> None:
    save_state(tmp_path / "s", {"betas": (0.9, (1, 2))})
    assert load_state(tmp_path / "s") == {"betas": [0.9, [1, 2]]}


@pytest.mark.parametrize("thing", [object(), {1, 2}, b"bytes", 1j], ids=lambda thing: type(thing).__name__)
def test_what_it_cannot_hold_is_an_error_and_no_file(thing: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=f"cannot hold {type(thing).__name__} at a/0"):
        save_state(tmp_path / "s", {"a": [thing]})
    assert list(tmp_path.iterdir()) == []


def test_a_copy_no_longer_changes_with_the_original() -> None:
    tree = {"a": [torch.zeros(2)], 3: {"b": (torch.zeros(1), 5)}}
    copy = copy_state(tree)
    tree["a"][0].fill_(1)
    tree[3]["b"][0].fill_(1)
    assert copy["a"][0].tolist() == [0, 0]
    assert copy[3]["b"][0].tolist() == [0]


def test_random_state_goes_on_where_it_was(tmp_path: Path) -> None:
    torch.manual_seed(5)
    torch.randn(7)  # an odd count, of which the generator keeps a half
    save_state(tmp_path / "s", random_state(torch.device("cpu")))
    expected = torch.randn(5), torch.rand(3), torch.randperm(9)
    torch.manual_seed(6)
    set_random_state(load_state(tmp_path / "s"), torch.device("cpu"))
    for one, other in zip(expected, (torch.randn(5), torch.rand(3), torch.randperm(9)), strict=True):
        assert one.equal(other)


@pytest.mark.parametrize("damage", ["nothing", "empty", "cut", "header", "text", "other", "folder"])
def test_a_damaged_checkpoint_is_an_error_in_one_line(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "s.safetensors"
    save_state(path, {"weights": torch.randn(100)})
    content = path.read_bytes()
    if damage in ("nothing", "folder"):
        path.unlink()
        if damage == "folder":
            path.mkdir()
    elif damage == "other":
        write_tensors(path, {"weights": torch.randn(100)})
    else:
        damaged = {"empty": b"", "cut": content[:-50], "header": content[:20], "text": b"not a checkpoint"}
        path.write_bytes(damaged[damage])
    with pytest.raises(UsageError) as error:
        load_state(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    expected = {"nothing": "no checkpoint at", "other": "not a checkpoint of elboroom"}
    assert expected.get(damage, "is damaged or cut short") in message
