"""Medians, ratios, shares and targets, of numbers that are easy to divide."""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable
from typing import Any

import pytest
from benchmarks.engine import cases, report, startup, summary

Make = Callable[..., dict[str, Any]]

MLP = cases.make_cases(["mlp"])[0]


@pytest.mark.parametrize("module", [cases, report, startup, summary], ids=lambda module: module.__name__)
def test_examples_in_docstrings(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


def test_a_row_is_the_median_scaled_to_the_case(made_row: Make) -> None:
    row = made_row(MLP, "pythae")
    # 1,000 images/s and 10 % longer; the median of two is their mean.
    assert row["images_per_second"]["min"] == pytest.approx(1000 / 1.1)
    assert row["images_per_second"]["median"] == pytest.approx((1000 + 1000 / 1.1) / 2)
    assert row["seconds"] == pytest.approx(60_000 / row["images_per_second"]["median"])


def test_ratios_and_shares(made_result: Make) -> None:
    entry = next(e for e in made_result()["comparisons"] if e["case"] == MLP.name)
    assert entry["times_as_fast"] == pytest.approx(
        {
            "elboroom-fp32": 1.5,
            "elboroom-compiled": 1.2,
            "pythae": 3.0,
            "plain": 2.0,
            "plain-bf16": 2.0,
            "jax": 1.2,
        }
    )
    assert entry["share_of_products"] == pytest.approx({"elboroom": 0.8, "elboroom-fp32": 0.8})
    # The optimiser's bytes make the floor a quarter longer, so the share a quarter greater.
    both = entry["share_of_products_and_optimizer"]
    assert both == pytest.approx({"elboroom": 1.0, "elboroom-fp32": 1.0})


def test_a_case_without_us_or_the_roofline_has_no_ratio(made_row: Make) -> None:
    (entry,) = summary.comparisons([made_row(MLP, "pythae"), made_row(MLP, "products-fp32")])
    assert entry["times_as_fast"] == entry["share_of_products"] == {}


def test_targets(made_result: Make, made_row: Make) -> None:
    result = made_result()
    met = {target["what"]: target["met"] for target in result["targets"]}
    assert met["784-1000-2 B=100: times pythae"] is True
    assert met["784-1000-2 B=400: times jax"] is False
    assert met["784-1000-2 B=400: share of the products' own speed"] is True
    assert met["memory of MNIST training over import torch"] is True
    result["rows"].append(made_row(MLP, "elboroom", device="cuda"))
    *_, epoch = summary.targets(result)
    assert (epoch["what"][:3], epoch["at_most"], epoch["met"]) == ("GPU", True, False)
    del result["start"]
    result["comparisons"] = []
    assert {target["met"] for target in summary.targets(result)[:-1]} == {None}


def test_every_case_has_a_name_of_its_own_and_a_target_has_its_case() -> None:
    names = [case.name for case in cases.make_cases(cases.GROUPS)]
    assert len(set(names)) == len(names)
    assert {case for case, _, _ in summary.RATIOS} | {summary.SHARE[0]} <= set(names)
    assert {case for points in cases.curves().values() for _, case in points} <= set(names)
    quick = {case.name for case in cases.make_cases(cases.GROUPS, quick=True)}
    assert quick < set(names)


def test_a_case_survives_json() -> None:
    assert cases.Case.from_json(json.loads(json.dumps(MLP.to_json()))) == MLP
