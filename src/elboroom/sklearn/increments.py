"""Training a little further at each call, for ``partial_fit``."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from elboroom.config import Config
from elboroom.latent.arrays import seeded
from elboroom.models.vae import VAE
from elboroom.objectives import Objective


class Increments:
    """A model, its objective and the state of Adam between calls.

    Parameters
    ----------
    vae : VAE
        The model, float32 on the CPU, which is trained in place.
    config : Config
        Objective, batch size, learning rate and seed.
    rows : int
        Rows of the first call.
    """

    def __init__(self, vae: VAE, config: Config, rows: int):
        self.vae, self.config, self.steps = vae, config, 0
        steps = -(-rows // config.training.batch_size)
        self.objective = Objective.from_config(config.objective, steps, vae=vae, examples=rows)
        self.optimizer = torch.optim.Adam(vae.parameters(), lr=config.optimizer.lr)

    def train(self, x: NDArray[np.float64]) -> float:
        """Train for one pass over rows (n, d), and return the mean loss of its steps, in nats per row."""
        head, rows = self.vae.likelihood, torch.tensor(x, dtype=torch.float32)
        if hasattr(head, "fit") and not head.fitted:
            head.fit(rows.double().mean(0), rows.double().std(0, correction=0))
        losses = []
        self.vae.train()
        with seeded(self.vae, self.config.training.seed + self.steps):
            for part in torch.split(torch.randperm(len(rows)), self.config.training.batch_size):
                loss = self.objective(self.vae(rows[part], self.objective.num_samples), self.steps)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.steps += 1
                losses.append(loss.item())
        self.vae.eval()
        return float(np.mean(losses))
