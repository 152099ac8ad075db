"""Models that a user brings: reading them, and what they tell of their input and output."""
