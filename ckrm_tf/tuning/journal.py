"""What is on disk of a search: one line per training, appended once, read back on resume."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from ckrm_tf.errors import CKRMError
from ckrm_tf.measure.signal import Signal
from ckrm_tf.widths import Widths

COMPLETED, FAILED = "completed", "failed"


@dataclass(frozen=True)
class Training:
    """One training: a network, a seed, and what came of it.

    Attributes:
        status: "completed" or "failed".
        val_auc: macro AUC on the validation split, None when failed.
        lam: lambda per measured convolution, by layer name.
        signals: what the criterion said of each width.
        setup_seconds, step_seconds, measure_seconds: wall time of building and tracing, of the
            gradient steps, and of measuring.
        cpu_seconds: processor time of all threads over all of it; on a machine that others use too
            it tells more than wall time.
        reason: why it failed.
        finished: when, ISO 8601 in UTC.
    """

    widths: Widths
    seed: int
    epochs: int
    status: str
    params: int
    macs: int
    val_auc: float | None = None
    loss: float | None = None
    lam: Mapping[str, float] = field(default_factory=dict)
    signals: Mapping[str, Signal] = field(default_factory=dict)
    steps: int = 0
    setup_seconds: float = 0.0
    step_seconds: float = 0.0
    measure_seconds: float = 0.0
    cpu_seconds: float = 0.0
    reason: str | None = None
    finished: str = ""

    @property
    def key(self) -> tuple[Widths, int, int]:
        """What identifies a training within one run: its settings are the run's."""
        return self.widths, self.seed, self.epochs

    @property
    def seconds(self) -> float:
        """Wall time of the whole training."""
        return self.setup_seconds + self.step_seconds + self.measure_seconds

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self) | {
            "widths": self.widths.to_dict(),
            "signals": {k: asdict(s) for k, s in self.signals.items()},
            "lam": dict(self.lam),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Training:
        """The inverse of `to_dict`."""
        known = {k: v for k, v in data.items() if k in cls.__dataclass_fields__}
        signals = {k: Signal(**s) for k, s in data.get("signals", {}).items()}
        return cls(**known | {"widths": Widths.from_dict(data["widths"]), "signals": signals})


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


def first_unused(folder: Path, name: Callable[[int], str]) -> Path:
    """The first of `name(1)`, `name(2)`, ... that is not in the folder: nothing is overwritten."""
    return next(path for n in count(1) if not (path := folder / name(n)).exists())


def keep(folder: Path, name: Callable[[int], str], text: str) -> Path:
    """Write a report under the first of `name(1)`, `name(2)`, ... that is unused or holds it."""
    paths = (folder / name(n) for n in count(1))
    path = next(p for p in paths if not p.exists() or p.read_text() == text)
    if not path.exists():
        write_atomically(path, text)
    return path


def write_atomically(path: Path, text: str) -> None:
    """Replace a small file in one step: a crash leaves the old one or the new one, whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
