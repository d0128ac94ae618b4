"""Figures: plots of numbers, and sheets of pictures, each a matplotlib figure."""

from elboroom.figures.latent_maps import latent_scatter
from elboroom.figures.plots import loss_curves, loss_histogram

__all__ = ["latent_scatter", "loss_curves", "loss_histogram"]
