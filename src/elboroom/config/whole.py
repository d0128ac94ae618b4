"""The whole configuration, checks across its sections, and the files it is read from."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import model_validator

from elboroom.config.fitting import check_dequantized, check_together
from elboroom.config.model import ModelConfig
from elboroom.config.objective import ObjectiveConfig
from elboroom.config.sections import Section
from elboroom.config.training import DataConfig, OptimizerConfig, TrainingConfig
from elboroom.errors import UsageError, nearest

_PRESETS = Path(__file__).parents[1] / "presets"


class Config(Section):
    """The configuration of a run, as stored in ``config.json``."""

    FORMAT: ClassVar[int] = 1

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _model_and_objective_fit(self) -> Self:
        check_together(self.model, self.objective)
        check_dequantized(self.model.likelihood, self.data.dequantize, self.data.binarize)
        return self

    def updated(self, **flat: Any) -> Config:
        """Copy with fields replaced by name, in whichever section they are.

        Raises
        ------
        UsageError
            If no section has a field of that name, or a value is invalid.

        Examples
        --------
        >>> Config().updated(latent_dim=8, epochs=3).model.latent_dim
        8
        """
        home = {
            field: name
            for name in type(self).model_fields
            for field in type(getattr(self, name)).model_fields
        }
        changes: dict[str, dict[str, Any]] = {}
        for key, value in flat.items():
            if key not in home:
                raise UsageError(f"unknown option {key!r}; {nearest(key, home)}")
            changes.setdefault(home[key], {})[key] = value
        return self.merged(changes)

    def merged(self, changes: dict[str, Any]) -> Config:
        """Copy with the overrides ``{"section": {"field": value}}``, checked again as a whole."""
        sections = {name: dict(getattr(self, name)) for name in type(self).model_fields}
        for name, fields in changes.items():
            if name not in sections:
                raise UsageError(f"unknown section [{name}]; {nearest(name, sections)}")
            if not isinstance(fields, dict):
                raise UsageError(
                    f"{name} = {fields!r}: a section of key = value pairs goes here, as [{name}]"
                )
            sections[name].update(fields)
        return Config(**{name: Config.model_fields[name].annotation(**s) for name, s in sections.items()})  # type: ignore[misc]


def read_toml(path: Path, base: Config | None = None) -> Config:
    """Override ``base`` with the sections of a TOML file.

    Raises
    ------
    UsageError
        If the file is missing, is not TOML, or holds an unknown section or key or an invalid value.
    """
    try:
        changes = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the config {path}: {error.strerror}") from None
    except RecursionError:
        raise UsageError(f"{path} is not a TOML file of settings: its tables are nested too deeply") from None
    except ValueError as error:  # not TOML, not UTF-8, a null character, or a number of thousands of digits
        raise UsageError(f"{path} is not a TOML file: {error}") from None
    try:
        return (base or Config()).merged(changes)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def preset_names() -> list[str]:
    """Names of all presets."""
    return sorted(path.stem for path in (_PRESETS).glob("*.toml"))


def read_preset(name: str) -> Config:
    """Read a preset: a configuration that comes with elboroom.

    Raises
    ------
    UsageError
        If there is no preset of that name; the message suggests the nearest.
    """
    if name not in preset_names():
        raise UsageError(f"unknown preset {name!r}; {nearest(name, preset_names())}")
    return read_toml(_PRESETS / f"{name}.toml")
