"""Whether a folder holds a run, or may become one."""

from __future__ import annotations

from pathlib import Path

from elboroom.errors import UsageError
from elboroom.io.files import is_trace, read_json


def check_free(path: Path, *, overwrite: bool = False) -> None:
    """Check that a new run may be written to ``path``.

    Raises
    ------
    UsageError
        If ``path`` is a file, holds a run and ``overwrite`` is not set, or holds other files but no run.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; give a folder as out=")
    if is_run(path):
        if not overwrite:
            raise UsageError(
                f"{path} already contains a run; continue it with 'elboroom resume {path} --epochs N', "
                "replace it with --overwrite, or choose another folder with --out"
            )
    elif path.exists() and not all(is_trace(child.name) for child in path.iterdir()):
        raise UsageError(f"{path} contains files but no run; give an empty or new folder as out=")


def is_run(path: Path) -> bool:
    """Whether config.json was written by elboroom; other programs use that name too."""
    try:
        content = read_json(path / "config.json")
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and isinstance(content.get("format"), int) and "training" in content
