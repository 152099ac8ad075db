"""Kill a search at its n-th write, start it again, and see whether anything was lost.

    python -m benchmarks.crash_points --points 1000
    python -m benchmarks.crash_points --points 50 --commands
    python -m benchmarks.crash_points --points 20 --workers 2

A process that has imported TensorFlow, and computed nothing with it, forks one child for each
start; the child runs the command on real files. An audit hook counts what Python opens for
writing, renames, makes and removes in the run folder, and the child kills itself (SIGKILL) just
before its n-th; every third child is killed from outside after a random time instead, which also
falls into the writing of HDF5 and of SavedModels. With --commands each start is a new process, as
a user starts it, killed after a random time; with --workers it is the driver of so many workers,
which must end with it, as must their Ray.

After each kill: every line of the journal that was whole is still there, byte for byte; no training
is recorded twice; the networks are those that an uninterrupted search proposed, with the same
weights (`--deterministic`, by their checksum). A chain of kills ends with a start that is left
alone and must end the search as the uninterrupted one ended.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ckrm_tf.cluster.guard import marked

WORDS = [
    "--trials", "3", "--filters", "4", "--growth", "1", "--blocks", "1", "--epochs", "1",
    "--batch-size", "4", "--confirm", "0", "--floor", "2", "--margin", "0.99",
    "--image-size", "8", "--deterministic", "true",
]  # fmt: skip
JOURNAL = "trials.jsonl"
WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}

# Read when TensorFlow is imported; deterministic searches need it.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

# Seconds after which a start is taken to hang, and kills from the start to the end of one search.
HANGS, CHAIN = 300.0, 30
PARTS = (1, 2, 4, 8)
# Of the environment of a command and all that it starts, and seconds in which those end after it.
TOKEN, ENDS = "CKRM_CRASH_POINTS", 60.0


def make_data(path: Path) -> None:
    """A dozen images a split, of two classes."""
    rng, arrays = np.random.default_rng(0), {}
    for name, count in (("train", 12), ("val", 8), ("test", 8)):
        labels = np.arange(count) % 2
        images = rng.integers(0, 128, (count, 8, 8)) + 100 * labels[:, None, None]
        arrays |= {f"{name}_images": images.astype(np.uint8), f"{name}_labels": labels}
    np.savez(path, **arrays)


@dataclass
class Start:
    """One start of the command: how it ended, its writes, and the processes that outlived it.

    `writes` has a byte for each write, `t` where a training was recorded.
    """

    status: int
    seconds: float
    hung: bool = False
    writes: bytes = b""
    killed: bool = False
    left: tuple[str, ...] = ()


def kill_at(folder: Path, number: int | None, tell: Callable[[bytes], object]) -> None:
    """Tell of this process's writes below a folder, and kill it just before the given one."""
    place, count = str(folder), 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open":
            path, _, flags = arguments
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        elif event in WRITES:
            path, writes = arguments[0], True
        else:
            return
        if writes and isinstance(path, str | os.PathLike) and str(path).startswith(place):
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            tell(b"t" if str(path).endswith(JOURNAL) else b".")

    sys.addaudithook(hook)


def forked(words: list[str], folder: Path, number: int | None, after: float | None) -> Start:
    """Start the command in a child that shares this process's imports."""
    read, write = os.pipe()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            os.close(read)
            silent = os.open(
                str(folder.parent / "screen.log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            )
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            kill_at(folder, number, lambda byte: os.write(write, byte))
            from search.cli import main  # noqa: PLC0415 - imported before the fork
            from search.run import run  # noqa: PLC0415

            main(run, words)
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
        finally:
            sys.stdout.flush()
            os._exit(status)
    os.close(write)
    start = waited(lambda: _reap(pid), lambda: os.kill(pid, signal.SIGKILL), began, after)
    while found := os.read(read, 65536):
        start.writes += found
    os.close(read)
    return start


def _reap(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def spawned(words: list[str], folder: Path, number: int | None, after: float | None) -> Start:
    """Start the command as a user does."""
    began, mark = time.monotonic(), f"{os.getpid()}.{time.monotonic_ns()}"
    with (folder.parent / "screen.log").open("w") as screen:
        process = subprocess.Popen(
            [sys.executable, "-m", "search.run", *words],
            stdout=screen,
            stderr=screen,
            env=os.environ | {TOKEN: mark},
        )
        start = waited(process.poll, process.kill, began, after)
    ends = time.monotonic() + ENDS
    while (left := marked(mark, TOKEN)) and time.monotonic() < ends:
        time.sleep(0.5)
    for pid in left:
        with suppress(OSError):
            words_of = (Path("/proc") / str(pid) / "cmdline").read_bytes().split(b"\0")
            start.left += (b" ".join(words_of).decode(errors="replace")[:200],)
            os.kill(pid, signal.SIGKILL)
    return start


def waited(
    poll: Callable[[], int | None], kill: Callable[[], object], began: float, after: float | None
) -> Start:
    """Wait for the end of a start, or bring it about."""
    killed = hung = False
    while (status := poll()) is None:
        took = time.monotonic() - began
        hung = hung or took > HANGS
        if not killed and (hung or (after is not None and took > after)):
            kill()
            killed = True
        time.sleep(0.005)
    return Start(status, time.monotonic() - began, hung, killed=status == -signal.SIGKILL)


@dataclass
class Found:
    """What a folder holds of a search."""

    lines: list[bytes]
    keys: list[tuple[str, int]]
    weights: list[str]

    @classmethod
    def of(cls, folder: Path) -> Found:
        """The whole lines of the journal of a folder."""
        path = folder / JOURNAL
        lines = []
        for line in path.read_bytes().split(b"\n") if path.exists() else ():
            try:
                lines.append((line, json.loads(line)))
            except ValueError:
                continue
        trainings = [t for _, t in lines]
        keys = [(json.dumps(t["design"]), t["seed"]) for t in trainings]
        return cls([line for line, _ in lines], keys, [t["weights"] for t in trainings])


@dataclass
class Tally:
    """Counts over all kills."""

    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    leftovers: list[str] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)

    def look(self, before: Found, folder: Path, reference: Found) -> Found:
        """Compare a folder with what it held before the last start, and with the reference."""
        now = Found.of(folder)
        self.counts["lost"] += now.lines[: len(before.lines)] != before.lines
        self.counts["repeated"] += len(set(now.keys)) < len(now.keys)
        same = now.keys == reference.keys[: len(now.keys)]
        self.counts["other proposals"] += not same
        self.counts["other weights"] += same and now.weights != reference.weights[: len(now.keys)]
        return now

    def stayed(self, start: Start) -> None:
        """Count the processes that outlived a start."""
        self.counts["processes left"] += len(start.left)
        self.processes += start.left

    def ended(self, folder: Path, start: Start, reference: Path) -> None:
        """Compare a search that was left alone with the uninterrupted one."""
        self.counts["unreadable folders"] += start.status != 0
        if start.status == 0:
            ends = [json.loads((f / "summary.json").read_text()) for f in (folder, reference)]
            parts = [{k: end[k] for k in ("recommended", "start", "export")} for end in ends]
            self.counts["other ends"] += parts[0] != parts[1]
            left = [str(p.relative_to(folder)) for p in folder.rglob(".*") if p.name != ".lock"]
            self.leftovers += left
            self.counts["leftovers"] += len(left) + len(list(folder.glob("keras_tuner/*"))) - 1


BAD = (
    *("lost", "repeated", "unreadable folders", "hangs", "other proposals"),
    *("other weights", "other ends", "leftovers", "processes left"),
)


def measure(
    points: int, *, commands: bool = False, workers: int = 1, seed: int = 0, verbose: bool = False
) -> Tally:
    """Kill searches so many times; what came of it."""
    commands = commands or workers > 1
    starter = spawned if commands else forked
    rng, tally = random.Random(seed), Tally(seed)
    if not commands:
        # Everything that the command imports; nothing is computed.
        import search.run  # noqa: F401, PLC0415
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        make_data(place / "data.npz")

        many = ["--workers", str(workers)] if workers > 1 else []

        def words(folder: Path, *more: str) -> list[str]:
            return ["--data", str(place / "data.npz"), "--out", str(folder), *WORDS, *more]

        # In one process: the number of workers changes nothing.
        whole = starter(words(place / "whole"), place / "whole", None, None)
        if whole.status:
            raise RuntimeError((place / "screen.log").read_text())
        reference = Found.of(place / "whole")
        tally.counts["writes of a whole search"] = len(whole.writes)
        number = 0
        while tally.counts["kills"] < points:
            number += 1
            folder = place / f"killed{number}"
            found, left = Found.of(folder), CHAIN
            while left and tally.counts["kills"] < points:
                left -= 1
                by_time = commands or left % 3 == 0
                # A start that goes on has less to do than the first. Commands tell of no writes.
                to_come = len(whole.writes.split(b"t", len(found.lines))[-1])
                share = to_come / max(1, len(whole.writes))
                most = whole.seconds if commands else whole.seconds * share
                # Most kills fall early in what is to come: a search is killed many times.
                part = 1 if commands else rng.choice(PARTS)
                after = rng.uniform(0, most / part) if by_time else None
                at = None if by_time else rng.randrange(1, max(2, to_come // part))
                start = starter(words(folder, *many), folder, at, after)
                tally.counts["kills"] += start.killed
                tally.counts["hangs"] += start.hung
                tally.stayed(start)
                found = tally.look(found, folder, reference)
                if not start.killed:
                    tally.counts["unreadable folders"] += start.status != 0
                    break
            start = starter(words(folder, *many), folder, None, None)
            tally.counts["hangs"] += start.hung
            tally.stayed(start)
            tally.counts["searches"] += 1
            tally.look(found, folder, reference)
            tally.ended(folder, start, place / "whole")
            if verbose:
                told = {name: tally.counts[name] for name in ("kills", "searches", *BAD)}
                print(told, *tally.leftovers, *tally.processes, flush=True)
                if start.status:
                    print((place / "screen.log").read_text()[-2000:], flush=True)
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description="See the head of this file.")
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--commands", action="store_true")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began = time.monotonic()
    tally = measure(**vars(given), verbose=True)
    print(json.dumps(dict(tally.counts) | {"seconds": round(time.monotonic() - began)}))
    raise SystemExit(any(tally.counts[name] for name in BAD))


if __name__ == "__main__":
    main()
