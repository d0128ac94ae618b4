"""Training: one step, the loop around it, and the run it leaves behind."""

from elboroom.training.allocator import keep_freed_memory
from elboroom.training.callbacks import StopTraining
from elboroom.training.fitting import fit
from elboroom.training.signals import Stopped
from elboroom.training.sweep import Sweep
from elboroom.training.together.fitting import Fitted, fit_many

__all__ = ["Fitted", "StopTraining", "Stopped", "Sweep", "fit", "fit_many", "keep_freed_memory"]
