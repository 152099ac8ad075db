"""Layers the neighbouring methods need."""
