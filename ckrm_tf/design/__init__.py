"""Plain values that describe a network."""
