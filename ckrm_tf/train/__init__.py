"""Training: the recipe, batches, the optimizer, one training, training with gaze maps."""
