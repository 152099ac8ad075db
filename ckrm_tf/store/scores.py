"""What was scored of slices: one line per request, appended once, read back on resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.store.lines import append_line, whole_lines
from ckrm_tf.tuning.answers import Score

# Of a line of the file. Slices of lower depth were not mended before 2.
SCHEMA = 2


class ScoreBook:
    """The scores of a search in an append-only JSON-lines file.

    A line cut short by a crash is passed over: those slices are scored again. So are those of
    earlier versions, whose scores of slices of lower depth were others.

    Args:
        path: the file; it need not exist. None keeps the scores in memory.

    Attributes:
        known: score by (trained network, design of the slice).
        cpu_seconds: processor time that all of them took.

    Raises:
        CKRMError: a whole line that holds no scores.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.known: dict[tuple[Design, Design], float] = {}
        self.cpu_seconds = 0.0
        if path is not None:
            self._read(path)

    def add(self, asked: Score, scores: list[float], cpu_seconds: float = 0.0) -> None:
        """Record what a request came to, in the order of its designs, and what it took."""
        line = {
            "schema": SCHEMA,
            "bases": [base.to_dict() for base in asked.bases],
            "designs": [design.to_dict() for design in asked.designs],
            "scores": scores,
            "cpu_seconds": cpu_seconds,
        }
        if self.path is not None:
            append_line(self.path, line)
        self._put(line)

    def _put(self, line: dict[str, Any]) -> None:
        root = Design.from_dict(line["bases"][0])
        for design, score in zip(line["designs"], line["scores"], strict=True):
            self.known[root, Design.from_dict(design)] = float(score)
        self.cpu_seconds += float(line.get("cpu_seconds", 0.0))

    def _read(self, path: Path) -> None:
        for number, line in whole_lines(path):
            try:
                found = json.loads(line)
                if found["schema"] >= SCHEMA:
                    self._put(found)
            except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
                raise CKRMError(
                    f"{path.name}, line {number}",
                    expected="scores of slices",
                    received=repr(line[:60]),
                    hint="Move the file away: the slices are scored again.",
                ) from error
