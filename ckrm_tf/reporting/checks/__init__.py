"""Numbered checks of a run, each explained in docs/checks.md."""
