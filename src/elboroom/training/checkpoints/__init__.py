"""Checkpoints: the whole state of a training, written in the background, read again, and returned to."""
