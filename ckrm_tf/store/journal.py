"""What is on disk of a search: one line per training, appended once, read back on resume."""

from __future__ import annotations

import json
from pathlib import Path

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.store.lines import append_line, whole_lines
from ckrm_tf.store.record import COMPLETED, SCHEMA, Key, Training
from ckrm_tf.train.way import PLAIN_NAME


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
        self._trainings: dict[Key, Training] = {}
        for training in self.read():
            _count(self._trainings, training)
        self._here: set[Key] = set()

    def read(self) -> list[Training]:
        """Every whole line, in order; see also `current`.

        Raises:
            CKRMError: a line that is whole but not a training: the file is not a journal; or one
                that a later version wrote.
        """
        trainings = []
        for number, line in whole_lines(self.path):
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
        """One training for each network, seed, length and way, in the order of their first.

        Where there are several, the last success counts, or else the last failure.
        """
        return list(self._trainings.values())

    def __len__(self) -> int:
        return len(self._trainings)

    def find(
        self, design: Design, seed: int, epochs: int, how: str = PLAIN_NAME
    ) -> Training | None:
        """The training recorded with these settings, if any."""
        return self._trainings.get((design, seed, epochs, how))

    def is_new(self, training: Training) -> bool:
        """Whether it was recorded since the journal was opened."""
        return training.key in self._here

    def append(self, training: Training) -> None:
        """Record one training for good.

        Raises:
            OSError: the disk is full, or the file cannot be written; it is left as it was.
        """
        append_line(self.path, training.to_dict() | self.family.to_record(training.design))
        _count(self._trainings, training)
        self._here.add(training.key)


def _count(found: dict[Key, Training], training: Training) -> None:
    """Enter a training, unless it is a failure of what has succeeded."""
    before = found.get(training.key)
    if before is None or before.status != COMPLETED or training.status == COMPLETED:
        found[training.key] = training
