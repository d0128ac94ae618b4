"""Parquet files of a data set on the hub, at a commit, with their hashes checked."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from elboroom.errors import FailureError, UsageError, some
from elboroom.hub.fetching import cache_folder, endpoint, explained, imported, offline, unreachable
from elboroom.hub.names import SCHEME, Place, read_place
from elboroom.io.files import json_text, read_json, write_atomic

PREFIX = f"{SCHEME}datasets/"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_MOST_FILE, _MOST_ALL = 5 << 30, 200 << 30  # bytes
_CHUNK = 1 << 20


class Listed(NamedTuple):
    """A file of a commit: its path, its bytes, and its SHA-256, or the SHA-1 by which git knows it."""

    path: str
    size: int
    sha256: str
    git: str


class HubData(NamedTuple):
    """A data set by name: ``hf://datasets/user/name@COMMIT/folder``; the folder may be empty."""

    place: Place
    folder: str

    def __str__(self) -> str:
        tail = f"/{self.folder}" if self.folder else ""
        return f"{PREFIX}{self.place.repo}@{self.place.revision}{tail}"


def read_name(name: str) -> HubData:
    """Read the name of a data set on the hub.

    Raises
    ------
    UsageError
        If it is no such name, or names no commit: branches and tags can move.

    Examples
    --------
    >>> read_name("hf://datasets/me/digits@" + "a" * 40 + "/data").folder
    'data'
    """
    repo, _, rest = name.removeprefix(PREFIX).partition("@")
    revision, _, folder = rest.partition("/")
    if not name.startswith(PREFIX) or ".." in folder or "\\" in folder:
        raise UsageError(
            f"{name} is no data set on the hub; write {PREFIX}user/name@COMMIT or …@COMMIT/folder"
        )
    place = read_place(repo, revision or None)
    if not _COMMIT.fullmatch(revision):
        raise UsageError(
            f"{name}: name the commit, 40 hexadecimal digits, as in {PREFIX}{place.repo}@COMMIT; a branch or "
            "tag can move, and the data with it (the page of the data set lists its commits)"
        )
    return HubData(place, folder.strip("/"))


def parquet_files(data: HubData, lists: Path) -> list[tuple[str, Path]]:
    """Download the Parquet files of one folder, and return their paths there and here, in order.

    Parameters
    ----------
    data : HubData
        The data set.
    lists : Path
        Folder in which the lists of files are kept, for use without a network.

    Raises
    ------
    UsageError
        If there are none, they are in several folders, they are too large, or one is damaged.
    FailureError
        If the hub does not answer, and the cache does not have them.
    """
    chosen = _of_folder([one for one in _listing(data, lists) if one.path.endswith(".parquet")], data)
    if any(one.size > _MOST_FILE for one in chosen) or sum(one.size for one in chosen) > _MOST_ALL:
        total = sum(one.size for one in chosen) / 1e9
        raise UsageError(
            f"{data}: {len(chosen)} files of {total:,.0f} GB are more than is fetched; download them"
        )
    return [(one.path, _download(data, one)) for one in chosen]


def _of_folder(files: list[Listed], data: HubData) -> list[Listed]:
    if data.folder:
        files = [one for one in files if PurePosixPath(one.path).is_relative_to(data.folder)]
    by_folder: dict[str, list[Listed]] = defaultdict(list)
    for one in files:
        by_folder[str(PurePosixPath(one.path).parent)].append(one)
    if not by_folder:
        raise UsageError(
            f"{data} has no Parquet files; other formats are not read, and no script of a data set is run. "
            "Load it with the library datasets, and pass the object"
        )
    if len(by_folder) > 1:
        raise UsageError(
            f"{data} has Parquet files in {some(sorted(by_folder))}; add one of these: {data}/FOLDER"
        )
    return sorted(next(iter(by_folder.values())))


def _listing(data: HubData, lists: Path) -> list[Listed]:
    """List the files of a commit, which never change: from the disk if they were listed before."""
    path = lists / f"{data.place.repo.replace('/', '--')}@{data.place.revision}.json"
    if path.exists():
        try:
            return [Listed(str(a), int(b), str(c), str(d)) for a, b, c, d in read_json(path)]
        except (UsageError, ValueError, TypeError, IndexError):
            pass  # damaged; it is listed again
    if offline():
        raise FailureError(
            f"{data} was not listed before, and HF_HUB_OFFLINE is set; connect to the network once"
        )
    hub = imported()
    try:
        tree = hub.HfApi(endpoint=endpoint()).list_repo_tree(
            data.place.repo, recursive=True, revision=data.place.revision, repo_type="dataset"
        )
        found = [_listed(one) for one in tree if hasattr(one, "blob_id")]
    except Exception as error:
        if unreachable(error):
            raise FailureError(f"{data}: the hub does not answer, and it was not listed before") from None
        raise explained(error, data.place, "list of files") from None
    lists.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json_text([list(one) for one in found]) + "\n")
    return found


def _listed(file: Any) -> Listed:
    lfs = getattr(file, "lfs", None)
    return Listed(file.path, int(file.size), getattr(lfs, "sha256", "") if lfs else "", str(file.blob_id))


def _download(data: HubData, file: Listed) -> Path:
    hub = imported()
    try:
        path = Path(
            hub.hf_hub_download(
                data.place.repo,
                file.path,
                repo_type="dataset",
                revision=data.place.revision,
                endpoint=endpoint(),
                cache_dir=cache_folder(),
                local_files_only=offline(),
            )
        )
    except Exception as error:
        if unreachable(error):
            raise FailureError(
                f"{data}: the hub does not answer, and {file.path} is not in the cache"
            ) from None
        raise explained(error, data.place, file.path) from None
    if not _is_whole(path, file):
        raise UsageError(
            f"{data}: {file.path} is not what the commit contains; remove {path}, and load it again"
        )
    return path


def _is_whole(path: Path, file: Listed) -> bool:
    """Whether a file has the size and the hash of the list."""
    if path.stat().st_size != file.size:
        return False
    digest = (
        hashlib.sha256()
        if file.sha256
        else hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
    )
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest() == (file.sha256 or file.git)
