"""TensorBoard's event files, in the folder ``tensorboard`` of the run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from elboroom.tracking.tracker import Subject, Tracker

FOLDER = "tensorboard"
_COLUMNS = ("loss", "distortion", "rate", "val_elbo")  # beside the hyper-parameters of each run


class TensorBoard(Tracker):
    """Writes each row as one record, so that a killed process leaves no half of a row."""

    def __init__(self) -> None:
        self._writer: Any = None

    def begin(self, run: Subject) -> int:
        """Open another event file beside those of earlier sittings, and find the last step in them."""
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
        from torch.utils.tensorboard import summary as summaries

        hparams: Any = summaries.hparams
        folder = run.folder / FOLDER
        last = last_step(folder)
        self._writer = EventFileWriter(str(folder))
        for summary in hparams(run.parameters, dict.fromkeys(_COLUMNS, 0.0)):
            self._add(max(last, 0), summary=summary)
        self.hint = f"tensorboard --logdir {run.folder.parent}"
        return last

    def row(self, step: int, numbers: Mapping[str, float]) -> None:
        """Add one event with a scalar for each number, as float32."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        self._add(step, summary=Summary(value=values))

    def figure(self, name: str, path: Path, step: int) -> None:
        """Add an image."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        with Image.open(path, formats=("PNG",)) as image:
            width, height = image.size
            channels = len(image.getbands())
        encoded = Summary.Image(
            height=height, width=width, colorspace=channels, encoded_image_string=path.read_bytes()
        )
        self._add(step, summary=Summary(value=[Summary.Value(tag=name, image=encoded)]))

    def _add(self, step: int, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(step=step, wall_time=time.time(), **content))
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        if self._writer is not None:
            self._writer.close()


def last_step(folder: Path) -> int:
    """Return the last step that the event files in a folder have numbers for; -1 if there is none."""
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    last = -1
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in LegacyEventFileLoader(str(path)).Load():  # ends at a record that was cut off
            if any(value.HasField("simple_value") for value in event.summary.value):
                last = max(last, event.step)
    return last
