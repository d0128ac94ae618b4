"""Pythae's networks, unchanged, in an elboroom VAE (pip install pythae); the loss equals Pythae's."""

import torch
from pythae.models import VAEConfig
from pythae.models.nn.default_architectures import Decoder_AE_MLP, Encoder_VAE_MLP

import elboroom
from elboroom.networks.pythae_nets import PythaeDecoder, PythaeEncoder
from elboroom.probability import BernoulliHead, DiagonalGaussianHead, StandardNormal

data = elboroom.load_data("digits")
height, width, channels = data.shape
pythae = VAEConfig(input_dim=(channels, height, width), latent_dim=4)

torch.manual_seed(0)
vae = elboroom.VAE(
    PythaeEncoder(Encoder_VAE_MLP(pythae)),
    PythaeDecoder(Decoder_AE_MLP(pythae), logits=True),  # reconstruction_loss="bce"
    StandardNormal(pythae.latent_dim),
    shape=data.shape,
    scale=data.scale,
    posterior=DiagonalGaussianHead(pythae.latent_dim, scale="exp"),
    likelihood=BernoulliHead(data.shape),
)
history = elboroom.fit(vae, data, epochs=5, quiet=True)
print(f"validation ELBO {history[0]['val_elbo']:.1f} -> {history[-1]['val_elbo']:.1f} nats")
