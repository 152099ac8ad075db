"""Narrowing: a trained Keras model in, a narrower one out, with its weights."""
