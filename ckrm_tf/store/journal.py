"""What is on disk of a search: one line per training, appended once, read back on resume."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ckrm_tf.errors import CKRMError
from ckrm_tf.families.widths import Widths
from ckrm_tf.store.record import Training


class Journal:
    """An append-only JSON-lines file of trainings; the truth from which a search resumes.

    Every line is flushed to disk before the search goes on, so a killed process loses at most
    the training it was in. A line cut short by a crash is passed over when reading.

    Args:
        path: the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._trainings = {t.key: t for t in self.read()}

    def read(self) -> list[Training]:
        """Every whole line, in order.

        Raises:
            CKRMError: a line that is whole but not a training: the file is not a journal.
        """
        if not self.path.exists():
            return []
        trainings = []
        for number, line in enumerate(self.path.read_bytes().split(b"\n"), start=1):
            # What a crash cuts short is the beginning of a JSON object, or zeros.
            if not line.strip(b"\0\r") or (line.startswith(b"{") and not _is_json(line)):
                continue
            try:
                data = json.loads(line)
                trainings.append(Training.from_dict(data))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise CKRMError(
                    f"{self.path.name}, line {number}",
                    expected="a training",
                    received=repr(line[:60]),
                    hint="Give another --out, or move the file away.",
                ) from error
        return trainings

    def __len__(self) -> int:
        return len(self._trainings)

    def find(self, widths: Widths, seed: int, epochs: int) -> Training | None:
        """The training recorded with these settings, if any."""
        return self._trainings.get((widths, seed, epochs))

    def append(self, training: Training) -> None:
        """Record one training for good."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(training.to_dict()).encode()
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
