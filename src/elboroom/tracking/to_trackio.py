"""Trackio: a local database, or the Space or server that its environment variables name."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elboroom.tracking.tracker import PROJECT, Subject, Tracker


class Trackio(Tracker):
    """Continues a run by its name, which has the key of the folder in it."""

    def __init__(self) -> None:
        self._run: Any = None

    def begin(self, run: Subject) -> int:
        """Create or continue the run."""
        import trackio

        project, name = os.environ.get("TRACKIO_PROJECT", PROJECT), f"{run.name}-{run.key}"
        with contextlib.redirect_stdout(io.StringIO()):  # which is for results
            self._run = trackio.init(
                project=project,
                name=name,
                config=run.config,
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        self.hint = f'trackio show --project "{project}"'
        last = self._run._initial_last_step  # no public name, and -1 would send everything twice
        return -1 if last is None else int(last)

    def row(self, step: int, numbers: Mapping[str, float]) -> None:
        """Log numbers at a step; "step" itself is a name that Trackio keeps for it."""
        self._run.log({name: value for name, value in numbers.items() if name != "step"}, step=step)

    def figure(self, name: str, path: Path, step: int) -> None:
        """Log an image."""
        import trackio

        self._run.log({name: trackio.Image(str(path))}, step=step)

    def close(self) -> None:
        """Finish the run."""
        if self._run is not None:
            with contextlib.redirect_stdout(io.StringIO()):
                self._run.finish()
