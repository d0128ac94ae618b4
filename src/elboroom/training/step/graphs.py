"""Recording what a function computes on a device, to replay it there without Python."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch


class Graph(Protocol):
    """What :class:`torch.cuda.CUDAGraph` does."""

    def capture_begin(self, pool: Any = None, capture_error_mode: str = "global") -> None:
        """Record all that is put on the present stream from now on, instead of computing it."""

    def capture_end(self) -> None:
        """End the recording."""

    def replay(self) -> None:
        """Compute what was recorded, on the same memory."""


class Recorder:
    """Makes graphs that share memory for what they compute in between.

    Parameters
    ----------
    device : torch.device
        Where the functions compute.
    new_graph : callable
        Makes an empty graph.
    """

    def __init__(self, device: torch.device, new_graph: Callable[[], Graph]):
        self._device = device
        self._new_graph = new_graph
        self._on_cuda = device.type == "cuda"
        self._index = torch.cuda.current_device() if self._on_cuda and device.index is None else device.index
        # The stream on which torch's default generator and the allocator let a graph be recorded.
        new_stream: Any = torch.cuda.Stream
        self._stream = new_stream(device) if self._on_cuda else None
        self._pool = torch.cuda.graph_pool_handle() if self._on_cuda else None

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Compute on the stream of the recordings, in turn with what is computed outside of the context."""
        if self._stream is None:
            yield
            return
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            yield
        torch.cuda.current_stream(self._device).wait_stream(self._stream)

    def record(self, run: Callable[[], None]) -> Graph:
        """Record what a function computes, without computing it.

        If that fails, the device and its generator are as they were before, apart from graphs that were
        recorded earlier: those must not be replayed any more.
        """
        if self._on_cuda:  # as torch.cuda.graph: memory must not be freed meanwhile
            torch.cuda.synchronize(self._device)
            gc.collect()
            torch.cuda.empty_cache()
        graph, restore = self._new_graph(), self._generator()
        with self.aside():
            graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
            try:
                run()
                graph.capture_end()
            except BaseException:
                self._abandon(graph)
                restore()
                raise
        return graph

    def _generator(self) -> Callable[[], None]:
        """Return what gives torch's generator a state that no unfinished recording holds."""
        if not self._on_cuda:
            return lambda: None
        generator: Any = torch.cuda.default_generators[self._index]
        own = generator.clone_state()
        return lambda: generator.graphsafe_set_state(own)

    def _abandon(self, graph: Graph) -> None:
        """End a recording that has failed."""
        # Each of these may have happened, or may be impossible after the failure.
        with contextlib.suppress(Exception):
            graph.capture_end()
        if self._on_cuda:
            end: Any = getattr(torch._C, "_cuda_endAllocateToPool", None)
            with contextlib.suppress(Exception):
                end(self._index, self._pool)
