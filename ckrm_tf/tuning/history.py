"""What a proposal sees: the trials so far, each with its AUC and the signals of its widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from ckrm_tf.errors import CKRMError
from ckrm_tf.measure.signal import Signal
from ckrm_tf.widths import Widths


@dataclass(frozen=True)
class Outcome:
    """One finished trial.

    Attributes:
        widths: the network trained.
        aucs: validation AUC of each seed; empty when the trial failed.
        signals: what the criterion said of each width, averaged over the seeds.
        params: trainable parameters.
    """

    widths: Widths
    aucs: tuple[float, ...]
    params: int
    signals: Mapping[str, Signal] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """No seed could be trained."""
        return not self.aucs

    @property
    def auc(self) -> float:
        """Mean validation AUC; below any other when the trial failed."""
        return fmean(self.aucs) if self.aucs else float("-inf")


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
