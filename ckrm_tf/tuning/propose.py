"""History of a search -> the next widths. Pure: no Keras, no files, no clock, no chance.

The same history gives the same proposal, so a search resumes by replaying its journal, and any
tuner can host the function.

The rule, from the smallest acceptable network so far (the parent):

1. Shrink every width by the bold step (lambda = 0 with the AUC intact means "go on"), and where
   there is redundancy, by the share that the signal says is needed on top of it.
2. When that lost AUC, keep one stage as it is and shrink the others, the least redundant stage
   first: it is the likeliest to be what is missing, and early stages cost few parameters.
3. Look at the network that lost it: widths still redundant there are not what is missing and
   stay small; the others grow back half the way.
4. Shrink one stage alone, the most redundant first; then all of this by gentler steps.

5. One AUC is partly chance: before anything is made of what a child lost, the parent is trained
   with further seeds, and so is the starting network that both are held against. Widths that are in
   the history already ask for that.

A move is skipped when it saves too little to be worth a training, or when a network at least as
wide everywhere has clearly lost the AUC, by twice the margin: a smaller loss may be the seed's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ckrm_tf.errors import CKRMError
from ckrm_tf.tuning.history import Outcome, acceptable, smallest_acceptable
from ckrm_tf.widths import Widths

# A loss of so many margins is no longer put down to chance.
CLEARLY = 2.0


@dataclass(frozen=True, slots=True)
class Rule:
    """The settings of a proposal.

    Attributes:
        margin: largest acceptable loss of validation AUC against trial 0.
        bold: factor on every width while the AUC holds.
        gentle: factors to try after the bold one has failed, in this order.
        keep: smallest share of a width that one step keeps, however redundant it is.
        tolerance: redundancy up to this counts as none.
        least: smallest share of the parent's parameters that a move must save.
        floor: smallest width.
        depth: shrink blocks per stage too.
        repeats: seeds that the parent, and the starting network, are trained with once a child has
            lost the AUC; 1 takes every AUC at its word.
    """

    margin: float = 0.02
    bold: float = 0.5
    gentle: tuple[float, ...] = (0.7, 0.84)
    keep: float = 0.25
    tolerance: float = 0.01
    least: float = 0.1
    floor: int = 4
    depth: bool = True
    repeats: int = 3

    def __post_init__(self) -> None:
        for step in (self.bold, self.keep, *self.gentle):
            if not 0 < step < 1:
                raise CKRMError("rule: a step", expected="a factor between 0 and 1", received=step)
        if not self.margin >= 0 or min(self.floor, self.repeats) < 1:
            raise CKRMError(
                "rule", expected="margin >= 0, floor >= 1 and repeats >= 1", received=self
            )


class Strategy(Protocol):
    """Anything that maps a history to the next widths, or None when it has nothing left."""

    def __call__(
        self, history: Sequence[Outcome], rule: Rule, running: Collection[Widths] = ()
    ) -> Widths | None:
        """The next widths to try."""


def propose(
    history: Sequence[Outcome], rule: Rule, running: Collection[Widths] = ()
) -> Widths | None:
    """The next widths, or None when every move from the best network has been tried.

    Args:
        history: one outcome per network, in order; the first is the starting network's.
        rule: see `Rule`.
        running: networks being trained elsewhere, not to be proposed again.

    Raises:
        CKRMError: when the history is empty or its first trial failed.
    """
    parent = smallest_acceptable(history, rule.margin)
    tried = {outcome.widths for outcome in history} | set(running)
    # A training that failed says nothing about the AUC of narrower networks.
    lost = [o for o in history if not o.failed and not acceptable(o, history, rule.margin)]
    enough = (1 - rule.least) * parent.widths.params()
    doubted = _doubted(parent, history[0], lost, rule)
    if doubted is not None and doubted not in running:
        return doubted
    clearly = [o for o in lost if not acceptable(o, history, CLEARLY * rule.margin)]
    for widths in _moves(parent, lost, rule):
        hopeless = any(_covers(outcome.widths, widths) for outcome in clearly)
        if widths not in tried and not hopeless and widths.params() <= enough:
            return widths
    return None


def _doubted(parent: Outcome, start: Outcome, lost: Sequence[Outcome], rule: Rule) -> Widths | None:
    """The parent, or the start while it has fewer seeds, when a child lost and seeds are left."""
    fewer = start if _tries(start) < _tries(parent) else parent
    if _tries(fewer) >= rule.repeats:
        return None
    lost_child = any(_covers(parent.widths, child.widths) for child in lost)
    return fewer.widths if lost_child else None


def _tries(outcome: Outcome) -> int:
    # A seed that fails is not asked for without end.
    return len(outcome.aucs) + outcome.failures


def _moves(parent: Outcome, lost: Sequence[Outcome], rule: Rule) -> Iterator[Widths]:
    """Candidate networks, the most promising first."""
    groups = _groups_by_redundancy(parent)
    everything = frozenset().union(*groups)
    children = [child for child in lost if _covers(parent.widths, child.widths)]
    for step in (rule.bold, *rule.gentle):
        yield _shrunk(parent, rule, step, everything)
        for kept in reversed(groups):
            yield _shrunk(parent, rule, step, everything - kept)
        if children:
            yield _grown_back(parent, children[-1], rule)
        for group in groups:
            yield _shrunk(parent, rule, step, group)


def _covers(wide: Widths, narrow: Widths) -> bool:
    """Whether `wide` is at least as wide and deep everywhere."""
    pairs = zip(wide.items(), narrow.items(), strict=True)
    return all(a[1] >= b[1] for a, b in pairs)


def _adapt(widths: Widths, rule: Rule, new: Callable[[str, int], float]) -> Widths:
    """Widths with `new(name, width)` for each number, rounded, within [floor, width]."""
    items = {}
    for name, width in widths.items():
        is_depth = name.endswith("/blocks")
        if is_depth and not rule.depth:
            items[name] = width
            continue
        least = 1 if is_depth else min(rule.floor, width)
        items[name] = max(least, min(width, round(new(name, width))))
    return Widths.from_items(items)


def _shrunk(parent: Outcome, rule: Rule, step: float, group: frozenset[str]) -> Widths:
    """The parent with the widths of a group lowered by a step, further where redundant."""

    def new(name: str, width: int) -> float:
        if name not in group:
            return width
        signal = parent.signals.get(name)
        redundant = signal is not None and signal.redundancy > rule.tolerance
        needed = signal.needed if signal is not None and redundant else 1.0
        return width * max(rule.keep, needed * step)

    return _adapt(parent.widths, rule, new)


def _grown_back(parent: Outcome, child: Outcome, rule: Rule) -> Widths:
    """The lost child with its non-redundant widths half-way back, geometrically."""
    before = dict(child.widths.items())

    def new(name: str, width: int) -> float:
        signal = child.signals.get(name)
        if signal is not None and signal.redundancy > rule.tolerance:
            return before[name]
        return math.sqrt(before[name] * width)

    return _adapt(parent.widths, rule, new)


def _groups_by_redundancy(outcome: Outcome) -> list[frozenset[str]]:
    """The widths of each stage (the stem belongs to the first), the most redundant stage first.

    Where nothing is redundant outright, as after training without a penalty, the finer `excess`
    decides, and between equals the later stage, which has more parameters.
    """
    groups: dict[str, list[str]] = {}
    for name, _ in outcome.widths.items():
        stage = name.partition("/")[0]
        groups.setdefault("stage1" if stage == "stem" else stage, []).append(name)

    def rank(stage: str) -> tuple[float, float, str]:
        signals = [outcome.signals[n] for n in groups[stage] if n in outcome.signals]
        redundancy = max((s.redundancy for s in signals), default=0.0)
        excess = max((s.excess for s in signals), default=0.0)
        return redundancy, round(excess, 2), stage

    return [frozenset(groups[stage]) for stage in sorted(groups, key=rank, reverse=True)]


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
    widths = _adapt(start, Rule(floor=rule.floor, depth=False), lambda _, w: w * multiplier)
    return None if widths in tried else widths
