"""What is on disk of a search: one line per training, appended once, read back on resume."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.store.record import SCHEMA, Training


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
        self._trainings = {t.key: t for t in self.read()}

    def read(self) -> list[Training]:
        """Every whole line, in order.

        Raises:
            CKRMError: a line that is whole but not a training: the file is not a journal; or one
                that a later version wrote.
        """
        if not self.path.exists():
            return []
        trainings = []
        for number, line in enumerate(self.path.read_bytes().split(b"\n"), start=1):
            # What a crash cuts short is the beginning of a JSON object, or zeros.
            if not line.strip(b"\0\r") or (line.startswith(b"{") and not _is_json(line)):
                continue
            data = None
            try:
                data = json.loads(line)
                if data.get("schema", SCHEMA) != SCHEMA:
                    raise ValueError("another schema")
                design = self.family.from_record(data).to_dict()
                trainings.append(Training.from_dict(data | {"design": design}))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                later = isinstance(data, dict) and data.get("schema", SCHEMA) != SCHEMA
                raise CKRMError(
                    f"{self.path.name}, line {number}",
                    expected=f"a training of schema {SCHEMA}" if later else "a training",
                    received=repr(line[:60]),
                    hint="Give another --out, or move the file away.",
                ) from error
        return trainings

    def __len__(self) -> int:
        return len(self._trainings)

    def find(self, design: Design, seed: int, epochs: int) -> Training | None:
        """The training recorded with these settings, if any."""
        return self._trainings.get((design, seed, epochs))

    def append(self, training: Training) -> None:
        """Record one training for good."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        record = training.to_dict() | self.family.to_record(training.design)
        line = json.dumps(record).encode()
        with self.path.open("ab+") as file:
            if file.tell() and self._torn(file):
                line = b"\n" + line
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._trainings[training.key] = training

    @staticmethod
    def _torn(file: Any) -> bool:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True
