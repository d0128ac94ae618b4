"""Training: one step, the loop around it, and the run it leaves behind."""

from elboroom.training.allocator import keep_freed_memory
from elboroom.training.fitting import fit
from elboroom.training.signals import Stopped

__all__ = ["Stopped", "fit", "keep_freed_memory"]
