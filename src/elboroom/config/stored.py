"""Stored configurations of earlier versions, without fields whose defaults would change what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def stored_sections(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Sections of a stored configuration that are there, as this version reads them.

    Examples
    --------
    >>> stored_sections({"model": {"posterior": "fsq"}, "data": None})
    {'model': {'code_normalization': 'none', 'posterior': 'fsq'}}
    """
    found = {name: fields for name, fields in sections.items() if fields is not None}
    return found | ({"model": stored_model(found["model"])} if "model" in found else {})


def stored_model(fields: Any) -> Any:
    """Fields of a stored model; quantisers of versions before ``code_normalization`` did not normalise."""
    if isinstance(fields, dict) and fields.get("posterior") in ("vq", "fsq"):
        return {"code_normalization": "none", **fields}
    return fields
