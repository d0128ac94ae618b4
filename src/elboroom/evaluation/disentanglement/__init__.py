"""Disentanglement: how codes of any model relate to the factors that made the data."""

from elboroom.evaluation.disentanglement.models import udr
from elboroom.evaluation.disentanglement.suite import MEASURES, disentanglement

__all__ = ["MEASURES", "disentanglement", "udr"]
