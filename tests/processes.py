"""Processes that tests start, and whether they have ended."""

from __future__ import annotations


def gone(number):
    """Whether a process has ended; one that nobody has buried yet counts."""
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True
