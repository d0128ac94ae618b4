"""What one does in the latent space, without drawing: paths, targets, codes and losses of many examples."""
