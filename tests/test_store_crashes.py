"""The writing of a run folder, killed at every line of the code that writes it.

A child runs the steps of a search on real files, with bytes in place of trained weights, and kills
itself at the n-th line of `ckrm_tf.files` and `ckrm_tf.store` that it comes to. Whole searches are
killed in tests/test_crash_points.py.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import traceback
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import ckrm_tf
from ckrm_tf import ResNetFamily, Stage, Widths
from ckrm_tf.files import checksum, is_leftover, whole_file, whole_folder, write_atomically
from ckrm_tf.store.folder import fresh_sessions, open_folder
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.owner import owned
from ckrm_tf.store.record import COMPLETED, Training

FAMILY = ResNetFamily(Widths(8, (Stage(1, 4, 8),)))
HOME = Path(ckrm_tf.__file__).parent
WATCHED = tuple(map(str, (HOME / "files.py", HOME / "store")))
SEEDS = (1, 2, 3)


def search(folder: Path, trials: int) -> None:
    """What a search writes, in its order."""
    with owned(folder) as place:
        open_folder(place, {"epochs": 3}, {"trials": trials})
        fresh_sessions(place)
        (place / "keras_tuner" / "session1").mkdir(parents=True)
        (place / "weights").mkdir(exist_ok=True)
        journal = Journal(place / "trials.jsonl", FAMILY)
        for seed in SEEDS:
            path = place / "weights" / f"{seed}.weights.h5"
            known = journal.find(FAMILY.start, seed, 3)
            if known and path.exists() and checksum(path) == known.weights:
                continue
            with whole_file(path) as part:
                part.write_bytes(bytes([seed]) * 5000)
                weights = checksum(part)
            done = Training(FAMILY.start, seed, 3, COMPLETED, 1, 2, val_auc=0.5, weights=weights)
            journal.append(done)
        if not (place / "export1").exists():
            with whole_folder(place / "export1") as part:
                (part / "model").write_bytes(bytes(5000))
                (part / "widths.json").write_text("{}")
        write_atomically(place / "summary.json", json.dumps({"trials": trials}))


def start(folder: Path, trials: int, number: int | None = None) -> tuple[int, int]:
    """Run it in a child that is killed at a line, if one is given: its status, and the lines."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status, lines = 70, 0

        def line(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal lines
            if event == "line":
                lines += 1
                if lines == number:
                    os.kill(os.getpid(), signal.SIGKILL)
            return line

        def call(frame: FrameType, event: str, _: Any) -> Any:
            return line if frame.f_code.co_filename.startswith(WATCHED) else None

        try:
            sys.settrace(call)
            search(folder, trials)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.settrace(None)
            os.write(write, str(lines).encode())
            os._exit(status)
    os.close(write)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    found = os.read(read, 100)
    os.close(read)
    return status, int(found or 0)


def whole_lines(folder: Path) -> list[bytes]:
    path = folder / "trials.jsonl"
    return [n for n in path.read_bytes().split(b"\n") if n.endswith(b"}")] if path.exists() else []


def crash(folder: Path, numbers: tuple[int, ...], counts: Counter[str]) -> None:
    """Kill a search at a line, the next start at another, go on with more trials, and look."""
    before: list[bytes] = []
    for number in numbers:
        status, _ = start(folder, 3, number)
        # A start that goes on may come to its end before that line.
        counts["unreadable folders"] += status not in (0, -signal.SIGKILL)
        counts["kills"] += status == -signal.SIGKILL
        counts["lost"] += whole_lines(folder)[: len(before)] != before
        before = whole_lines(folder)
    status, _ = start(folder, 4)
    after = whole_lines(folder)
    trainings = [json.loads(n) for n in after]
    names = {p.name for p in folder.rglob("*")}
    counts["unreadable folders"] += status != 0
    counts["lost"] += after[: len(before)] != before
    counts["repeated"] += [t["seed"] for t in trainings] != list(SEEDS)
    counts["wrong weights"] += any(
        checksum(folder / "weights" / f"{t['seed']}.weights.h5") != t["weights"] for t in trainings
    )
    counts["leftovers"] += any(map(is_leftover, names))
    counts["unfinished"] += not {"summary.json", "export1", "run.json", "widths.json"} <= names
    counts["half done"] += len(before) in (1, 2)


def crash_all(folder: Path, every: int, more: int) -> Counter[str]:
    """Kill at every so many lines; after each, so many times a further start at any line."""
    status, lines = start(folder / "whole", 3)
    assert status == 0
    assert lines > 150
    counts: Counter[str] = Counter()
    rng = random.Random(0)
    for number in range(1, lines, every):
        crash(folder / f"{number}", (number,), counts)
        for second in range(more):
            crash(folder / f"{number}_{second}", (number, rng.randrange(1, lines)), counts)
    return counts


def test_every_twentieth_line(tmp_path: Path) -> None:
    counts = crash_all(tmp_path, 20, 1)
    assert counts["kills"] > 10
    # Some were killed in the middle, or the rest would say nothing.
    assert counts.pop("half done")
    assert {name for name, count in counts.items() if count} == {"kills"}


@pytest.mark.long
def test_every_line(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if "long" not in request.config.option.markexpr:
        pytest.skip("takes minutes: pytest -m long")
    counts = crash_all(tmp_path, 1, 5)
    print(dict(counts))
    assert counts["kills"] >= 1000
    assert counts.pop("half done")
    assert {name for name, count in counts.items() if count} == {"kills"}


def test_a_folder_that_is_refused_is_noticed(tmp_path: Path) -> None:
    """The look at the folder sees what it looks for."""
    folder = tmp_path / "run"
    counts: Counter[str] = Counter()
    (folder / "weights").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    crash(folder, (5,), counts)
    assert counts["kills"] == counts["unreadable folders"] == counts["repeated"] == 1
