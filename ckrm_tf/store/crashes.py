"""Trainings that ended their process: told by what Python's fault handler wrote of them."""

from __future__ import annotations

import faulthandler
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ckrm_tf.design.design import Design
from ckrm_tf.store.failures import CRASH
from ckrm_tf.store.lines import append_line, whole_lines
from ckrm_tf.store.record import Key, Training
from ckrm_tf.versions import LIBRARIES, library_version

# The file of crashes, and that of the training under way, beside the journal.
CRASHES, UNDER_WAY = "crashes.jsonl", ".training"

# Crashes of one training after which it is a failure.
MOST = 2

# How a fault begins in what Python writes; Windows has its own words.
_FATAL = re.compile(rb"^(?:Fatal Python error|Windows fatal exception): (.*)", re.MULTILINE)
# Characters of a trace that are kept.
_LONGEST = 4000


class CrashError(Exception):
    """A training ended its process too often."""


class Crashes:
    """The trainings of one folder that a fault of a library ended, and the process with them.

    Only signals of a fault count, as a segmentation fault: a process that was killed says nothing
    of its training. A crash counts as long as the versions, the backend and TensorFlow's use of
    oneDNN are those that it came under.

    Args:
        folder: that of the journal; nobody else may write there.
        backend: of Keras.
        enter: what the last process left, if it crashed; else nothing is written.

    Attributes:
        last: the training that ended the process before this one, and of what it died; None where
            that one ended otherwise.
    """

    def __init__(self, folder: Path, backend: str = "tensorflow", *, enter: bool = True) -> None:
        self.folder = folder
        self.last: tuple[Key, str] | None = None
        self._conditions = _conditions(backend)
        self._counts: dict[Key, list[str]] = {}
        if enter:
            self._enter()
        for _, line in whole_lines(folder / CRASHES):
            found = _crash(line)
            if found is not None and found[2] == self._conditions:
                self._counts.setdefault(found[0], []).append(found[1])

    def why_not(self, key: Key) -> str | None:
        """Why a training is not tried any more; None where it may be."""
        faults = self._counts.get(key, [])
        if len(faults) < MOST:
            return None
        return (
            f"it ended the process {len(faults)} times ({faults[-1]}); another version of the "
            "libraries, another TF_ENABLE_ONEDNN_OPTS, or the removal of "
            f"{CRASHES}, has it tried again"
        )

    def bars(self, training: Training) -> bool:
        """Whether a recorded training is a crash that still counts: it is not to be tried again."""
        return training.retryable == CRASH and self.why_not(training.key) is not None

    @contextmanager
    def watched(self, key: Key) -> Iterator[None]:
        """Within it a fault is written down before the process ends."""
        design, seed, epochs, how = key
        line = {"design": design.to_dict(), "seed": seed, "epochs": epochs, "how": how}
        path = self.folder / UNDER_WAY
        before = faulthandler.is_enabled()
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("wb", buffering=0) as file:
                file.write(json.dumps(line | {"conditions": self._conditions}).encode() + b"\n")
                faulthandler.enable(file)
                try:
                    yield
                finally:
                    faulthandler.disable()
                    if before and sys.__stderr__ is not None:
                        with suppress(OSError, ValueError):
                            faulthandler.enable(sys.__stderr__)
        finally:
            path.unlink(missing_ok=True)

    def _enter(self) -> None:
        """Enter what the last process left, if it crashed."""
        path = self.folder / UNDER_WAY
        with suppress(OSError):
            head, _, trace = path.read_bytes().partition(b"\n")
            told, found = _FATAL.search(trace), _crash(head)
            if told is not None and found is not None:
                fault = told[1].decode(errors="replace").strip()
                more = {"fault": fault, "trace": trace.decode(errors="replace")[:_LONGEST]}
                append_line(self.folder / CRASHES, json.loads(head) | more)
                self.last = found[0], fault
            path.unlink()


def _conditions(backend: str) -> dict[str, str | None]:
    found = {name: library_version(name) for name in (*LIBRARIES, backend)}
    onednn = os.environ.get("TF_ENABLE_ONEDNN_OPTS")
    return found | {"backend": backend, "TF_ENABLE_ONEDNN_OPTS": onednn}


def _crash(line: bytes) -> tuple[Key, str, Mapping[str, str | None]] | None:
    """The training of a line, its fault and its conditions; None where it tells of none."""
    try:
        found: dict[str, Any] = json.loads(line)
        design = Design.from_dict(found["design"])
        key = design, int(found["seed"]), int(found["epochs"]), str(found["how"])
        return key, str(found.get("fault", "")), dict(found["conditions"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
