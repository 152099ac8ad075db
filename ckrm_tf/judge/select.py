"""The one rule for the smallest network that holds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ckrm_tf.errors import CKRMError
from ckrm_tf.tuning.history import Outcome

# A network at the edge of the margin on one split is beyond it on another as often as not: the
# search, and the mean over the confirming seeds, keep to this share of the margin.
CONFIRMED_SHARE = 0.5


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


def recommend(
    history: Sequence[Outcome], margin: float, again: Callable[[Outcome], Outcome] | None = None
) -> tuple[Outcome, Outcome]:
    """The starting network, and the smallest that keeps to half the margin, trained again.

    The smallest of many networks that pass is the one chance favoured most, so it is trained
    again, and the starting network too: its one AUC is as much chance. While the mean falls short,
    the next larger network is looked at.

    Args:
        history: one outcome per network; the first is the starting network's.
        margin: loss of AUC that is accepted, the whole of it.
        again: trains a network with the confirming seeds; None takes the history at its word.

    Raises:
        CKRMError: when the starting network could not be trained.
    """
    kept = CONFIRMED_SHARE * margin
    start = history[0] if history else None
    # Nothing to confirm where nothing smaller comes near.
    near = smallest_acceptable(history, margin) is not start
    start = again(history[0]) if again is not None and near else history[0]
    good = [start, *history[1:]]
    while True:
        best = smallest_acceptable(good, kept)
        if again is None or best is start:
            return start, best
        found = again(best)
        if acceptable(found, [start], kept):
            return start, found
        good.remove(best)
