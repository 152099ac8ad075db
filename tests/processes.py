"""Processes that tests start, whether they have ended, and what started them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def python(code: str, *arguments: str, cwd: Path | None = None, **environment: str):
    """A fresh process that finds this checkout, whatever folder it runs in."""
    env = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=env,
    )


def gone(number):
    """Whether a process has ended; one that nobody has buried yet counts."""
    found = _told(number)
    return not found or found[0] in "ZX"


def parent(number):
    """The process that started a process, 0 where it has ended."""
    found = _told(number)
    return int(found[1]) if found else 0


def _told(number):
    """What the system tells of a process after its name: state, parent, ...; nothing at its end."""
    try:
        with open(f"/proc/{number}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except FileNotFoundError:
        return []
