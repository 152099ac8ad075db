"""Ends what a local Ray left when its command is gone, however it ended.

Run as a process of its own: `python guard.py MARK FOLDER`. It waits for the end of
its standard input, which the command holds open, and then ends every process that has the mark in
its environment and removes the folder. The processes of Ray hand the mark on to those that they
start, so workers that outlive it are found as well.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

# The variable that marks the processes of one local Ray.
MARK = "CKRM_TF_RAY"
# Seconds that they have after SIGTERM.
PATIENCE = 2.0


def marked(mark: str, variable: str = MARK) -> list[int]:
    """The processes with this mark in their environment, this one left out."""
    found = []
    wanted = f"{variable}={mark}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        number = int(place.name)
        if number == os.getpid():
            continue
        try:
            environment = (place / "environ").read_bytes()
        except OSError:
            # Somebody else's, or gone meanwhile.
            continue
        if wanted in environment.split(b"\0"):
            found.append(number)
    return found


def end_all(mark: str) -> None:
    """End every process with this mark."""
    for number in marked(mark):
        _send(number, signal.SIGTERM)
    until = time.monotonic() + PATIENCE
    while marked(mark) and time.monotonic() < until:
        time.sleep(0.1)
    while left := marked(mark):
        for number in left:
            _send(number, signal.SIGKILL)
        time.sleep(0.05)


def _send(number: int, what: signal.Signals) -> None:
    try:
        os.kill(number, what)
    except ProcessLookupError:
        return


def main(mark: str, folder: str) -> None:
    """Wait for the end of the command, then end the rest."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end_all(mark)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
