"""Several processes, one training: who is who, their launch, and noise that they share."""
