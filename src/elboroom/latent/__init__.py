"""Ways and planes through the latent space."""
