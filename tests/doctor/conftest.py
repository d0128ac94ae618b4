"""The diseases that are planted are those of ``benchmarks/diseases.py``."""

from __future__ import annotations

import sys
from pathlib import Path

# The benchmarks are no part of the package; they are found beside it.
sys.path.insert(0, str(Path(__file__).parents[2]))
