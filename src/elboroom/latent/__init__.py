"""Work in the latent space: paths, targets, planes, and the codes and losses of many examples."""
