"""Functions that run one at a time and give way to each other, each with torch's generators to itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch

from elboroom.training.checkpoints.state import random_state, set_random_state


class Turn(threading.Thread):
    """A function in a thread of its own that runs only from :meth:`resume` to its next :meth:`give_way`.

    Parameters
    ----------
    work : callable
        What is run.
    device : torch.device
        Whose generator is kept along with the CPU's.

    Attributes
    ----------
    done : bool
        Whether it has returned or raised.
    result : object
        What it returned.
    error : BaseException or None
        What it raised.

    Examples
    --------
    >>> said = []
    >>> def work(name):
    ...     for i in range(2):
    ...         said.append(f"{name}{i}")
    ...         turns[name].give_way()
    >>> turns = {name: Turn(lambda name=name: work(name), torch.device("cpu")) for name in "ab"}
    >>> while not all(turn.done for turn in turns.values()):
    ...     for turn in turns.values():
    ...         turn.resume()
    >>> said
    ['a0', 'b0', 'a1', 'b1']
    """

    def __init__(self, work: Callable[[], Any], device: torch.device):
        super().__init__(daemon=True)
        self._work, self._device = work, device
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._random = random_state(device)
        self._ended_early = False
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Wait for the first turn, and do the work."""
        self._go.acquire()
        try:
            if not self._ended_early:
                self.result = self._work()
        except BaseException as error:  # raised again where the turns are given
            self.error = error
        finally:
            self.done = True
            self._back.release()

    def resume(self) -> None:
        """Let the work continue until it gives way or ends."""
        if self.done:
            return
        if self.ident is None:
            self.start()
        before = random_state(self._device)
        set_random_state(self._random, self._device)
        self._go.release()
        self._back.acquire()
        self._random = random_state(self._device)
        set_random_state(before, self._device)

    def give_way(self) -> None:
        """Wait for the next turn; called by the work.

        Raises
        ------
        KeyboardInterrupt
            If :meth:`end` was called meanwhile.
        """
        self._back.release()
        self._go.acquire()
        if self._ended_early:
            raise KeyboardInterrupt

    def end(self) -> None:
        """Have the work raise KeyboardInterrupt, and wait until it has ended."""
        self._ended_early = True
        while not self.done:
            self.resume()
        if self.ident is not None:
            self.join()
