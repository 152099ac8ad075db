"""Criteria: what the kernels that share a width say of it."""
