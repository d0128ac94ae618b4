"""``elboroom track``: a run sent to trackers of experiments after it was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from elboroom.cli.options import RunVerb
from elboroom.config.options import Option


@dataclass(frozen=True, kw_only=True)
class Track(RunVerb):
    """Send a trained run to TensorBoard, MLflow, Weights & Biases or Trackio, or what they lack of it.

    Example: 'elboroom track runs/mnist --to mlflow'. 'elboroom train --track' sends while it trains.
    """

    to: Annotated[
        str,
        Option(
            metavar="NAME",
            help="Trackers: tensorboard, mlflow, wandb, trackio; several are separated by commas.",
        ),
    ] = "tensorboard"

    def __call__(self) -> None:
        """Send it, and print how to look at it in each tracker.

        Raises
        ------
        UsageError
            If a tracker is unknown or not installed.
        FailureError
            If a tracker fails.
        """
        from elboroom.tracking import send, tracker_names

        for line in send(self.run, tracker_names(self.to)):
            print(line)
