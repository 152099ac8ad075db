"""The one rule for the smallest network that holds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ckrm_tf.errors import CKRMError
from ckrm_tf.tuning.history import Outcome

# A network at the edge of the margin on one split is beyond it on another as often as not: the
# search, and the mean over the confirming seeds, keep to this share of the margin.
CONFIRMED_SHARE = 0.5
# Networks count as equally large up to this factor.
NEARLY_EQUAL = 1.1
# An AUC of the start below which "not worse than the start" says nothing.
LEARNED = 0.6


def acceptable(outcome: Outcome, history: Sequence[Outcome], margin: float) -> bool:
    """Whether a trial's AUC is at most `margin` below that of the starting network (trial 0)."""
    return outcome.below(history[0]) <= margin


def lost(history: Sequence[Outcome], margin: float) -> list[Outcome]:
    """The networks that were trained and are not acceptable.

    A training that failed says nothing about the AUC of its network.
    """
    return [o for o in history if not o.failed and not acceptable(o, history, margin)]


def smallest_acceptable(history: Sequence[Outcome], margin: float) -> Outcome:
    """The trial with the fewest parameters whose AUC is acceptable; trial 0 always is.

    Raises:
        CKRMError: when the starting network itself could not be trained.
    """
    if not history or history[0].failed:
        raise CKRMError("starting network", expected="a finished training", received="none")
    good = [o for o in history if acceptable(o, history, margin)]
    return min(good, key=lambda o: (o.params, -o.auc))


def parent_of(history: Sequence[Outcome], margin: float, penalty: float) -> Outcome:
    """The network that the next ones are made from.

    Of the acceptable networks of nearly the smallest size the one with the best objective
    (`Outcome.objective`).

    Raises:
        CKRMError: as `smallest_acceptable`.
    """
    smallest = smallest_acceptable(history, margin)
    near = [
        o
        for o in history
        if acceptable(o, history, margin) and o.params <= NEARLY_EQUAL * smallest.params
    ]
    return max(near, key=lambda o: (o.objective(penalty, history[0]), -o.params))


def recommend(
    history: Sequence[Outcome],
    margin: float,
    again: Callable[[Outcome], Outcome] | None = None,
    start_again: Callable[[Outcome], Outcome] | None = None,
) -> tuple[Outcome, Outcome]:
    """The starting network, and the smallest that keeps to half the margin, trained again.

    The smallest of many networks that pass is the one chance favoured most, so it is trained
    again. The starting network costs most to train, and is trained again only where the decision
    hangs on it: where a mean lies within half the margin of what is accepted. While the mean falls
    short, the next larger network is looked at.

    Args:
        history: one outcome per network; the first is the starting network's.
        margin: loss of AUC that is accepted, the whole of it.
        again: trains a network with the confirming seeds; None takes the history at its word.
        start_again: the same of the starting network, where it has one training; None never.

    Raises:
        CKRMError: when the starting network could not be trained.
    """
    kept = CONFIRMED_SHARE * margin
    smallest_acceptable(history, margin)
    start, good = history[0], list(history)
    while True:
        best = smallest_acceptable([start, *good[1:]], kept)
        if again is None or best is start:
            # Where nothing smaller holds by little, the start's own AUC may be to blame.
            near = smallest_acceptable([start, *good[1:]], margin)
            if again is None or near is start or start_again is None or len(start.aucs) > 1:
                return start, best
            start, start_again = start_again(start), None
            continue
        found = again(best)
        hangs = abs(found.below(start) - kept) < kept
        if hangs and start_again is not None and len(start.aucs) == 1:
            start, start_again = start_again(start), None
        if acceptable(found, [start], kept):
            return start, found
        good.remove(best)
