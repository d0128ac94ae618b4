"""The measures of tests/core/known.py, read from there as pytest knows each test folder as a world apart."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location(
    "elboroom_tests_known", Path(__file__).parents[1] / "core" / "known.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
_known = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = _known  # where dataclasses looks
_SPEC.loader.exec_module(_known)

FLOAT64 = _known.FLOAT64
FLOAT32 = _known.FLOAT32
assert_equal = _known.assert_equal
assert_mean = _known.assert_mean
