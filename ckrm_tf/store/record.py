"""One training as it is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ckrm_tf.criteria.base import Signal
from ckrm_tf.design.design import Design
from ckrm_tf.train.way import HOWS, PLAIN_NAME

COMPLETED, FAILED = "completed", "failed"

# Of a record in a journal. Version 0.1 wrote none, and the widths of a ResNet as its network.
SCHEMA = 2

Key = tuple[Design, int, int, str]
"""Network, seed, epochs and way of a training."""


@dataclass(frozen=True)
class Training:
    """One training: a network, a seed, and what came of it.

    Attributes:
        design: the network.
        status: "completed" or "failed".
        val_auc: macro AUC on the validation split, None when failed.
        lam: lambda per measured convolution, by layer name.
        signals: what the criterion said of each width.
        setup_seconds, step_seconds, measure_seconds: wall time of building and tracing, of the
            gradient steps, and of measuring.
        cpu_seconds: processor time of all threads over all of it; on a machine that others use too
            it tells more than wall time.
        reason: why it failed.
        fold: which of the folds it validated on, from 0; None without folds.
        retryable: what kind of passing failure it was (`ckrm_tf.store.failures`): it is tried again
            when the search goes on. None where the failure is the network's own.
        limit: the seconds it was given, where it failed because it took longer.
        weights: SHA-256 of the file of its weights, None where none were kept.
        finished: when, ISO 8601 in UTC.
        taken_from: the earlier run's folder that it was taken over from, None where this run
            trained it.
        how: what it took over from the trained start (`ckrm_tf.train.way.HOWS`): nothing
            where it is "plain", as all of earlier versions are.
    """

    design: Design
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
    retryable: str | None = None
    limit: float | None = None
    weights: str | None = None
    finished: str = ""
    fold: int | None = None
    taken_from: str | None = None
    how: str = PLAIN_NAME

    @property
    def key(self) -> Key:
        """What identifies a training within one run: its settings are the run's."""
        return self.design, self.seed, self.epochs, self.how

    @property
    def seconds(self) -> float:
        """Wall time of the whole training."""
        return self.setup_seconds + self.step_seconds + self.measure_seconds

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON, with the version of their form."""
        return {"schema": SCHEMA} | {
            **asdict(self),
            "design": self.design.to_dict(),
            "signals": {k: asdict(s) for k, s in self.signals.items()},
            "lam": dict(self.lam),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Training:
        """The inverse of `to_dict`; keys that this version does not know are passed over.

        Raises:
            KeyError, TypeError, ValueError: no training.
        """
        known = {k: v for k, v in data.items() if k in cls.__dataclass_fields__}
        signals = {k: Signal(**s) for k, s in data.get("signals", {}).items()}
        found = cls(**known | {"design": Design.from_dict(data["design"]), "signals": signals})
        found._check()
        return found

    def _check(self) -> None:
        """Raise a `ValueError` for values that no training has."""
        counts = (self.seed, self.epochs, self.params, self.macs, self.steps)
        numbers = [self.setup_seconds, self.step_seconds, self.measure_seconds, self.cpu_seconds]
        numbers += [n for s in self.signals.values() for n in (s.redundancy, s.needed, s.excess)]
        numbers += self.lam.values()
        numbers += [n for n in (self.val_auc, self.loss, self.limit) if n is not None]
        texts = [
            self.finished,
            *(t for t in (self.reason, self.retryable, self.weights, self.taken_from) if t),
        ]
        whole = all(type(n) is int and n >= 0 for n in counts)
        plain = all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
        if not (whole and plain and all(isinstance(t, str) for t in texts)):
            raise ValueError("a value of another type")
        if self.status not in (COMPLETED, FAILED):
            raise ValueError(f"status {str(self.status)[:20]}")
        if self.how not in HOWS:
            raise ValueError(f"a training that is {str(self.how)[:20]}")
        if self.status == COMPLETED and (self.val_auc is None or not 0 <= self.val_auc <= 1):
            raise ValueError("no AUC")
