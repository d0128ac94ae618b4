"""What the page is given: exact arrays, errors that are measured, text that stays text."""

from __future__ import annotations

import base64
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.explorer.conftest import Opened, facts_of
from torch import nn

from elboroom.cli.inputs.run_data import run_data
from elboroom.cli.main import main
from elboroom.explorer.atlas import make_atlas
from elboroom.explorer.blob import Blob, rounded
from elboroom.explorer.layers import CannotRunError, Translator
from elboroom.explorer.maps import plane_map
from elboroom.explorer.page import script_json
from elboroom.explorer.payload import collect
from elboroom.models.fitted_prior import FittedPrior, write_fitted
from elboroom.models.vae import VAE
from elboroom.probability.gaussian_mixture import GaussianMixture
from elboroom.runs.run import Run


def _arrays(page: Path) -> bytes:
    text = page.read_text("utf-8")
    found = re.search(r'<script type="application/json" id="arrays">"(.*?)"</script>', text)
    assert found is not None
    return zlib.decompress(base64.b64decode(found[1]))


def test_codes_labels_and_rows_are_those_of_the_data(digits: Path) -> None:
    facts, held = facts_of(digits / "explorer.html"), _arrays(digits / "explorer.html")

    def read(number: int) -> np.ndarray:
        entry = facts["arrays"][number]
        count = int(np.prod(entry["shape"]))
        return np.frombuffer(held, entry["type"], count, entry["offset"]).reshape(entry["shape"])

    data, points = run_data(Run(digits)), facts["points"]
    rows = read(points["rows"])
    assert sorted(rows) == list(range(len(data)))
    assert [points["labelNames"][i] for i in read(points["labels"])] == [
        str(data.labels[row]) for row in rows
    ]
    codes = Run(digits).model().embed(data.values(rows)).numpy()
    np.testing.assert_allclose(read(points["codes"]), codes, atol=1e-5)
    means = read(facts["classes"]["means"])
    train = data.indices("train")
    own = Run(digits).model().embed(data.values(train)).numpy()
    for label in range(10):
        np.testing.assert_allclose(means[label], own[data.labels[train] == label].mean(0), atol=1e-5)


def test_rates_of_dimensions_add_up_to_the_rate(digits: Path) -> None:
    dims = facts_of(digits / "explorer.html")["dims"]
    vae, data = Run(digits).model(), run_data(Run(digits))
    q = vae.encode(data.values(np.arange(len(data))))
    rate = 0.5 * (q.scale**2 + q.mean**2 - 1) - q.scale.log()
    assert sum(each["rate"] for each in dims) == pytest.approx(float(rate.sum(1).mean()), rel=1e-4)
    assert [each["rate"] for each in dims] == sorted((each["rate"] for each in dims), reverse=True)


def test_the_page_says_its_error(digits: Path) -> None:
    weights = facts_of(digits / "explorer.html")["weights"]
    assert weights["format"] == "int8"
    assert 0 < weights["meanError"] <= 0.5 / 255


def test_eight_bits_round_to_the_nearest_of_255_levels() -> None:
    weight = np.random.default_rng(0).normal(size=(5, 7, 3))
    step = np.abs(weight).reshape(5, -1).max(1)[:, None, None] / 127
    assert (np.abs(rounded(weight, "int8") - weight) <= 0.5001 * step).all()
    assert rounded(rounded(weight, "int8"), "int8") == pytest.approx(rounded(weight, "int8"), rel=1e-6)


def test_text_from_the_data_cannot_leave_its_place() -> None:
    text = script_json({"label": '</script><img src=x onerror="alert(1)">', "more": "<!--<script>&"})
    assert not re.search("[<>&]", text)


def test_the_policy_of_the_page_allows_no_connection(digits: Path) -> None:
    text = (digits / "explorer.html").read_text("utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy[1].split("; "))
    assert rules["default-src"] == rules["connect-src"] == "'none'"
    assert "unsafe" not in policy[1]
    assert "http:" not in policy[1]
    assert "https:" not in policy[1]


def test_a_principal_map_is_that_of_pca() -> None:
    from sklearn.decomposition import PCA

    codes = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32) * [5, 4, 1, 1, 1]
    found = plane_map(codes)
    exact = PCA(2).fit_transform(codes)
    np.testing.assert_allclose(np.abs((codes - found.centre) @ found.directions.T), np.abs(exact), atol=1e-3)


def test_thumbnails_fit_their_budget() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (500, 32, 32, 3), dtype=np.uint8)
    atlas = make_atlas(pixels, 60_000)
    assert 0 < sum(map(len, atlas.sheets)) <= 60_000
    assert atlas.count <= 500


def test_what_the_page_cannot_run_is_refused() -> None:
    for layer in (nn.Conv2d(4, 4, 3, groups=2), nn.GRU(3, 3), nn.Upsample(scale_factor=2)):
        with pytest.raises(CannotRunError):
            Translator(Blob(), "int8").program(layer)


class _Doubled(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def test_a_network_that_does_more_than_its_layers_is_refused() -> None:
    vae = VAE(
        _Doubled(nn.Flatten(), nn.Linear(4, 4)), nn.Linear(2, 4), VAE.build(shape=(4,)).prior, shape=(4,)
    )
    with pytest.raises(CannotRunError, match="_Doubled"):
        Translator(Blob(), "int8").program(vae.encoder)


def test_errors_name_the_option(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explore", str(digits), "--export", "page.pdf"]) == 2
    assert "--export page.pdf" in capsys.readouterr().err
    page = digits / "explorer.html"
    assert main(["explore", str(digits), "--export", str(page)]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_draws_from_a_fitted_prior_are_its_own(digits: Path) -> None:
    run, vae = Run(digits), Run(digits).model()
    density = GaussianMixture(torch.zeros(1), torch.tensor([[7.0, -3.0]]), torch.tensor([[0.1, 0.2]]))
    fitted = FittedPrior("gmm", density, {})
    data = run_data(run)
    found = collect(run, vae, data, data.indices("test")[:50], drawn_from=fitted)
    draws = found.facts["draws"]
    assert draws["prior"] == "Gaussian mixture of 1 component with diagonal covariance"
    entry = found.blob.index[draws["codes"]]
    assert entry["shape"] == [draws["count"], 2] == [1000, 2]
    held = zlib.decompress(base64.b64decode(found.blob.packed()))
    codes = np.frombuffer(held, entry["type"], 2000, entry["offset"]).reshape(1000, 2)
    np.testing.assert_allclose(codes.mean(0), [7, -3], atol=0.03)
    np.testing.assert_allclose(codes.std(0), [0.1, 0.2], rtol=0.1)
    assert facts_of(digits / "explorer.html")["draws"] is None


def test_random_shows_draws_from_the_fitted_prior(
    digits: Path, tmp_path: Path, open_page: Callable[..., Opened], capsys: pytest.CaptureFixture[str]
) -> None:
    run, page = tmp_path / "run", tmp_path / "e.html"
    shutil.copytree(digits, run)
    command = ["explore", str(run), "--prior", "fitted", "--export", str(page)]
    assert main(command) == 2
    assert "has no fitted prior; run 'elboroom fit-prior" in capsys.readouterr().err
    density = GaussianMixture(torch.zeros(1), torch.tensor([[7.0, -3.0]]), torch.full((1, 2), 0.01))
    write_fitted(run, FittedPrior("gmm", density, {}), Run(run).model())
    assert main(command) == 0
    opened = open_page(page)
    opened.page.keyboard.press("r")
    opened.settle()
    np.testing.assert_allclose(opened.js("() => Array.from(explorer.store.shown.code)"), [7, -3], atol=0.1)
    assert opened.page.inner_text(".origin") == "a draw from the fitted prior"
