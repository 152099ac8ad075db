"""The next design from AUCs and signals alone: for hosts that cannot score slices. Pure.

The rule, from the smallest acceptable network so far (the parent):

1. Take parameters away, as many as halving every width would (lambda = 0 with the AUC intact means
   "go on"), from the heaviest stages first; where there is redundancy, narrow to the share that the
   signal says is needed on top of it.
2. When that lost AUC, keep one stage as it is and take from the others, the least redundant stage
   first: it is the likeliest to be what is missing.
3. Look at the network that lost it: widths still redundant there are not what is missing and
   stay small; the others grow back half the way.
4. Shrink one stage alone, the most redundant first; then all of this by gentler steps.

5. One AUC is partly chance: before anything is made of what a child lost, the parent is trained
   with further seeds, and so is the starting network that both are held against. A design that is
   in the history already asks for that.

A move is skipped when it saves too little to be worth a training, or when a network at least as
wide everywhere has clearly lost the AUC, by twice the margin: a smaller loss may be the seed's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ckrm_tf.design.design import Design
from ckrm_tf.families.base import Family
from ckrm_tf.judge.select import lost, parent_of
from ckrm_tf.tuning.history import Outcome
from ckrm_tf.tuning.moves import covers, groups_by_redundancy, grown_back, levelled, shrunk
from ckrm_tf.tuning.rule import Rule

# A loss of so many margins is no longer put down to chance.
CLEARLY = 2.0


def propose_from_signals(
    history: Sequence[Outcome], rule: Rule, family: Family, running: Collection[Design] = ()
) -> Design | None:
    """The next design, or None when every move from the best network has been tried.

    Args:
        history: one outcome per network, in order; the first is the starting network's.
        rule: see `Rule`.
        family: what may change, and what a network costs.
        running: networks being trained elsewhere, not to be proposed again.

    Raises:
        CKRMError: when the history is empty or its first trial failed.
    """
    parent = parent_of(history, rule.margin, rule.penalty)
    tried = {outcome.design for outcome in history} | set(running)
    below = lost(history, rule.margin)
    enough = (1 - rule.least) * family.cost(parent.design).params
    doubted = _doubted(parent, history[0], below, rule)
    if doubted is not None and doubted not in running and not family.given(doubted):
        return doubted
    clearly = lost(history, CLEARLY * rule.margin)
    for design in _moves(parent, below, rule, family):
        hopeless = any(covers(outcome.design, design) for outcome in clearly)
        if design not in tried and not hopeless and family.cost(design).params <= enough:
            return design
    return None


def _doubted(
    parent: Outcome, start: Outcome, below: Sequence[Outcome], rule: Rule
) -> Design | None:
    """The parent, or the start while it has fewer seeds, when a child lost and seeds are left."""
    fewer = start if start.tries < parent.tries else parent
    if fewer.tries >= rule.repeats:
        return None
    lost_child = any(covers(parent.design, child.design) for child in below)
    return fewer.design if lost_child else None


def _moves(
    parent: Outcome, below: Sequence[Outcome], rule: Rule, family: Family
) -> Iterator[Design]:
    """Candidate networks, the most promising first."""
    groups = groups_by_redundancy(parent, family.axes)
    children = [child for child in below if covers(parent.design, child.design)]
    for step in (rule.bold, *rule.gentle):
        yield _narrowed(parent, rule, step, groups, family)
        for kept in reversed(groups):
            others = [group for group in groups if group != kept]
            yield _narrowed(parent, rule, step, others, family)
        if children:
            yield grown_back(parent, children[-1], rule, family.axes)
        for group in groups:
            yield shrunk(parent, rule, step, group, family.axes)


def _narrowed(
    parent: Outcome, rule: Rule, step: float, groups: Sequence[frozenset[str]], family: Family
) -> Design:
    if rule.level:
        return levelled(parent, rule, step, groups, family)
    return shrunk(parent, rule, step, frozenset().union(*groups), family.axes)
