"""The folder that a model is shared as: its file, a list of hashes, a model card and pictures."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from elboroom import __version__
from elboroom.config import ModelConfig
from elboroom.errors import UsageError
from elboroom.hub.card import card_of
from elboroom.hub.origin import Origin
from elboroom.io.files import explain_disk, is_trace, json_text, read_json, write_atomic

FORMAT = 1
MANIFEST = "elboroom.json"
WEIGHTS = "model.safetensors"
CARD = "README.md"
CONFIG = "config.json"
PICTURES = "pictures"
_CHUNK = 1 << 20


def write_folder(
    folder: Path,
    save: Callable[[Path], None],
    config: ModelConfig,
    *,
    run: Path | None = None,
    license: str | None = None,
    name: str | None = None,
) -> list[str]:
    """Write a folder to share, or replace one.

    Parameters
    ----------
    folder : Path
        New, empty, or written by this function before.
    save : callable
        Writes the model to a file, as :meth:`elboroom.VAE.save`.
    config : ModelConfig
        Of the model.
    run : Path, optional
        The run folder that the card describes: data, results, command and pictures.
    license : str, optional
        Identifier of the licence, such as ``"apache-2.0"``.
    name : str, optional
        What the model is loaded by; the folder's path by default.

    Returns
    -------
    list of str
        The files, relative to the folder.

    Raises
    ------
    UsageError
        If the folder contains other files, or ``run`` is no run.
    FailureError
        If it cannot be written.
    """
    _check_free(folder)
    origin = Origin.of(run, config)
    shutil.rmtree(folder / PICTURES, ignore_errors=True)
    with explain_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for picture in origin.pictures:
            (folder / PICTURES).mkdir(exist_ok=True)
            shutil.copyfile(picture, folder / PICTURES / picture.name)
    save(folder / WEIGHTS)
    described = {"library_name": "elboroom", "model": config.model_dump(mode="json")}
    write_atomic(folder / CONFIG, json_text(described, indent=2) + "\n")
    pictures = [f"{PICTURES}/{path.name}" for path in origin.pictures]
    write_atomic(folder / CARD, card_of(origin, name or str(folder), license, pictures))
    size, digest = size_and_digest(folder / WEIGHTS)
    manifest = {
        "format": FORMAT,
        "elboroom": __version__,
        "files": {WEIGHTS: {"sha256": digest, "bytes": size}},
    }
    write_atomic(folder / MANIFEST, json_text(manifest, indent=2) + "\n")
    return [WEIGHTS, CONFIG, CARD, *pictures, MANIFEST]


def _check_free(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; give a folder")
    if not folder.exists() or (folder / MANIFEST).exists():
        return
    others = [path.name for path in folder.iterdir() if not is_trace(path.name)]
    if others:
        raise UsageError(f"{folder} contains other files, such as {others[0]}; give a new or empty folder")


def expected(manifest: Path, where: str) -> tuple[int, str]:
    """Read the size and the SHA-256 of the model's file from a list of hashes.

    Raises
    ------
    UsageError
        If it is damaged, or of a newer version of elboroom.
    """
    found = read_json(manifest, "save or push the model again")
    try:
        if found["format"] > FORMAT:
            raise UsageError(
                f"{where} has format {found['format']}, and this version of elboroom reads formats up to "
                f"{FORMAT}; upgrade elboroom"
            )
        entry: Any = found["files"][WEIGHTS]
        size, digest = entry["bytes"], entry["sha256"]
        digest, size = str(digest), int(size)
    except (KeyError, TypeError, IndexError) as error:
        reason = f"{MANIFEST} does not list {WEIGHTS}: {error}"
        raise UsageError(f"{where} is damaged ({reason}); save or push the model again") from None
    return size, digest


def check_file(path: Path, size: int, digest: str, where: str) -> None:
    """Check that a file has the stated size and SHA-256.

    Raises
    ------
    UsageError
        If it has not.
    """
    if size_and_digest(path) != (size, digest):
        raise UsageError(
            f"{where}: the SHA-256 of {WEIGHTS} is not that of {MANIFEST}; the file is damaged, or not "
            "what was saved: get it again, or save or push the model again"
        )


def size_and_digest(path: Path) -> tuple[int, str]:
    """Return the bytes and the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
        return file.tell(), digest.hexdigest()
