"""Estimators as folders: the weights as safetensors, parameters and what was learned beside them as JSON."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from elboroom import __version__
from elboroom.config.columns import Column
from elboroom.data.new_folder import new_folder
from elboroom.errors import UsageError, shortened
from elboroom.io.files import json_text, read_json, write_atomic
from elboroom.models.vae import VAE
from elboroom.runs.model_file import load_model

FORMAT = 1
JSON, WEIGHTS = "estimator.json", "model.safetensors"
_PLAIN = (bool, int, float, str, type(None))
_FIX = "save the estimator again"
E_ = TypeVar("E_", bound=Any)


def save_estimator(estimator: Any, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a fitted estimator to a folder, whole or not at all; see :meth:`VAEEstimator.save`."""
    folder = Path(path)
    if folder.exists() and not (overwrite and (folder / JSON).is_file()):
        why = "holds no estimator, so it is not replaced" if overwrite else "exists; set overwrite=True"
        raise UsageError(f"{folder} {why}, or give another folder")
    fitted = {name: value for name, value in vars(estimator).items() if name.endswith("_") or name[0] == "_"}
    vae: VAE = fitted.pop("vae_")
    parameters = estimator.get_params(deep=False)
    facts = {
        "format": FORMAT,
        "elboroom": __version__,
        "class": type(estimator).__name__,
        "parameters": {name: _written(name, value) for name, value in parameters.items()},
        "fitted": {name: _written(name, value) for name, value in fitted.items() if name not in _NOT_SAVED},
    }
    text = json_text(facts, indent=1) + "\n"
    with new_folder(folder) as scratch:
        vae.float().save(scratch / WEIGHTS)
        vae.double()  # the weights were float32, so that nothing is lost
        write_atomic(scratch / JSON, text)


# The optimiser's state, which partial_fit starts anew, and scikit-learn's own.
_NOT_SAVED = ("_trainer", "_sklearn_output_config")


def load_estimator(cls: type[E_], path: str | os.PathLike[str]) -> E_:
    """Read a folder of :func:`save_estimator`; see :meth:`VAEEstimator.load`."""
    file = Path(path) / JSON
    if not file.is_file():
        raise UsageError(f"{path} is no folder of an estimator: it has no {JSON}")
    facts = read_json(file, _FIX)
    name = facts.get("class") if isinstance(facts, dict) and facts.get("format") == FORMAT else None
    if name not in (None, cls.__name__):  # whose parameters may be others
        raise UsageError(f"{path} holds a {shortened(name)}, and this is {cls.__name__}.load")
    try:
        form = facts["format"]
        parameters = {name: _read(value) for name, value in facts["parameters"].items()}
        fitted = {str(name): _read(value) for name, value in facts["fitted"].items()}
        estimator = cls(**parameters)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{file} does not describe a {cls.__name__} ({error!r}); {_FIX}") from None
    if form != FORMAT:
        raise UsageError(f"{file} has format {shortened(form)}, and this version reads {FORMAT}")
    for name, value in fitted.items():
        if hasattr(cls, name) or not (name.endswith("_") or name[0] == "_") or name.startswith("__"):
            raise UsageError(f"{file}: {shortened(name)} is no attribute of a fitted {cls.__name__}; {_FIX}")
        setattr(estimator, name, value)
    estimator.vae_ = load_model(Path(path) / WEIGHTS).to(torch.float64)
    return estimator


def _written(name: str, value: Any) -> Any:
    """A value as JSON's types."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        return {"array": [_written(name, each) for each in value.tolist()], "dtype": value.dtype.str}
    if isinstance(value, list | tuple):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return {kind: [_written(name, each) for each in value]}
    if isinstance(value, dict):
        return {"dict": [[_written(name, key), _written(name, each)] for key, each in value.items()]}
    if isinstance(value, Column):
        return {"column": value.model_dump(mode="json")}
    if not isinstance(value, _PLAIN):
        raise UsageError(
            f"{name} = {shortened(value)}: a folder holds numbers, text and lists of them only; give such a "
            "value, or save by joblib"
        )
    return {"float": str(value)} if isinstance(value, float) and not np.isfinite(value) else value


def _read(value: Any) -> Any:
    """The inverse of :func:`_written`."""
    if not isinstance(value, dict):
        return value
    if "array" in value:
        dtype = np.dtype(value["dtype"])
        return np.array([_read(each) for each in value["array"]], dtype=dtype)
    ((kind, content),) = value.items()
    made: dict[str, Any] = {
        "tuple": lambda: tuple(map(_read, content)),
        "list": lambda: [*map(_read, content)],
        "dict": lambda: {_read(key): _read(each) for key, each in content},
        "column": lambda: Column(**content),
        "float": lambda: float(content),
    }
    return made[kind]()
