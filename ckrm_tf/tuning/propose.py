"""History of a search -> what to do next. Pure: no Keras, no files, no clock, no chance.

The same history gives the same answer, so a search resumes by replaying what is recorded, and any
tuner can host the function.

One network is trained in full, the starting one. Then, where slices can be scored:

1. The measure's own word, the widths that are needed, is the first shape, if its slice holds.
2. From there the way leads down by the scores of mended slices (`descent`), without training.
3. The smallest network of the way whose slice still holds is trained, at a depth that shrinks as
   its widths do. While the AUC holds, the next has half the parameters, or a quarter where nothing
   was lost at all; once it does not, the one half-way back: a bisection along the way.
4. Then the smallest network that holds is the root of a way of its own: its slices are scored and
   its way is bisected as well, until that gives nothing smaller.
5. What is left is tried by the signals alone (`from_signals`), as all of it is where nothing can be
   scored.

One AUC is partly chance: before a network that holds by little is left behind for one that lost,
it is trained with a further seed; the starting network only when the decision hangs on it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from ckrm_tf.design.design import Design
from ckrm_tf.families.base import Family
from ckrm_tf.judge.select import acceptable, lost, parent_of
from ckrm_tf.tuning.answers import Answer, Score, Stop, Train
from ckrm_tf.tuning.descent import Slice, descend
from ckrm_tf.tuning.from_signals import CLEARLY, propose_from_signals
from ckrm_tf.tuning.history import History, Outcome
from ckrm_tf.tuning.moves import adapt, covers
from ckrm_tf.tuning.rule import Rule

# The first network trained is the smallest whose slice loses no more than so many margins.
FIRST_DROP = 2.0
# A bisection ends where the next network would have more than this share of the last one's.
NEAREST = 0.85
# Of the share of parameters: widths enter twice, depths and the second width once each.
DEPTH_POWER = 0.25
# The needed widths as they are; else half-way to them, on a logarithmic scale.
SHAPES = (1.0, 0.5)


def propose(
    history: Sequence[Outcome], rule: Rule, family: Family, running: Collection[Design] = ()
) -> Answer:
    """What to do next.

    Args:
        history: one outcome per network, in order, the starting network's first; a `History` with
            scores where slices can be scored.
        rule: see `Rule`.
        family: what may change, and what a network costs.
        running: networks being trained elsewhere, not to be proposed again.

    Returns:
        `Score`, to be asked again when the scores are in the history; `Train`; or `Stop`.

    Raises:
        CKRMError: when the first trial failed.
    """
    if not history:
        return Stop("the starting network is being trained") if running else Train(family.start)
    if isinstance(history, History) and history.scores is not None:
        answer = _from_scores(history, rule, family, running)
        if answer is not None:
            return answer
        rule = replace(rule, repeats=1)
    design = propose_from_signals(history, rule, family, running)
    return Train(design, "by its signals") if design is not None else Stop("no move is left")


def propose_by_scores(
    history: Sequence[Outcome], rule: Rule, family: Family, running: Collection[Design] = ()
) -> Answer:
    """`propose` without the first shape: what do scores alone find?"""
    bare = [replace(outcome, signals={}) for outcome in history]
    scores = history.scores if isinstance(history, History) else None
    return propose(History(bare, scores), rule, family, running)


def _from_scores(
    history: History, rule: Rule, family: Family, running: Collection[Design]
) -> Score | Train | None:
    """The way from the starting network, then from the smallest that holds; None at their end."""
    start = history[0]
    parent = parent_of(history, rule.margin, rule.penalty)
    doubted = _doubted(parent, history, rule, family)
    if doubted is not None and doubted not in running:
        return Train(doubted, "a further seed")
    for root in dict.fromkeys((start.design, parent.design)):
        answer = _along(root, parent, history, rule, family, running)
        if answer is not None:
            return answer
    return None


def _along(
    root: Design,
    parent: Outcome,
    history: History,
    rule: Rule,
    family: Family,
    running: Collection[Design],
) -> Score | Train | None:
    """The next network of one root's way, the scores that are missing, or None at its end."""
    outcome = next(o for o in history if o.design == root)
    scores = history.scores or {}
    way = descend(root, scores, rule, family, _shapes(outcome, rule, family))
    if way.wanted is not None:
        return way.wanted
    slices = _as_trained(way.slices, rule, family)
    # A training that failed says nothing about the AUC of its network.
    tried = {o.design: acceptable(o, history, rule.margin) for o in history if not o.failed}
    failed = {o.design for o in history if o.failed}
    # What was lost below the smallest that holds on this way bounds the bisection.
    least = min(s.params for s in slices if tried.get(s.design))
    beaten = [s.params for s in slices if s.params < least and tried.get(s.design) is False]
    clearly = [o.design for o in lost(history, CLEARLY * rule.margin)]
    smaller = [s for s in slices if s.params <= NEAREST * parent.params]
    bar = slices[0].score - FIRST_DROP * rule.margin
    held = [s.params for s in smaller if s.score >= bar]
    target = _target(root, parent, history[0], held, beaten, rule)
    left = [
        s
        for s in smaller
        if s.params > max(beaten, default=0)
        and s.design not in tried
        and s.design not in failed
        and s.design not in running
        and not any(covers(wide, s.design) for wide in clearly)
    ]
    if target is None or not left:
        return None
    best = min(left, key=lambda s: abs(math.log(s.params / target)))
    return Train(best.design, f"on the way from {outcome.params:,} parameters")


def _as_trained(slices: Sequence[Slice], rule: Rule, family: Family) -> list[Slice]:
    """The networks that are trained for the slices of a way: depths shrink as widths do.

    A slice does not tell what depth is worth to a network that is trained anew, because nothing
    mends what a block gave. So each depth is taken down by the fourth root of the share of the
    parameters, which is what lowering all widths and depths alike comes to.
    """
    depths = [axis.name for axis in family.axes if axis.kind == "depth"]
    if not rule.depth or not depths:
        return list(slices)
    root, found = slices[0], [slices[0]]
    for place in slices[1:]:
        share = (place.params / root.params) ** DEPTH_POWER
        most = {n: max(1, round(root.design[n] * share)) for n in depths if root.design[n]}
        lower = {n: min(place.design[n], number) for n, number in most.items()}
        design = place.design.replace(lower)
        params = family.cost(design).params
        # A step that comes to the same network, or to a larger one, is none.
        if params < found[-1].params:
            found.append(replace(place, design=design, params=params))
    return found


def _target(
    root: Design,
    parent: Outcome,
    start: Outcome,
    held: Sequence[int],
    beaten: Sequence[int],
    rule: Rule,
) -> float | None:
    """The number of parameters to try next, or None where the bisection is at its end."""
    if beaten:
        target = math.sqrt(parent.params * max(beaten))
        return target if target <= NEAREST * parent.params else None
    if parent.design == root and held:
        return float(min(held))
    # Nothing lost as yet: two steps at once.
    step = rule.bold**2 if parent.below(start) <= 0 else rule.bold
    return step * parent.params


def _shapes(outcome: Outcome, rule: Rule, family: Family) -> list[Design]:
    """What the measure says is needed, and the same half-way."""
    found = []
    for share in SHAPES:

        def new(name: str, width: int, share: float = share) -> float:
            signal = outcome.signals.get(name)
            return width if signal is None else width * max(signal.needed, 0.0) ** share

        shape = adapt(outcome.design, family.axes, replace(rule, depth=False), new)
        if shape != outcome.design:
            found.append(shape)
    return found


def _doubted(
    parent: Outcome, history: Sequence[Outcome], rule: Rule, family: Family
) -> Design | None:
    """A network whose further seed decides, or None.

    The one that lost by less than the margin, while it has one seed alone; the parent, where its
    own AUC holds by less; the start, where either still lies that near after a second seed.
    """
    start = history[0]
    below = [o for o in lost(history, rule.margin) if o.params < parent.params]
    if not below:
        return None
    # On a fold that the start has not seen a further seed tells nothing.
    cap = min(rule.repeats, len(start.folds) + 1) if start.folds else rule.repeats
    most = {below[-1].design: 2, parent.design: cap}
    near = [
        o
        for o in (below[-1], parent)
        if o is not start and abs(o.below(start) - rule.margin) < rule.margin
    ]
    for outcome in near:
        if outcome.tries < min(most[outcome.design], rule.repeats):
            return outcome.design
    again = near and start.tries < min(2, rule.repeats) and not family.given(start.design)
    return start.design if again else None
