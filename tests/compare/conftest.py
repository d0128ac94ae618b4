"""A folder and a cache of its own for each test, and comparisons that take no time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elboroom import compare
from elboroom.cli.main import main
from elboroom.comparison import Comparison
from elboroom.comparison.summary import Summary
from elboroom.figures.style import canvas

SMALL: dict[str, Any] = {"hidden": [8], "batch_size": 200, "device": "cpu", "precision": "fp32"}
OPTIONS = ["--hidden", "8", "--batch-size", "200", "--device", "cpu", "--precision", "fp32", "--quiet"]

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def drawn() -> None:
    """Draw the picture as it is; it takes most of the time of such small comparisons."""


@pytest.fixture(autouse=True)
def _undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("elboroom.comparison.report.draw", lambda *_: canvas(10, 10))


@pytest.fixture
def elboroom(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command line in this process: exit code, standard output, standard error."""

    def run(*argv: Any) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(word) for word in argv])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def small(recipes: str, out: str | Path = "cmp", **options: Any) -> Comparison:
    given: dict[str, Any] = {"seeds": 2, "epochs": 1, "nll_samples": 5, "quiet": True, **SMALL, **options}
    return compare("digits", recipes, out=out, **given)


def numbers(found: Comparison) -> list[dict[str, Any]]:
    """Rows without what the clock says."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in found.rows]


def summary(recipe: str, *elbos: float, likelihood: str = "bernoulli", **more: Any) -> Summary:
    """Runs with these ELBOs and made-up other numbers."""
    rows = [
        {
            **{"recipe": recipe, "seed": seed, "status": "ok", "elbo": elbo, "nll": -elbo - 1},
            **{"nll_stderr": 0.1, "nll_num_samples": 100, "distortion": -0.8 * elbo, "rate": -0.2 * elbo},
            **{"active_units": 3 + seed % 2, "latent_dim": 10, "weights": 12345, "epochs": 20},
            **{"seconds": 10.0 + seed, "likelihood": likelihood, "posterior": "diagonal"},
            **{"split": "test", "examples": 500, **more},
        }
        for seed, elbo in enumerate(elbos)
    ]
    return Summary(recipe, rows, {})
