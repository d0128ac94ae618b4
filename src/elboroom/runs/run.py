"""A run folder: JSON and safetensors files, written atomically and loaded without executing code.

::

    runs/NAME/  config.json  environment.json  preparation.json  model.safetensors  history.jsonl
                metrics.json  log.txt  status.json
                fitted_prior.safetensors  fitted_prior.json  latent_statistics.json  diffusers.json
                checkpoints/{last,last-1,best}/state.safetensors  figures/  samples/  export/
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from elboroom import __version__
from elboroom.config import Config
from elboroom.config.stored import stored_sections
from elboroom.data.preparation import Preparation
from elboroom.errors import UsageError, shortened
from elboroom.hub import fetched, is_shared
from elboroom.io.files import (
    check_writable,
    explain_disk,
    json_text,
    lock_folder,
    read_json,
    remove_leftovers,
    write_atomic,
)
from elboroom.io.tensors import misfit, read_tensors, write_tensors
from elboroom.models.vae import VAE
from elboroom.runs import Status, check_usable, read_history, read_status
from elboroom.runs.diffusers_config import is_diffusers
from elboroom.runs.diffusers_folder import KEPT, import_diffusers
from elboroom.runs.folder import check_free as check_free
from elboroom.runs.folder import is_run
from elboroom.runs.model_file import built, load_model
from elboroom.runs.status import FILE as _STATUS

PREPARATION = "preparation.json"
_FILES = (
    *("config.json", "environment.json", PREPARATION, "model.safetensors"),
    *("history.jsonl", "metrics.json", "log.txt", _STATUS),
    *("fitted_prior.safetensors", "fitted_prior.json", "latent_statistics.json", KEPT),
)
_FOLDERS = ("checkpoints", "figures", "samples", "tracking", "tensorboard", "wandb", "export")
# Seconds. Other commands may write figures and samples at the same time: only older leftovers are removed.
_OLD = 3600.0


class Run:
    """Reads and writes one run folder.

    Parameters
    ----------
    path : path
        The folder of an existing run; :meth:`create` makes a new one.

    Raises
    ------
    UsageError
        If ``path`` holds no run, or one that a newer version of elboroom wrote.

    Examples
    --------
    >>> Run("runs/of-last-year")
    Traceback (most recent call last):
    elboroom.errors.UsageError: no run at runs/of-last-year: ...
    """

    def __init__(self, path: str | os.PathLike[str]):
        if not isinstance(path, str | os.PathLike):
            raise UsageError(f"give the folder of a run; got {shortened(path)}")
        self.path = Path(path)
        self._lock: FileLock | None = None
        if not (self.path / "config.json").is_file():
            what = "the folder has no config.json" if self.path.is_dir() else "there is no such folder"
            raise UsageError(f"no run at {self.path}: {what}; give the folder that 'elboroom train' printed")
        self._raw = self._read_json("config.json")
        version = self._raw.pop("format", None)
        if "_class_name" in self._raw:
            raise UsageError(
                f"{self.path} is a model of diffusers; 'elboroom import-diffusers {self.path} --out RUN' "
                "makes a run of it"
            )
        if not isinstance(version, int):
            raise UsageError(
                f"{self.path / 'config.json'} is not the configuration of a run: it has no format number"
            )
        if version > Config.FORMAT:
            raise UsageError(
                f"{self.path} has format {version}, and elboroom {__version__} reads formats up to "
                f"{Config.FORMAT}; upgrade elboroom"
            )

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        config: Config,
        *,
        custom_model: bool = False,
        overwrite: bool = False,
    ) -> Run:
        """Create a run folder and lock it for writing until :meth:`unlock`.

        Parameters
        ----------
        path : path
            A new or empty folder; with ``overwrite`` also one that holds a run.
        config : Config
            The fully resolved configuration.
        custom_model : bool
            Whether the model was composed in Python, so that ``config.model`` does not describe it.
        overwrite : bool
            Remove the files of an existing run; other files stay.

        Raises
        ------
        UsageError
            If the folder holds a run and ``overwrite`` is not set, holds other files, or is locked by
            another training.
        FailureError
            If it is read-only or the disk is full.
        """
        path = Path(path)
        check_free(path, overwrite=overwrite)
        with explain_disk(path):
            path.mkdir(parents=True, exist_ok=True)
        check_writable([path])
        lock = lock_folder(path)
        try:
            check_free(path, overwrite=overwrite)  # another process may have created a run in the meantime
            with explain_disk(path):
                for name in _FILES:
                    (path / name).unlink(missing_ok=True)
            for name in _FOLDERS:
                shutil.rmtree(path / name, ignore_errors=True)
            remove_leftovers([path])
            _write_config(path, config, custom_model)
            run = cls(path)
        except BaseException:
            if not is_run(path):
                Path(lock.lock_file).unlink(missing_ok=True)  # leave no trace of a run that was not created
            lock.release()
            raise
        run._lock = lock
        return run

    def lock(self) -> None:
        """Lock the folder for writing, and remove temporary files that killed processes left.

        Raises
        ------
        UsageError
            If another training holds the lock.
        FailureError
            If the folder is read-only.
        """
        if self._lock is not None:
            return
        own = [self.path, *sorted((self.path / "checkpoints").glob("**/"))]
        check_writable(own)
        self._lock = lock_folder(self.path)
        remove_leftovers(own)
        remove_leftovers([self.path / "figures", self.path / "samples"], older_than=_OLD)

    def unlock(self) -> None:
        """Release the lock. It never excluded readers."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @property
    def config(self) -> Config:
        """The resolved configuration."""
        return Config().merged(stored_sections(self._raw))

    @property
    def custom_model(self) -> bool:
        """Whether the model was composed in Python and so cannot be rebuilt from the configuration."""
        return self._raw.get("model") is None

    @property
    def history(self) -> list[dict[str, Any]]:
        """One dict per epoch, oldest first."""
        return read_history(self.path)

    @property
    def metrics(self) -> dict[str, Any]:
        """Results of the evaluation, or {} before it."""
        return self._read_json("metrics.json") if (self.path / "metrics.json").exists() else {}

    @property
    def status(self) -> Status:
        """The state of the run."""
        return read_status(self.path)

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, machine and data of the run."""
        return self._read_json("environment.json") if (self.path / "environment.json").exists() else {}

    @property
    def preparation(self) -> Preparation:
        """How its examples were prepared, and their range; runs of version 0.1 did not record it."""
        path = self.path / PREPARATION
        if not path.exists():
            scale = None if self.custom_model else self.config.model.scale
            return Preparation(value_range=(0.0, 255.0 / max(scale or 255.0, 255.0)))
        try:
            return Preparation.from_json(self._read_json(PREPARATION))
        except ValueError as error:
            raise UsageError(f"{path} is damaged: {error}") from None

    @property
    def data_range(self) -> tuple[float, float] | None:
        """Smallest and largest value of its data in model units; None if the run does not record them."""
        match self.environment.get("data_range"):
            case [float() | int() as low, float() | int() as high]:
                return float(low), float(high)
        return None

    def model(self, into: VAE | None = None) -> VAE:
        """Rebuild the trained VAE, on the CPU and in evaluation mode.

        Parameters
        ----------
        into : VAE, optional
            The model to load the weights into; required if it was composed in Python.

        Raises
        ------
        UsageError
            If the weights are missing, damaged or of the wrong shapes, or the model cannot be rebuilt.
        FailureError
            If the weights are not finite. If training diverged and they are finite, a warning is issued.
        """
        if into is None and self.custom_model:
            raise UsageError(
                f"{self.path} contains a model that was composed in Python; build it again and pass it as in "
                "elboroom.load(path, into=vae)"
            )
        path = self.path / "model.safetensors"
        if not path.exists():
            raise UsageError(f"{path} is missing; 'elboroom resume {self.path}' writes it again")
        weights, _ = read_tensors(path)
        check_usable(self.path, weights)
        vae = into or built(self.path, self.config.model)
        why = misfit(weights, vae.state_dict())
        if why is not None:
            raise UsageError(f"{path} does not fit the model: {why}")
        vae.load_state_dict(weights)
        vae.value_range = self.preparation.value_range
        vae.data_range = self.data_range
        return vae.eval()

    def write_config(self, config: Config) -> None:
        """Replace config.json."""
        _write_config(self.path, config, self.custom_model)
        self._raw = {**config.model_dump(mode="json"), **({"model": None} if self.custom_model else {})}

    def write_history(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Replace history.jsonl."""
        write_atomic(self.path / "history.jsonl", "".join(json_text(row) + "\n" for row in history))

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Replace metrics.json."""
        write_atomic(self.path / "metrics.json", json_text(metrics, indent=2) + "\n")

    def write_preparation(self, preparation: Preparation) -> None:
        """Replace preparation.json."""
        write_atomic(self.path / PREPARATION, json_text(preparation.to_json(), indent=2) + "\n")

    def write_environment(self, **more: Any) -> None:
        """Replace environment.json: versions, machine, command and the facts given."""
        facts = {
            "elboroom": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "platform": platform.platform(),
            "threads": torch.get_num_threads(),
            "command": sys.argv,
            **more,
        }
        write_atomic(self.path / "environment.json", json_text(facts, indent=2) + "\n")

    def write_model(self, vae: VAE) -> None:
        """Replace model.safetensors."""
        write_tensors(self.path / "model.safetensors", vae.state_dict())

    def log(self, line: str) -> None:
        """Append a line to log.txt."""
        with explain_disk(self.path), (self.path / "log.txt").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _read_json(self, name: str) -> dict[str, Any]:
        content = read_json(self.path / name, "restore it from a copy, or train again")
        if not isinstance(content, dict):
            raise UsageError(f"{self.path / name} is damaged: it does not hold a JSON object")
        return content


def load(path: str | os.PathLike[str], *, into: VAE | None = None) -> VAE:
    """Load a trained VAE, on the CPU and in evaluation mode, without executing code.

    Parameters
    ----------
    path : path
        The folder of a run, a file that :meth:`elboroom.VAE.save` wrote, a folder of
        :meth:`elboroom.VAE.save_pretrained` or of diffusers' ``AutoencoderKL.save_pretrained``, or
        ``hf://user/name[@revision]`` on the Hugging Face hub.
    into : VAE, optional
        The model to load the weights into; required if it was composed in Python.

    Raises
    ------
    UsageError
        If ``path`` holds no model, a damaged one, or one that a newer version of elboroom wrote.
    FailureError
        If the weights are not finite.
    """
    if into is not None and not isinstance(into, VAE):
        raise UsageError(f"into has type {type(into).__name__}; it must be a VAE")
    if is_shared(path):
        return load_model(fetched(path), into)
    if isinstance(path, str | os.PathLike) and Path(path).is_file():
        return load_model(Path(path), into)
    if into is None and isinstance(path, str | os.PathLike) and is_diffusers(Path(path)):
        return import_diffusers(Path(path))[0]
    return Run(path).model(into)


def _write_config(path: Path, config: Config, custom_model: bool) -> None:
    content = {"format": Config.FORMAT, **config.model_dump(mode="json")}
    if custom_model:
        content["model"] = None
    write_atomic(path / "config.json", json_text(content, indent=2) + "\n")
