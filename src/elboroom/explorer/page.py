"""The page as one file: the built template with the content of a run."""

from __future__ import annotations

import html
import json
from importlib.resources import files
from typing import Any

from elboroom.explorer.payload import Payload
from elboroom.io.files import json_text

_PLACES = ("<!--TITLE-->", "<!--FACTS-->", "<!--ARRAYS-->")


def make_page(payload: Payload, *, served: bool = False) -> str:
    """The whole page. It needs no other file, and its policy forbids the browser any connection.

    A page that is ``served`` may ask its server.
    """
    template = (files("elboroom.explorer") / "page.html").read_text(encoding="utf-8")
    facts = {**payload.facts, "arrays": payload.blob.index}
    texts = (html.escape(str(facts["name"])), script_json(facts), payload.blob.packed().decode("ascii"))
    for place, text in zip(_PLACES, texts, strict=True):
        before, found, after = template.partition(place)
        assert found, f"page.html lacks {place}"
        template = before + text + after
    return template.replace("connect-src 'none'", "connect-src 'self'", 1) if served else template


def script_json(content: Any) -> str:
    r"""JSON that can stand in a ``<script>``: nothing in it ends the element or begins a comment.

    Examples
    --------
    >>> script_json({"label": "</script><!--"})
    '{"label":"\\u003c/script\\u003e\\u003c!--"}'
    """
    plain = json.loads(json_text(content))  # without nan
    text = json.dumps(plain, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
