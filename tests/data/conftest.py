"""Every test here has a cache of its own, no local data and no mirror, unless it sets them."""

import os

import pytest

ORIGINAL_DATA = os.environ.get("ELBOROOM_DATA")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ELBOROOM_CACHE", str(folder))
    monkeypatch.delenv("ELBOROOM_DATA", raising=False)
    monkeypatch.delenv("ELBOROOM_MIRROR", raising=False)
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
    return folder


@pytest.fixture
def real_data(monkeypatch):
    if not ORIGINAL_DATA:
        pytest.skip("ELBOROOM_DATA is not set")
    monkeypatch.setenv("ELBOROOM_DATA", ORIGINAL_DATA)
    return ORIGINAL_DATA
