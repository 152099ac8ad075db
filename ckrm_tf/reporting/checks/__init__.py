"""Numbered checks of a run, each with a page in docs/checks."""
