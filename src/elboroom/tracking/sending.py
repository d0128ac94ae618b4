"""Sending of a run folder to trackers, in threads beside the training.

What is sent is what the folder holds: a row is sent once history.jsonl has it, together with the checkpoint
from which a resumed training continues. So no tracker is given a row that a rollback, or a killed process,
takes back.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from elboroom.config import Config
from elboroom.errors import FailureError, UsageError, reason_of
from elboroom.runs.history import read_history
from elboroom.runs.run import Run
from elboroom.runs.status import read_status
from elboroom.tracking.choice import KINDS, check_installed, tracker_names
from elboroom.tracking.memory import Memory
from elboroom.tracking.tracker import Tracker, numbers_of, subject_of

_BEGIN_SECONDS = 20.0  # that training waits for a tracker to answer before it begins
_CLOSE_SECONDS = 60.0  # that a finished training waits for what is still to be sent


class Tracking:
    """The trackers of one training.

    Parameters
    ----------
    names : sequence of str
        Of trackers, which must be installed.
    say : callable
        Receives a line about each failure, in the thread that calls the methods.
    """

    def __init__(self, names: Sequence[str], say: Callable[[str], None]):
        self._names = names
        self._say = say
        self._channels: list[Channel] = []

    def begin(self, folder: Path, config: Config) -> list[str]:
        """Connect to the trackers, and return a line for each on how to look at the run.

        Raises
        ------
        UsageError
            If a file in the folder that says what was sent is damaged.
        """
        memories = [Memory.read(folder, name) for name in self._names]
        self._channels = [
            Channel(name, folder, config, memory) for name, memory in zip(self._names, memories, strict=True)
        ]
        for channel in self._channels:
            if not channel.ready.wait(_BEGIN_SECONDS):
                channel.fault = f"{channel.name} does not answer"
        self._report()
        return [f"{one.name}: {one.tracker.hint}" for one in self._channels if one.tracker.hint]

    def update(self) -> None:
        """Have new rows and figures of the folder sent, if there are any; returns at once."""
        for channel in self._channels:
            channel.news.set()
        self._report()

    def close(self, wait: float = _CLOSE_SECONDS) -> None:
        """Send what is left, and end the connections; waits for a slow tracker for some seconds only."""
        for channel in self._channels:
            channel.finish()
        for channel in self._channels:
            channel.thread.join(wait)
            if channel.thread.is_alive():
                channel.fault = f"{channel.name} has not taken everything within {wait:.0f} s"
        self._report(last=True)
        self._channels = []

    def _report(self, *, last: bool = False) -> None:
        for channel in self._channels:
            fault, channel.fault = channel.fault, ""
            if fault and (last or not channel.told):
                channel.told = True
                fix = f"'elboroom track {channel.folder} --to {channel.name}' sends what is missing"
                self._say(f"{fault}; {fix if last else 'training continues, and tries again'}")


class Channel:
    """One tracker and the thread that sends to it.

    Attributes
    ----------
    ready, news : threading.Event
        Set when the first attempt to connect is over, and by the caller when there may be more to send.
    fault : str
        The latest failure that was not repaired since; "" if there is none.
    told : bool
        Whether the user knows of a failure.
    """

    def __init__(self, name: str, folder: Path, config: Config, memory: Memory):
        self.name = name
        self.folder = folder
        self.tracker: Tracker = KINDS[name].connect()
        self.ready, self.news = threading.Event(), threading.Event()
        self.fault = ""
        self.told = False
        self._config = config
        self._memory = memory
        self._connected = self._closing = False
        self._last = -1  # step of the last row that the tracker has
        self._state: object = None  # of the history when everything was sent
        self.thread = threading.Thread(target=self._work, name=f"track-{name}", daemon=True)
        self.thread.start()

    def finish(self) -> None:
        """Have the thread send what is left, and end."""
        self._closing = True
        self.news.set()

    def _work(self) -> None:
        self._try(self._connect)
        self.ready.set()
        closing = False
        while not closing:
            self.news.wait()
            self.news.clear()
            closing = self._closing  # before what is sent is read
            self._try(self._send)
        self._try(self.tracker.close)

    def _try(self, work: Callable[[], None]) -> None:
        """Do part of the work; whatever fails in a tracker must not end a training."""
        try:
            work()
        except (Exception, SystemExit) as error:
            self.fault = f"{self.name} failed: {reason_of(error) or type(error).__name__}"

    def _connect(self) -> None:
        subject = subject_of(self.folder, self._memory.key, self._config)
        self._memory.write(self.folder, self.name)  # the key, before anything carries it
        self._last = self.tracker.begin(subject)
        self._connected = True

    def _send(self) -> None:
        if not self._connected:
            self._connect()
        state = _state(self.folder)
        if state == self._state and not self._closing:
            return
        history = read_history(self.folder)
        figures = list(_figures(self.folder, history, final=self._is_final))
        for row in history:
            if row["step"] > self._last:
                self.tracker.row(row["step"], numbers_of(row))
                self._last = row["step"]
            self._send_figures([one for one in figures if one[2] == row["step"]])
        if history and self._is_final:
            self._send_results(history[-1]["step"])
        self._state, self.fault = state, ""

    @property
    def _is_final(self) -> bool:
        """Whether the results in the folder are those of the rows; during training they are older."""
        return self._closing and read_status(self.folder).state != "training"

    def _send_figures(self, figures: Sequence[tuple[str, Path, int]]) -> None:
        for name, path, step in figures:
            found = _digest(path)
            if self._memory.figures.get(name) != found:
                self.tracker.figure(name, path, step)
                self._memory.figures[name] = found
                self._memory.write(self.folder, self.name)

    def _send_results(self, step: int) -> None:
        """Send the numbers of metrics.json, as ``PART/NAME``."""
        path = self.folder / "metrics.json"
        if not path.exists() or self._memory.results == (found := _digest(path)):
            return
        metrics = json.loads(path.read_text(encoding="utf-8"))
        part = metrics.get("split", "metrics")
        numbers = {f"{part}/{name}": value for name, value in numbers_of(metrics).items()}
        self.tracker.results(step, numbers)
        self._memory.results = found
        self._memory.write(self.folder, self.name)


def send(run: Run | str, trackers: str | Sequence[str]) -> list[str]:
    """Send a run that is trained already, or what a tracker lacks of it.

    Parameters
    ----------
    run : Run or path
        The run; it need not be complete, but nothing may train it now.
    trackers : str or sequence of str
        Names, as in ``"tensorboard,mlflow"``.

    Returns
    -------
    list of str
        A line for each tracker on how to look at the run.

    Raises
    ------
    UsageError
        If a name is unknown, a tracker is not installed, or the run is being trained.
    FailureError
        If a tracker fails.
    """
    names = tracker_names(trackers if isinstance(trackers, str) else ",".join(trackers))
    if not names:
        raise UsageError(f"trackers = {trackers!r}: name at least one of {', '.join(KINDS)}")
    check_installed(names)
    run = run if isinstance(run, Run) else Run(run)
    faults: list[str] = []
    run.lock()
    try:
        tracking = Tracking(names, faults.append)
        hints = tracking.begin(run.path, run.config)
        tracking.close()
    finally:
        run.unlock()
    if faults:
        raise FailureError(faults[-1])
    return hints


def _state(folder: Path) -> tuple[int, int] | None:
    """Return what changes whenever the history is written."""
    try:
        found = (folder / "history.jsonl").stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size


def _figures(
    folder: Path, history: Sequence[dict[str, Any]], *, final: bool
) -> Iterator[tuple[str, Path, int]]:
    """Name, file and step of each figure: that of its epoch if it was drawn during training, or the last.

    Without ``final`` only the former.
    """
    steps = {row["epoch"]: row["step"] for row in history}
    last = history[-1]["step"] if history and final else None
    for path in sorted((folder / "figures").glob("**/*.png")):
        found = re.fullmatch(r"epoch_(\d+)", path.stem)
        step = steps.get(int(found[1])) if found else last
        if step is not None:
            yield path.relative_to(folder).with_suffix("").as_posix(), path, step


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
