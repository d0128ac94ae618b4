"""Data of every kind, as one array with a fixed split.

`load_data` turns a named set, an array, a file or a folder into a `Dataset`. It reads the formats listed in
`elboroom.data.formats`.
"""

from elboroom.data.cache import cache_dir
from elboroom.data.dataset import TEST, TRAIN, VALIDATION, Dataset, Skipped
from elboroom.data.haskell import load_haskell_directory
from elboroom.data.images import read_image
from elboroom.data.loading import full_name, load_data
from elboroom.data.named import NAMED

__all__ = [
    "NAMED",
    "TEST",
    "TRAIN",
    "VALIDATION",
    "Dataset",
    "Skipped",
    "cache_dir",
    "full_name",
    "load_data",
    "load_haskell_directory",
    "read_image",
]
