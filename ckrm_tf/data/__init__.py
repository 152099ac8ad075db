"""Data sources: one file each, one function that picks."""
