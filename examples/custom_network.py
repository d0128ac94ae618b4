"""A custom network: any module that maps between the shapes; here a small convolutional encoder."""

import torch
from torch import nn

import elboroom
from elboroom.probability import DiagonalGaussianHead, GaussianHead, StandardNormal

data = elboroom.load_data("digits")  # 8×8×1, uint8, 16 is white
latent_dim = 4

# elboroom's images are (b, h, w, c); torch's convolutions take (b, c, h, w).
encoder = nn.Sequential(
    nn.Flatten(),
    nn.Unflatten(1, (1, 8, 8)),
    nn.Conv2d(1, 16, 3, stride=2, padding=1),
    nn.SiLU(),
    nn.Flatten(),
    nn.Linear(16 * 4 * 4, 2 * latent_dim),  # means and raw scales for DiagonalGaussianHead
)
decoder = nn.Sequential(
    nn.Linear(latent_dim, 128), nn.SiLU(), nn.Linear(128, 64), nn.Unflatten(1, data.shape)
)

torch.manual_seed(0)
vae = elboroom.VAE(
    encoder,
    decoder,
    StandardNormal(latent_dim),
    shape=data.shape,
    scale=data.scale,
    posterior=DiagonalGaussianHead(latent_dim),
    likelihood=GaussianHead(data.shape, scale=0.2, learn_scale=True, mean="sigmoid"),
)
history = elboroom.fit(vae, data, epochs=5, quiet=True)
print(f"validation ELBO {history[0]['val_elbo']:.1f} -> {history[-1]['val_elbo']:.1f} nats")
