"""What a proposal sees: the trials so far, each with its AUC and the signals of its widths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from ckrm_tf.criteria.base import SIGNAL_PARTS, Signal
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.widths import Widths


@dataclass(frozen=True)
class Outcome:
    """One finished trial.

    Attributes:
        widths: the network trained.
        aucs: validation AUC of each seed; empty when the trial failed.
        signals: what the criterion said of each width, averaged over the seeds.
        params: trainable parameters.
        failures: further trainings that failed.
    """

    widths: Widths
    aucs: tuple[float, ...]
    params: int
    signals: Mapping[str, Signal] = field(default_factory=dict)
    failures: int = 0

    @property
    def failed(self) -> bool:
        """No seed could be trained."""
        return not self.aucs

    @property
    def auc(self) -> float:
        """Mean validation AUC; below any other when the trial failed."""
        return fmean(self.aucs) if self.aucs else float("-inf")


def merged(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """One outcome per network, in order of first appearance: a network may be tried again.

    AUCs follow each other; signals are averaged over the seeds.
    """
    groups: dict[Widths, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.widths, []).append(outcome)
    return [_merge(group) if len(group) > 1 else group[0] for group in groups.values()]


def _merge(group: Sequence[Outcome]) -> Outcome:
    heard = [outcome for outcome in group if not outcome.failed]

    def mean(name: str, part: str) -> float:
        told = [(getattr(o.signals[name], part), len(o.aucs)) for o in heard if name in o.signals]
        return sum(value * n for value, n in told) / sum(n for _, n in told)

    names = dict.fromkeys(name for outcome in heard for name in outcome.signals)
    signals = {n: Signal(*(mean(n, part) for part in SIGNAL_PARTS)) for n in names}
    aucs = tuple(auc for outcome in heard for auc in outcome.aucs)
    failures = sum(outcome.failures or outcome.failed for outcome in group)
    return Outcome(group[0].widths, aucs, group[0].params, signals, failures)


def acceptable(outcome: Outcome, history: Sequence[Outcome], margin: float) -> bool:
    """Whether a trial's AUC is at most `margin` below that of the starting network (trial 0)."""
    return outcome.auc >= history[0].auc - margin


def smallest_acceptable(history: Sequence[Outcome], margin: float) -> Outcome:
    """The trial with the fewest parameters whose AUC is acceptable; trial 0 always is.

    Raises:
        CKRMError: when the starting network itself could not be trained.
    """
    if not history or history[0].failed:
        raise CKRMError("starting network", expected="a finished training", received="none")
    good = [o for o in history if acceptable(o, history, margin)]
    return min(good, key=lambda o: (o.params, -o.auc))
