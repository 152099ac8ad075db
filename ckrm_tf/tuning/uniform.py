"""One multiplier on all widths, bisected: the baseline that needs no signal. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from ckrm_tf.families.widths import Widths
from ckrm_tf.tuning.history import Outcome, acceptable, smallest_acceptable
from ckrm_tf.tuning.moves import adapt
from ckrm_tf.tuning.rule import Rule


def propose_uniform(
    history: Sequence[Outcome], rule: Rule, running: Collection[Widths] = ()
) -> Widths | None:
    """One multiplier on all the starting widths, bisected between the last good and first bad.

    The unguided baseline that needs no signal; depth stays as it is.

    Raises:
        CKRMError: when the history is empty or its first trial failed.
    """
    smallest_acceptable(history, rule.margin)  # refuses the histories that `propose` refuses
    start = history[0].widths
    good, bad = 1.0, 0.0
    tried = {outcome.widths for outcome in history} | set(running)
    for outcome in history[1:]:
        multiplier = outcome.widths.stages[-1].out / start.stages[-1].out
        if acceptable(outcome, history, rule.margin):
            good = min(good, multiplier)
        else:
            bad = max(bad, multiplier)
    if bad >= good:
        # A wider network lost what a narrower one kept: chance. Go on from the narrow one.
        bad = 0.0
    multiplier = math.sqrt(good * bad) if bad else good * rule.bold
    widths = adapt(start, Rule(floor=rule.floor, depth=False), lambda _, w: w * multiplier)
    return None if widths in tried else widths
