"""The commands: run, measure, compare."""
