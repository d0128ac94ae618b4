"""Uploading a shared folder to the hub."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from elboroom.config import ModelConfig
from elboroom.hub.fetching import endpoint, explained, imported
from elboroom.hub.folder import CARD, write_folder
from elboroom.hub.names import SCHEME, read_place


def push(
    repo: str,
    save: Callable[[Path], None],
    config: ModelConfig,
    *,
    run: Path | None = None,
    license: str | None = None,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
) -> str:
    """Upload a model to a repository, which is created if there is none.

    Parameters
    ----------
    repo : str
        ``user/name``, or ``hf://user/name``.
    save, config, run, license
        As in :func:`write_folder`.
    private : bool
        Create the repository as a private one.
    revision : str, optional
        Branch to upload to; it must exist.
    token : str, optional
        Token with the right to write; that of ``hf auth login`` by default.

    Returns
    -------
    str
        The address of the repository.

    Raises
    ------
    UsageError
        If the name is invalid, huggingface_hub is not installed, or there is no such branch.
    FailureError
        If the hub refuses, or does not answer.
    """
    place = read_place(repo, revision)
    hub = imported()
    api = hub.HfApi(endpoint=endpoint(), token=token)
    with tempfile.TemporaryDirectory(prefix="elboroom-") as temporary:
        folder = Path(temporary) / "model"
        files = write_folder(folder, save, config, run=run, license=license, name=f"{SCHEME}{place.repo}")
        try:
            url = api.create_repo(place.repo, private=private, exist_ok=True)
            api.upload_folder(
                folder_path=folder,
                repo_id=place.repo,
                revision=place.revision,
                allow_patterns=files,
                commit_message="Model from elboroom",
            )
        except Exception as error:
            raise explained(error, place, CARD) from None
    return str(url)
