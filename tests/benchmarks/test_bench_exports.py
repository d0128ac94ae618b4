"""The table of exports: recipes with one model share a measurement, and each refusal has its reason."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import exports
from elboroom.config import Config


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    seen: list[Config] = []

    def measure(config: Config, *_: Any) -> dict[str, Any]:
        seen.append(config)
        return {"onnx": {"encoder": 1e-7 * len(seen), "decoder": 0.0}}

    monkeypatch.setattr(exports, "measure", measure)
    return seen


def test_recipes_with_one_model_share_a_measurement(measured: list[Config]) -> None:
    found = dict(exports.cells(["vae", "beta-vae", "iaf"], ["mlp"], ["onnx"], every=False))
    assert [config.model.posterior for config in measured] == ["diagonal", "iaf"]
    assert found["beta-vae mlp"] == {**found["vae mlp"], "as": "vae"}
    measured.clear()
    found = dict(exports.cells(["vae", "beta-vae"], ["mlp"], ["onnx"], every=True))
    assert len(measured) == 2
    assert all("as" not in one for one in found.values())


@pytest.mark.usefixtures("measured")
def test_the_table_shows_numbers_and_reasons() -> None:
    recipes, networks = ["vae", "vamp", "ladder"], ["mlp", "chain"]
    found = dict(exports.cells(recipes, networks, ["onnx"], every=False))
    found["vamp mlp"] = {"failed": "it draws"}
    text = exports.table({"recipes": recipes, "networks": networks, "formats": ["onnx"], "cells": found})
    lines = text.splitlines()
    assert lines[0] == "| recipe | mlp, onnx | chain, onnx |"
    assert lines[2:5] == ["| vae | 1e-07 | 3e-07 |", "| vamp | failed | – |", "| ladder | – | – |"]
    assert "- vamp × mlp: it draws" in lines
    assert any(line.startswith("- vamp × chain: prior = 'vamp' requires network") for line in lines)
    assert "- ladder × mlp, ladder × chain: the recipe is its network, ladder" in lines
