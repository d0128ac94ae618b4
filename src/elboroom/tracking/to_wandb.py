"""Weights & Biases: its service, or offline in the folder ``wandb`` of the run."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from requests.utils import get_netrc_auth

from elboroom.tracking.tracker import PROJECT, Subject, Tracker

_HEAD, _BLOCK = 7, 1 << 15
_LAST_PARTS = (1, 4)  # a whole record, or the end of one


class Wandb(Tracker):
    """Continues a run by its id. The service knows the run's steps; offline, they are read from its files."""

    def __init__(self) -> None:
        self._run: Any = None

    def begin(self, run: Subject) -> int:
        """Create or continue the run; offline if WANDB_MODE says so, or if there is no key to log in with."""
        import wandb

        mode: Literal["offline"] | None = None if os.environ.get("WANDB_MODE") or _has_key() else "offline"
        settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.name,
            id=run.key,
            dir=run.folder,
            config=run.config,
            resume="allow",
            mode=mode,
            reinit="create_new",
            settings=settings,
        )
        offline = self._run.settings.mode == "offline" or self._run.offline
        why = "without a key, as 'wandb login' stores it, kept" if mode else "kept"
        self.hint = (
            f"{why} in {run.folder / 'wandb'}; wandb sync {run.folder / 'wandb'}/offline-run-*"
            if offline
            else str(self._run.url)
        )
        return _last_step(run.folder / "wandb") if offline else int(self._run.step) - 1

    def row(self, step: int, numbers: Mapping[str, float]) -> None:
        """Log numbers at a step."""
        self._run.log(dict(numbers), step=step)

    def results(self, step: int, numbers: Mapping[str, float]) -> None:  # noqa: ARG002 (a summary has no steps)
        """Add numbers to the summary."""
        self._run.summary.update(dict(numbers))

    def figure(self, name: str, path: Path, step: int) -> None:
        """Log an image at the present step, as wandb's steps only grow."""
        import wandb

        self._run.log({name: wandb.Image(str(path))}, step=max(step, self._run.step))

    def close(self) -> None:
        """Finish the run."""
        if self._run is not None:
            self._run.finish()


def _last_step(folder: Path) -> int:
    """Return the last step in the files of a run, some of which a killed process may have lost."""
    from wandb.proto.wandb_internal_pb2 import Record

    last = -1
    for path in folder.glob("*run-*/*.wandb"):
        for content in _records(path.read_bytes()):
            record = Record.FromString(content)
            if record.WhichOneof("record_type") == "history":
                last = max(last, record.history.step.num)
    return last


def _records(content: bytes) -> Iterator[bytes]:
    """Split a file of wandb: seven bytes, then LevelDB's log format of blocks with parts of records."""
    position, record = _HEAD, b""
    while position + _HEAD <= len(content):
        left = _BLOCK - position % _BLOCK
        if left < _HEAD:  # too little for a part
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)  # checksum, bytes, kind of part
        position += _HEAD + length
        if position > len(content):  # it was cut off
            return
        record += content[position - length : position]
        if kind in _LAST_PARTS:
            yield record
            record = b""


def _has_key() -> bool:
    """Whether wandb would find what it logs in with; without it, it would ask on the terminal."""
    if any(os.environ.get(name) for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")):
        return True
    return get_netrc_auth(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")) is not None
