"""Sending of a run folder to trackers: TensorBoard, MLflow, Weights & Biases and Trackio."""

from __future__ import annotations

from elboroom.tracking.choice import check_installed, tracker_names
from elboroom.tracking.sending import Tracking, send

__all__ = ["Tracking", "check_installed", "send", "tracker_names"]
