"""What a model card says of a model: read from its run folder, as far as there is one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from elboroom.config import Config, ModelConfig
from elboroom.errors import UsageError
from elboroom.io.files import read_json

# Drawn from codes alone: no picture of the data leaves with the model.
_PICTURES = ("samples", "manifold", "traversals", "samples_by_class", "loss")
_NOT_OPTIONS = {"source", "device", "track", "figures_every", "condition_file", "lpips_weights"}


@dataclass(frozen=True)
class Origin:
    """Facts of a model and its training.

    Attributes
    ----------
    model : ModelConfig
        Its configuration.
    metrics : dict
        As in metrics.json; empty if the run was not evaluated.
    environment : dict
        As in environment.json.
    options : dict
        Fields of the configuration that differ from the defaults, by name.
    epochs : int or None
        Epochs trained.
    pictures : list of Path
        Pictures of the run that show no data.
    """

    model: ModelConfig
    metrics: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    epochs: int | None = None
    pictures: list[Path] = field(default_factory=list)

    @classmethod
    def of(cls, run: Path | None, model: ModelConfig) -> Origin:
        """Read the run folder, if there is one.

        Raises
        ------
        UsageError
            If it is no run folder, or a file in it is damaged.
        """
        if run is None:
            return cls(model)
        if not (run / "config.json").is_file():
            raise UsageError(f"no run at {run}; give the folder that 'elboroom train' printed")
        history = run / "history.jsonl"
        return cls(
            model,
            _facts(run / "metrics.json"),
            _facts(run / "environment.json"),
            _options(_facts(run / "config.json")),
            len(history.read_bytes().splitlines()) if history.exists() else None,
            [path for name in _PICTURES if (path := run / "figures" / f"{name}.png").is_file()],
        )

    @property
    def data_name(self) -> str:
        """The data's name without folders; "data" if it is unknown."""
        described = str(self.environment.get("data", ""))
        return PurePath(described.partition(": ")[0]).name or "data"

    @property
    def data(self) -> str:
        """What the data were, in one line."""
        described = str(self.environment.get("data", ""))
        _, _, rest = described.partition(": ")
        return f"{self.data_name}: {rest}" if rest else ""

    @property
    def command(self) -> str:
        """The command line of the training, without folders; "" if it was trained in Python."""
        words = self.environment.get("command") or []
        if len(words) < 2 or words[1] not in ("train", "resume"):
            return ""
        return " ".join(["elboroom", *(_quoted(_without_folder(str(word))) for word in words[1:])])


def _facts(path: Path) -> dict[str, Any]:
    found = read_json(path) if path.exists() else {}
    if not isinstance(found, dict):
        raise UsageError(f"{path} is damaged: it does not hold a JSON object")
    return found


def _options(config: dict[str, Any]) -> dict[str, Any]:
    """Fields of the objective, the optimiser, the data and the training that differ from their defaults."""
    found: dict[str, Any] = {}
    for section, defaults in Config().model_dump(mode="json").items():
        for name, value in (config.get(section) or {}).items():
            own = section != "model" and name not in _NOT_OPTIONS
            if own and name in defaults and value != defaults[name]:
                found[name] = value
    return found


def _without_folder(word: str) -> str:
    """Shorten an absolute path to its last name: the names of someone's folders are nobody's business."""
    option, equals, value = word.partition("=")
    if equals and option.startswith("--"):
        return f"{option}={_without_folder(value)}"
    return PurePath(word).name if re.match(r"(/|~|[A-Za-z]:\\)", word) else word


def _quoted(word: str) -> str:
    return word if re.fullmatch(r"[\w@%+=:,./-]+", word) else "'" + word.replace("'", "'\"'\"'") + "'"


def sentence_of(model: ModelConfig) -> str:
    """Say what the model is in one sentence."""
    shape: Sequence[int] = model.shape or ()
    if len(shape) == 3:
        what = f"{shape[0]}×{shape[1]} {'grey' if shape[2] == 1 else 'colour'} images"
        what = what if shape[2] in (1, 3) else f"{'×'.join(map(str, shape))} images"
    elif model.columns:
        what = f"rows of {len(model.columns)} columns"
    else:
        what = f"examples of shape {'×'.join(map(str, shape))}"
    given = {"none": "", "labels": ", given a label"}.get(model.condition, ", given a vector")
    sizes = ", ".join(map(str, model.hidden))
    network = f"hidden layers of {sizes} units" if model.network == "mlp" else f"{model.network} network"
    prior = "" if model.prior == "auto" else f", {model.prior} prior"
    return (
        f"A variational autoencoder of {what}{given}: {model.latent_dim} latent dimensions, {network}, "
        f"{model.likelihood} likelihood, {model.posterior} posterior{prior}."
    )
