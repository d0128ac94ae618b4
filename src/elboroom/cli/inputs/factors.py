"""The factors that made the data, from a file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elboroom.errors import UsageError


def read_factors(path: Path) -> dict[str, NDArray[np.generic]]:
    """Read an .npz of one array (n,) for each factor; nothing in it is unpickled.

    Raises
    ------
    UsageError
        If the file cannot be read, or holds objects.
    """
    try:
        with np.load(path.expanduser(), allow_pickle=False) as arrays:
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise UsageError(
                    f"{path}: is one array; --factors takes an .npz with one array for each factor"
                )
            return {name: arrays[name] for name in arrays.files}
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise UsageError(
            f"{path}: is no .npz of numbers or strings; write one with numpy.savez, an array for each factor"
        ) from error
