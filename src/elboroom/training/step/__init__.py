"""One training step: gradients, the optimisers that apply them, and what is counted on the way."""
