"""Ctrl-C, SIGTERM and a lost terminal as requests to stop after the current step."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Stopped(KeyboardInterrupt):
    """Training was asked to stop and has saved what it needs to be resumed.

    Attributes
    ----------
    signal_number : int
        SIGINT, SIGTERM or SIGHUP; the exit code in a shell is this plus 128.
    """

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.signal_number = signal_number


class StopRequest:
    """A request to stop; ``signal_number`` is None until the first signal."""

    signal_number: int | None = None


@contextmanager
def stop_on_signal(
    ignore_repeats_for: float = 0.0, request: StopRequest | None = None
) -> Iterator[StopRequest]:
    """Catch the first SIGINT, SIGTERM or SIGHUP; a second one acts as it would by default.

    Parameters
    ----------
    ignore_repeats_for : float
        Seconds in which another signal counts as the same one: a launcher passes on what a terminal has
        already sent to all processes.
    request : StopRequest, optional
        The request of a caller that catches signals itself; then no handler is set here.
    """
    if request is not None:
        yield request
        return
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may set handlers
        return
    previous: dict[signal.Signals, Any] = {}
    heard: list[float] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if request.signal_number is None:
            request.signal_number = number
            heard.append(time.monotonic())
            if ignore_repeats_for:
                return
        elif time.monotonic() < heard[0] + ignore_repeats_for:
            return
        for each, handler in previous.items():
            signal.signal(each, handler)
        if ignore_repeats_for:  # this was the second one
            signal.raise_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, on_signal)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
        previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, on_signal)
    try:
        yield request
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
