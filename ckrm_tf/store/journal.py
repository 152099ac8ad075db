"""What is on disk of a search: one line per training, appended once, read back on resume."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.store.record import COMPLETED, SCHEMA, Training


class Journal:
    """An append-only JSON-lines file of trainings; the truth from which a search resumes.

    Every line is flushed to disk before the search goes on, so a killed process loses at most
    the training it was in. A line cut short by a crash is passed over when reading.

    Args:
        path: the file; it need not exist.
        family: writes its own form of a design beside it, and reads those of version 0.1.
    """

    def __init__(self, path: Path, family: Family) -> None:
        self.path, self.family = Path(path), family
        self._trainings: dict[tuple[Design, int, int], Training] = {}
        for training in self.read():
            _count(self._trainings, training)
        self._here: set[tuple[Design, int, int]] = set()

    def read(self) -> list[Training]:
        """Every whole line, in order; see also `current`.

        Raises:
            CKRMError: a line that is whole but not a training: the file is not a journal; or one
                that a later version wrote.
        """
        if not self.path.exists():
            return []
        trainings = []
        for number, line in enumerate(self.path.read_bytes().split(b"\n"), start=1):
            # What a crash cuts short is the beginning of a JSON object, or zeros.
            if not line.strip(b"\0\r") or (line.startswith(b"{") and not is_json(line)):
                continue
            data = None
            try:
                data = json.loads(line)
                if data.get("schema", SCHEMA) != SCHEMA:
                    raise ValueError("another schema")
                design = self.family.from_record(data).to_dict()
                trainings.append(Training.from_dict(data | {"design": design}))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                later = isinstance(data, dict) and data.get("schema", SCHEMA) != SCHEMA
                raise CKRMError(
                    f"{self.path.name}, line {number}",
                    expected=f"a training of schema {SCHEMA}" if later else "a training",
                    received=repr(line[:60]),
                    hint="Give another --out, or move the file away.",
                ) from error
        return trainings

    def current(self) -> list[Training]:
        """One training for each network, seed and number of epochs, in the order of their first.

        Where there are several, the last success counts, or else the last failure.
        """
        return list(self._trainings.values())

    def __len__(self) -> int:
        return len(self._trainings)

    def find(self, design: Design, seed: int, epochs: int) -> Training | None:
        """The training recorded with these settings, if any."""
        return self._trainings.get((design, seed, epochs))

    def is_new(self, training: Training) -> bool:
        """Whether it was recorded since the journal was opened."""
        return training.key in self._here

    def append(self, training: Training) -> None:
        """Record one training for good.

        Raises:
            OSError: the disk is full, or the file cannot be written; it is left as it was.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        record = training.to_dict() | self.family.to_record(training.design)
        line = json.dumps(record).encode()
        # Unbuffered: a buffer would try again to write what has failed.
        with self.path.open("ab+", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            rest = memoryview((b"\n" if end and self._torn(file) else b"") + line + b"\n")
            try:
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise
        _count(self._trainings, training)
        self._here.add(training.key)

    @staticmethod
    def _torn(file: Any) -> bool:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _count(found: dict[tuple[Design, int, int], Training], training: Training) -> None:
    """Enter a training, unless it is a failure of what has succeeded."""
    before = found.get(training.key)
    if before is None or before.status != COMPLETED or training.status == COMPLETED:
        found[training.key] = training


def is_json(line: bytes) -> bool:
    """Whether a line is whole."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
