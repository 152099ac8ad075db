"""History of a search -> what to do next. Pure: no Keras, no files, no clock, no chance.

The same history gives the same answer, so a search resumes by replaying what is recorded, and any
tuner can host the function.

One network is trained in full, the starting one. Then, where slices can be scored:

1. The measure's own word, the widths that are needed, is the first shape, if its slice holds.
2. From there the way leads down by the scores of mended slices (`descent`), without training.
3. The smallest network of the way whose slice still holds is the guess of where the loss of AUC
   reaches what is accepted, and all trainings correct it together (`crossing`): one
   AUC is partly chance and decides nothing alone. The network a little above is trained next, at a
   depth that shrinks as its widths do. Where the first was lost the second is well above: it tells
   what large networks reach. Where no other network is as near, it is a further seed.
4. Once that is settled, or the slices lead no further below what holds, the smallest network that
   holds is the root of a way of its own: its slices are scored and networks along its way are
   trained alike. The slices of a deep network say little of one a hundred times smaller.
5. Once the way of the smallest network that holds is settled too, the search is over.
6. Where a way ends before that, what is left is tried by the signals alone (`from_signals`), as all
   of it is where nothing can be scored.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from ckrm_tf.design.design import Design
from ckrm_tf.families.base import Family
from ckrm_tf.judge.select import lost, parent_of
from ckrm_tf.tuning.answers import Answer, Score, Stop, Train
from ckrm_tf.tuning.crossing import crossing
from ckrm_tf.tuning.descent import Slice, descend
from ckrm_tf.tuning.from_signals import propose_from_signals
from ckrm_tf.tuning.history import History, Outcome
from ckrm_tf.tuning.moves import adapt
from ckrm_tf.tuning.rule import Rule

# The first guess is the smallest network whose slice loses no more than so many margins.
FIRST_DROP = 2.0
# Networks of a way have at most this share of its root's parameters. One that is off by no more
# than this factor is rather trained than a further seed of another.
NEAREST = 0.85
# A step of the way that saves more than this factor has networks put in between.
WIDE = 2.0
# A network that holds takes over as the root where it is so much smaller than the root, and the
# root's slices lead less than that far below it.
SMALLER, REACH = 4.0, 2.0
# How far the scores' guess may be off, and when a way is settled, both in halvings.
GUESS = 1.0
SETTLED = 0.5
# Quantiles of the belief at which networks are trained, the second after a loss and all others.
LEVEL, CAUTIOUS = 0.9, 0.7
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
) -> Answer | None:
    """The way from the starting network, then from the smallest that holds; None at their end."""
    start = history[0]
    parent = parent_of(history, rule.margin, rule.penalty)
    answer = _along(start.design, parent, history, rule, family, running)
    if isinstance(answer, Score | Train):
        return answer
    if parent is start:
        # Where nothing smaller holds the signals may know another shape.
        return None
    answer = _along(parent.design, parent, history, rule, family, running)
    again = parent.design not in running and _free(parent, _seeds(start, rule))
    if isinstance(answer, Stop) and again:
        # It may have been lucky, and then the way is not settled.
        return Train(parent.design, "a further seed")
    return answer


def _along(
    root: Design,
    parent: Outcome,
    history: History,
    rule: Rule,
    family: Family,
    running: Collection[Design],
) -> Answer | None:
    """The next network of one root's way or the scores that are missing.

    `Stop` where the way is settled, None where it ends before that.
    """
    outcome = next(o for o in history if o.design == root)
    scores = history.scores or {}
    way = descend(root, scores, rule, family, _shapes(outcome, rule, family))
    if way.wanted is not None:
        return way.wanted
    slices = _filled(_as_trained(way.slices, rule, family), rule, family)
    places = [s for s in slices if s.params <= NEAREST * outcome.params]
    if not places:
        return None
    guess = _guess(slices, places, rule)
    if SMALLER * parent.params <= outcome.params and REACH * guess > parent.params:
        return None
    known = {o.design: o for o in history}
    trained = [known[s.design] for s in slices if s.design in known]
    others = [o for o in history[1:] if not o.failed]
    belief = crossing(
        history[0],
        others,
        rule.margin,
        most=outcome.params,
        least=places[-1].params,
        guess=guess,
        width=GUESS,
    )
    if len(trained) > 1 and belief.spread < SETTLED:
        return Stop(f"settled: the loss is reached at about {belief.median:,.0f} parameters")

    # A network too small can neither be recommended nor tell what large ones reach. Where the first
    # was lost the second tells that, at a fraction of what a further training of the start costs.
    unlucky = len(others) == 1 and bool(lost([history[0], *others], rule.margin))
    target = belief.quantile(LEVEL if unlucky else CAUTIOUS)

    def far(place: Slice) -> float:
        return abs(math.log(place.params / target))

    seeds = _seeds(history[0], rule)
    free = [s for s in places if s.design not in running and _free(known.get(s.design), seeds)]
    if not free:
        return None
    new = [s for s in free if s.design not in known]
    best = min(free, key=far)
    fresh = min(new, key=far, default=best)
    # Rather another network than a further seed, where one is as near.
    if far(fresh) <= max(far(best), -math.log(NEAREST)):
        best = fresh
    again = best.design in known
    return Train(
        best.design, "a further seed" if again else f"on the way from {outcome.params:,} parameters"
    )


def _seeds(start: Outcome, rule: Rule) -> int:
    """The most seeds of a network: on a fold that the start has not seen one tells nothing."""
    return min(rule.repeats, len(start.folds) or rule.repeats)


def _free(outcome: Outcome | None, seeds: int) -> bool:
    """Whether a network may be trained, or trained with a further seed."""
    return outcome is None or (not outcome.failed and outcome.tries < seeds)


def _guess(slices: Sequence[Slice], places: Sequence[Slice], rule: Rule) -> float:
    """Where the loss is expected to reach what is accepted, before anything is trained."""
    bar = slices[0].score - FIRST_DROP * rule.margin
    return float(min([s.params for s in places if s.score >= bar], default=places[0].params))


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


def _filled(slices: Sequence[Slice], rule: Rule, family: Family) -> list[Slice]:
    """The same with networks in between where a step of the way is wide, as a first shape is."""
    found = [slices[0]]
    for low in slices[1:]:
        high = found[-1]
        number = math.ceil(math.log(high.params / low.params) / math.log(WIDE))
        for share in (i / number for i in range(1, number)):
            design = _between(high.design, low.design, share, rule, family)
            params = family.cost(design).params
            if low.params < params < found[-1].params:
                score = (1 - share) * high.score + share * low.score
                found.append(Slice(design, params, score))
        found.append(low)
    return found


def _between(high: Design, low: Design, share: float, rule: Rule, family: Family) -> Design:
    """A network at so much of the way down, on a logarithmic scale."""

    def number(name: str, _: int) -> float:
        most, least = (math.log(max(design[name], 1)) for design in (high, low))
        return math.exp(most + share * (least - most))

    return adapt(high, family.axes, replace(rule, depth=True), number)


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
