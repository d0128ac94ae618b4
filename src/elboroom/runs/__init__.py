"""Run folders: the state, history and usability of a training."""

from elboroom.runs.history import read_history
from elboroom.runs.status import Status, check_usable, read_status, write_status

__all__ = ["Status", "check_usable", "read_history", "read_status", "write_status"]
