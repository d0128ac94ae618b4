"""The configuration of a run, as types: one section per part, each field with its meaning and limits.

Field names are unique across sections, so that ``fit(..., epochs=20, beta=4)`` and ``--beta 4`` are
unambiguous. Sections are frozen; a wrong value raises :class:`UsageError` in one line.
"""

from elboroom.config.model import Activation, Init, ModelConfig, Normalization
from elboroom.config.objective import ObjectiveConfig
from elboroom.config.priors import prior_of
from elboroom.config.sections import Section
from elboroom.config.training import DataConfig, OptimizerConfig, TrainingConfig
from elboroom.config.whole import Config, preset_names, read_preset, read_toml

__all__ = [
    "Activation",
    "Config",
    "DataConfig",
    "Init",
    "ModelConfig",
    "Normalization",
    "ObjectiveConfig",
    "OptimizerConfig",
    "Section",
    "TrainingConfig",
    "preset_names",
    "prior_of",
    "read_preset",
    "read_toml",
]
