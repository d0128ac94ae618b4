"""Checkpoints: the whole state of a training, written beside it, read again, and gone back to."""
