"""A custom penalty: a function from the terms of a step to a scalar; here one that preserves distances."""

import torch
from torch import Tensor

import elboroom
from elboroom.models.terms import Terms
from elboroom.objectives.schedules import linear


def stress(terms: Terms) -> Tensor:
    """Mean of (‖μᵢ − μⱼ‖ − ‖xᵢ − xⱼ‖)² over the pairs of a batch: 0 if codes preserve all distances."""
    codes = torch.pdist(terms.posterior.mean)  # (b·(b − 1)/2,)
    pictures = torch.pdist(terms.x.flatten(1))
    return (codes - pictures).square().mean()


def correlation(vae: elboroom.VAE, x: Tensor) -> float:
    """Correlation of distances between codes with distances between images."""
    pairs = torch.stack([torch.pdist(vae.embed(x)), torch.pdist(vae.as_input(x).flatten(1))])
    return torch.corrcoef(pairs)[0, 1].item()


data = elboroom.load_data("digits")
test = torch.from_numpy(data.x[data.indices("test")])
found = []
for penalties in ({}, {"stress": (stress, linear(5.0, ramp=50))}):  # the weight grows for 50 steps
    torch.manual_seed(0)
    vae = elboroom.VAE.build(shape=data.shape, scale=data.scale, latent_dim=4, hidden=[128])
    objective = elboroom.Objective(penalties=penalties)
    history = elboroom.fit(vae, data, objective=objective, epochs=8, lr=3e-3, quiet=True)
    found.append(f"{correlation(vae, test):.2f} (ELBO {history[-1]['val_elbo']:.1f} nats)")
print(f"distances of codes and pictures correlate by {found[0]}; with the penalty by {found[1]}")
