"""The page of a run on this computer, with the full model behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from elboroom.errors import UsageError
from elboroom.explorer.blob import Array
from elboroom.explorer.columns import decoded_cells
from elboroom.models.vae import VAE
from elboroom.serving import Request, Response, html


def routes(page: str, vae: VAE) -> Mapping[str, Callable[[Request], Response]]:
    """Routes of a server: the page, and what it may ask of the model.

    ``POST /decode`` takes a code and its condition as JSON, ``{"code": [...], "condition": [...] or null}``,
    and answers with the numbers of the decoded example, float32 in little-endian order. ``POST /encode``
    takes an example in model units under ``x``, and answers with its code. ``POST /standard`` and
    ``POST /placed`` take a code to units of the prior and back, as :meth:`elboroom.VAE.standardized` does.
    """
    shown = html(page)
    lock = threading.Lock()  # requests come in threads, and the model is one
    size = int(np.prod(vae.shape))

    def decode(request: Request) -> Response:
        asked = _fields(request)
        code, condition = _numbers(asked, "code", vae.latent_dim), _condition(asked, vae)
        with lock:
            return _numbers_response(decoded_cells(vae.decode(code[None], condition)))

    def encode(request: Request) -> Response:
        asked = _fields(request)
        x, condition = _numbers(asked, "x", size), _condition(asked, vae)
        with lock:
            return _numbers_response(vae.embed(x.reshape(1, *vae.shape), condition).float().cpu().numpy())

    def moved(move: Callable[..., Any]) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            asked = _fields(request)
            code, condition = _numbers(asked, "code", vae.latent_dim), _condition(asked, vae)
            with lock:
                return _numbers_response(move(code[None], condition).float().cpu().numpy())

        return answer

    return {
        "GET /": lambda _request: shown,
        "POST /decode": decode,
        "POST /encode": encode,
        "POST /standard": moved(vae.standardized),
        "POST /placed": moved(vae.placed),
    }


def _fields(request: Request) -> dict[str, Any]:
    asked = request.json()
    if not isinstance(asked, dict):
        raise UsageError("the body of the request is not a JSON object")
    return asked


def _numbers(asked: dict[str, Any], name: str, count: int) -> Array:
    """A list of so many finite numbers, float32."""
    given = asked.get(name)
    fits = isinstance(given, list) and len(given) == count
    if not fits or not all(isinstance(value, int | float) and abs(value) < 1e30 for value in given or ()):
        raise UsageError(f"{name}: give a list of {count} numbers")
    return np.array(given, np.float32)


def _condition(asked: dict[str, Any], vae: VAE) -> Array | None:
    if vae.condition is None:
        return None
    return _numbers(asked, "condition", vae.condition.size)[None]


def _numbers_response(values: Array) -> Response:
    return Response(np.ascontiguousarray(values, "<f4").tobytes())
