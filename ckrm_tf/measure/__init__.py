"""Measures of redundancy: arrays in, arrays out; a table per model."""
