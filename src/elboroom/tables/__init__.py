"""What one does with a model of a table: sample rows on condition, and fill missing cells."""

from __future__ import annotations

from elboroom.tables.imputation import Imputed, impute

__all__ = ["Imputed", "impute"]
