"""A model's file from a shared folder or the hub, with its hash checked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from elboroom.errors import FailureError, UsageError, reason_of
from elboroom.hub.folder import MANIFEST, WEIGHTS, check_file, expected
from elboroom.hub.names import INSTALL, SCHEME, Place, read_place

_MOST = {MANIFEST: 1 << 20, WEIGHTS: 20 << 30}
"""Bytes that a file may have; nothing else is fetched."""


def is_shared(source: object) -> bool:
    """Whether a source is a name on the hub, or a folder that a model was saved to for sharing."""
    if isinstance(source, str) and source.startswith(SCHEME):
        return True
    return isinstance(source, str | os.PathLike) and (Path(source) / MANIFEST).is_file()


def fetched(source: str | os.PathLike[str], revision: str | None = None) -> Path:
    """Find the file of a shared model, and check its hash.

    Parameters
    ----------
    source : path or str
        A folder, or ``hf://user/name[@revision]``, which is taken from the hub or, without a network, from
        the cache of huggingface_hub.
    revision : str, optional
        Branch, tag or commit on the hub.

    Raises
    ------
    UsageError
        If there is no such model, it is damaged, or it is too large.
    FailureError
        If the hub does not answer, and the cache does not have it.
    """
    if isinstance(source, str) and source.startswith(SCHEME):
        return _from_hub(read_place(source, revision))
    folder = Path(source)
    if not (folder / MANIFEST).is_file():
        raise UsageError(
            f"{folder} holds no model to share: it has no {MANIFEST}; give a folder of save_pretrained, or "
            "hf://user/name"
        )
    if revision is not None:
        raise UsageError(f"revision = {revision!r} is for names on the hub, and {folder} is a folder")
    size, digest = expected(folder / MANIFEST, str(folder))
    if not (folder / WEIGHTS).is_file():
        raise UsageError(f"{folder} is damaged: {WEIGHTS} is missing; save the model again")
    check_file(folder / WEIGHTS, size, digest, str(folder))
    return folder / WEIGHTS


def _from_hub(place: Place) -> Path:
    manifest = _file(place, MANIFEST, place.revision)
    weights = _file(place, WEIGHTS, manifest.parent.name)  # of the same commit, which names the folder
    size, digest = expected(manifest, str(place))
    check_file(weights, size, digest, str(place))
    return weights


def _file(place: Place, name: str, revision: str | None) -> Path:
    """Download a file, unless it is too large; without a network take it from the cache."""
    hub = imported()
    found = _describe(hub, place, name, revision)
    if found is None:
        return _cached(hub, place, name, revision)
    if found.size is not None and found.size > _MOST[name]:
        raise UsageError(
            f"{place}: {name} has {found.size / 1e9:,.3f} GB, and at most {_MOST[name] / 1e9:,.3f} GB "
            "are fetched; download it yourself, and load the folder"
        )
    return _download(hub, place, name, revision)


def imported() -> Any:
    """Import huggingface_hub.

    Raises
    ------
    UsageError
        If it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError:
        raise UsageError(f"the hub needs huggingface_hub; {INSTALL}") from None
    return huggingface_hub


def endpoint() -> str | None:
    """The hub's address, if the user names another than that of Hugging Face."""
    return os.environ.get("HF_ENDPOINT") or None


def cache_folder() -> str | None:
    """The folder of huggingface_hub's cache, if the user names one."""
    if "HF_HUB_CACHE" in os.environ:
        return os.environ["HF_HUB_CACHE"]
    return str(Path(os.environ["HF_HOME"]) / "hub") if "HF_HOME" in os.environ else None


def offline() -> bool:
    """Whether the user wants no network."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")


def _describe(hub: Any, place: Place, name: str, revision: str | None) -> Any:
    """Ask the hub for the size and the commit of a file; None without a network."""
    if offline():
        return None
    url = hub.hf_hub_url(place.repo, name, revision=revision, endpoint=endpoint())
    try:
        return hub.get_hf_file_metadata(url, endpoint=endpoint())
    except Exception as error:
        if unreachable(error):
            return None
        raise explained(error, place, name) from None


def _download(hub: Any, place: Place, name: str, revision: str | None) -> Path:
    try:
        return Path(
            hub.hf_hub_download(
                place.repo, name, revision=revision, endpoint=endpoint(), cache_dir=cache_folder()
            )
        )
    except Exception as error:
        raise explained(error, place, name) from None


def _cached(hub: Any, place: Place, name: str, revision: str | None) -> Path:
    found = hub.try_to_load_from_cache(place.repo, name, revision=revision, cache_dir=cache_folder())
    if not isinstance(found, str):
        raise FailureError(
            f"{place} is not in the cache, and the hub cannot be reached; connect to the network once"
        )
    return Path(found)


def unreachable(error: BaseException) -> bool:
    """Whether an error means that the hub did not answer, rather than that it refused."""
    names = {kind.__name__ for kind in type(error).__mro__}
    lost = {"ConnectError", "ConnectionError", "ConnectTimeout", "ReadTimeout", "Timeout", "TimeoutException"}
    return bool(names & (lost | {"OfflineModeIsEnabled", "NetworkError", "LocalEntryNotFoundError"}))


def explained(error: Exception, place: Place, name: str) -> Exception:
    """Turn an error of huggingface_hub into one line."""
    kind = type(error).__name__
    if kind == "GatedRepoError":
        return UsageError(
            f"{place} asks for consent on its page first; give it, and log in with 'hf auth login'"
        )
    if kind == "RepositoryNotFoundError":
        return UsageError(
            f"{place}: there is no such repository, or it is private; log in with 'hf auth login'"
        )
    if kind == "RevisionNotFoundError":
        return UsageError(f"{place}: the repository has no revision {place.revision!r}")
    if kind in ("EntryNotFoundError", "RemoteEntryNotFoundError"):
        return UsageError(f"{place} holds no model of elboroom: it has no {name}")
    if unreachable(error):
        return FailureError(f"{place}: the hub does not answer ({reason_of(error)}); try again later")
    return FailureError(f"{place}: {reason_of(error)}")
