"""Training: one step, the loop around it, and the run it leaves behind."""

from elboroom.training.fitting import fit
from elboroom.training.signals import Stopped

__all__ = ["Stopped", "fit"]
