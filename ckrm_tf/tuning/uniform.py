"""One multiplier on all widths, bisected: the baseline that needs no signal. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from ckrm_tf.design.design import Design
from ckrm_tf.families.base import Family
from ckrm_tf.judge.select import acceptable, smallest_acceptable
from ckrm_tf.tuning.history import Outcome
from ckrm_tf.tuning.moves import adapt
from ckrm_tf.tuning.rule import Rule


def propose_uniform(
    history: Sequence[Outcome], rule: Rule, family: Family, running: Collection[Design] = ()
) -> Design | None:
    """One multiplier on all the starting widths, bisected between the last good and first bad.

    The unguided baseline that needs no signal; depth stays as it is.

    Raises:
        CKRMError: when the history is empty or its first trial failed.
    """
    smallest_acceptable(history, rule.margin)  # refuses the histories that `propose` refuses
    start = history[0].design
    widths = [axis.name for axis in family.axes if axis.kind == "width"]
    # The multiplier of a network is read off the last of its widths, usually the largest.
    last = [name for name in widths if start[name]][-1]
    good, bad = 1.0, 0.0
    tried = {outcome.design for outcome in history} | set(running)
    for outcome in history[1:]:
        multiplier = outcome.design[last] / start[last]
        if acceptable(outcome, history, rule.margin):
            good = min(good, multiplier)
        else:
            bad = max(bad, multiplier)
    if bad >= good:
        # A wider network lost what a narrower one kept: chance. Go on from the narrow one.
        bad = 0.0
    multiplier = math.sqrt(good * bad) if bad else good * rule.bold
    only_widths = Rule(floor=rule.floor, depth=False)
    design = adapt(start, family.axes, only_widths, lambda _, width: width * multiplier)
    return None if design in tried else design
