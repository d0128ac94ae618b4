"""elboroom: train, measure and explore variational autoencoders."""

from __future__ import annotations

__version__ = "0.1.0"
