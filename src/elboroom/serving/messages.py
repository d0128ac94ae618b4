"""What a page on this computer asks and is answered, and its content security policy."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from elboroom.errors import UsageError

# What is no page may do nothing, should a browser be made to show it as one.
_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_INLINE = {
    name: re.compile(rf"<{name}\b([^>]*)>(.*?)</{name}\s*>", re.DOTALL | re.IGNORECASE)
    for name in ("script", "style")
}


@dataclass(frozen=True)
class Request:
    """A request that was let in.

    Attributes
    ----------
    query : mapping of str to str
        What follows the question mark; of a name that is given twice, the last value.
    body : bytes
        Of a POST, at most as long as the server allows.
    """

    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """Read the body as JSON.

        Raises
        ------
        UsageError
            If it is not JSON in UTF-8, or holds NaN or an infinity.
        """
        try:
            return json.loads(self.body.decode(), parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise UsageError("the body of the request is not JSON; send a JSON text in UTF-8") from None

    def integer(self, name: str, below: int) -> int:
        """Read a whole number of the query, from 0 to less than `below`.

        Raises
        ------
        UsageError
            If it is missing or something else.
        """
        text = self.query.get(name, "")
        if not re.fullmatch(r"[0-9]{1,15}", text) or int(text) >= below:
            raise UsageError(f"{name} = {text[:20]!r}: give a whole number from 0 to {below - 1}")
        return int(text)


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


@dataclass(frozen=True)
class Response:
    """What is answered: a body, its media type, and the content security policy under which it is shown.

    A `location` sends the browser there instead.
    """

    body: bytes
    kind: str = "application/octet-stream"
    policy: str = _NOTHING
    location: str = ""


def json_response(tree: Any) -> Response:
    """Answer with JSON.

    Raises
    ------
    ValueError
        If it holds NaN or an infinity, which JSON has not.
    """
    text = json.dumps(tree, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Response(text.encode(), "application/json")


def html(text: str, **more: str) -> Response:
    """Answer with a page, under `policy` of its text and of `more`."""
    return Response(text.encode(), "text/html; charset=utf-8", policy(text, **more))


def policy(text: str, **more: str) -> str:
    r"""Write a content security policy: a page runs only what stands in it, and fetches from its server.

    Scripts and styles between their tags are allowed by their SHA-256, images from the server and from
    ``data:`` and ``blob:`` addresses, requests to the server alone.

    Parameters
    ----------
    text : str
        The page.
    **more : str
        Further sources by directive, with "_" for "-", such as ``worker_src="blob:"``.

    Returns
    -------
    str
        The value of the header ``Content-Security-Policy``.

    Examples
    --------
    >>> print(policy("<script>go()</script>", worker_src="blob:").replace("; ", "\n"))
    default-src 'none'
    script-src 'sha256-5KYv+PUboo5h+0+YAtGRPbwv5d/QxzHslP4YGnUaxRw='
    img-src 'self' data: blob:
    connect-src 'self'
    base-uri 'none'
    form-action 'none'
    frame-ancestors 'none'
    worker-src blob:
    """
    sources = {
        "default-src": ["'none'"],
        "script-src": _hashes(text, "script"),
        "style-src": _hashes(text, "style"),
        "img-src": ["'self'", "data:", "blob:"],
        "connect-src": ["'self'"],
        **{name: ["'none'"] for name in ("base-uri", "form-action", "frame-ancestors")},
    }
    for name, value in more.items():
        sources.setdefault(name.replace("_", "-"), []).append(value)
    return "; ".join(f"{name} {' '.join(values)}" for name, values in sources.items() if values)


def _hashes(text: str, name: str) -> list[str]:
    """Sources that allow the scripts or styles of a page; data in a script of another type needs none."""
    found = [
        inner
        for attributes, inner in _INLINE[name].findall(text)
        if "application/json" not in attributes and "src=" not in attributes
    ]
    digests = (hashlib.sha256(inner.encode()).digest() for inner in found)
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
