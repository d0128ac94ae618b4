"""The page with a server behind it, for a model that the page does not run itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.explorer.conftest import Opened, trained

from elboroom.cli.inputs.run_data import run_data
from elboroom.cli.main import main
from elboroom.errors import UsageError
from elboroom.explorer.page import make_page
from elboroom.explorer.payload import collect
from elboroom.explorer.routes import routes
from elboroom.models.vae import VAE
from elboroom.runs.run import Run
from elboroom.serving import Request, Server


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two stochastic layers."""
    run = tmp_path_factory.mktemp("chain") / "run"
    return trained(run, "digits", "--network", "chain", "--model.chain-dims", "3", "5", page=False)


def _ask(vae: VAE, route: str, content: Any) -> np.ndarray:
    answer = routes("<p>", vae)[route](Request(body=json.dumps(content).encode()))
    return np.frombuffer(answer.body, "<f4")


def test_the_routes_answer_with_the_model_s_numbers() -> None:
    vae = VAE.build(shape=(3, 2, 1), latent_dim=2, hidden=[4], condition="labels", condition_dim=2)
    asked = {"code": [0.5, -1], "condition": [0, 1]}
    exact = vae.decode(np.array([[0.5, -1]]), 1).mean.flatten().numpy()
    np.testing.assert_allclose(_ask(vae, "POST /decode", asked), exact, rtol=1e-6)
    x = np.linspace(0, 1, 6, dtype=np.float32)
    code = vae.embed(x.reshape(1, 3, 2, 1), 1)[0].numpy()
    np.testing.assert_allclose(
        _ask(vae, "POST /encode", {"x": x.tolist(), "condition": [0, 1]}), code, rtol=1e-6
    )


@pytest.mark.parametrize(
    "asked",
    [
        [],
        {},
        {"code": [1]},
        {"code": [1, "2"]},
        {"code": [1, True, 3]},
        {"code": [1e40, 0]},
        {"code": {"0": 1, "1": 2}},
    ],
)
def test_other_requests_are_refused(asked: Any) -> None:
    vae = VAE.build(shape=(3, 2, 1), latent_dim=2, hidden=[4])
    with pytest.raises(UsageError):
        _ask(vae, "POST /decode", asked)


def test_a_page_alone_refuses_what_it_cannot_run(chain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explore", str(chain), "--export", str(chain / "page.html")]) == 2
    assert "leave out --export" in capsys.readouterr().err
    assert not (chain / "page.html").exists()


def test_a_served_page_asks_the_model(chain: Path, chromium: Any) -> None:
    run = Run(chain)
    vae, data = run.model(), run_data(run)
    payload = collect(run, vae, data, data.indices("all"), points=200, served=True)
    server = Server(routes(make_page(payload, served=True), vae))
    with server:
        page = chromium.new_page()
        opened = Opened(page)
        page.on("request", lambda request: opened.requests.append(request.url))
        page.on("console", lambda message: opened.complaints.append(message.text))
        page.goto(server.address)
        page.wait_for_function("() => performance.getEntriesByName('first picture').length > 0")
        opened.settle()
        code = np.array(opened.js("() => Array.from(explorer.store.shown.code)"), np.float32)
        exact = vae.decode(code[None]).mean[0].numpy()
        assert np.abs(opened.shown()[..., :1] / 255 - exact).max() <= 0.51 / 255
        assert all(url.startswith((server.address, "blob:", "data:")) for url in opened.requests)
        assert opened.complaints == []
        page.close()
