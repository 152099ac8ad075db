"""How long the README's first command takes, without its set-up, and when it first shows something.

    python benchmarks/first_command.py [--out FOLDER]

The command is the last part of the README's first block, run as written there, in a terminal of its
own (a pty, where the live line is drawn). Printed are the wall seconds to the first epoch that is
shown, to the row of the starting network and to the end, and the CPU seconds of all threads. Aimed
at on two idle cores: 60, 300 and 600 s of wall time, 1,200 CPU seconds.
"""

from __future__ import annotations

import os
import pty
import re
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import fire

README = Path(__file__).parents[1] / "README.md"
SHOWN = {
    "first live line with an epoch": re.compile(r"epoch\s+\d+/\d+"),
    "row of the starting network": re.compile(r"^\s*1/\d+ seed", re.MULTILINE),
    "recommendation": re.compile(r"^recommended ", re.MULTILINE),
}
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


def command() -> list[str]:
    """The search of the README's first block, by this Python."""
    block = README.read_text().split("<!-- run -->")[1].split("```")[1]
    words = shlex.split(block.rsplit("&&", 1)[1])
    return [sys.executable, *words[1:]]


def run(out: str | None = None) -> None:
    """Run it and print the times.

    Args:
        out: the run folder; by default below a temporary one.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked = [*command(), "--out", out or str(Path(folder) / "search")]
        terminal, inside = pty.openpty()
        began, text, found = time.perf_counter(), "", {}
        child = subprocess.Popen(asked, stdin=inside, stdout=inside, stderr=inside)
        os.close(inside)
        while True:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            text = (text + CONTROL.sub("\n", part.decode(errors="replace")))[-100_000:]
            for name, pattern in SHOWN.items():
                if name not in found and pattern.search(text):
                    found[name] = time.perf_counter() - began
                    print(f"{name}: {found[name]:.0f} s", flush=True)
        code = child.wait()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"end: {time.perf_counter() - began:.0f} s, exit {code}")
        print(f"CPU: {used.ru_utime + used.ru_stime:.0f} s; cores: {os.cpu_count()}")
        print(f"load: {', '.join(f'{x:.1f}' for x in os.getloadavg())}")
        print("\n".join(text.strip().splitlines()[-25:]))


if __name__ == "__main__":
    fire.Fire(run)
