"""How a network is narrowed: the moves that a proposal chooses from. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

from ckrm_tf.families.widths import Widths
from ckrm_tf.tuning.history import Outcome
from ckrm_tf.tuning.rule import Rule

# One small step of levelling.
FINE = 0.9


def covers(wide: Widths, narrow: Widths) -> bool:
    """Whether `wide` is at least as wide and deep everywhere."""
    pairs = zip(wide.items(), narrow.items(), strict=True)
    return all(a[1] >= b[1] for a, b in pairs)


def adapt(widths: Widths, rule: Rule, new: Callable[[str, int], float]) -> Widths:
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


def shrunk(parent: Outcome, rule: Rule, step: float, group: Collection[str]) -> Widths:
    """The parent with the widths of a group lowered by a step, further where redundant."""

    def new(name: str, width: int) -> float:
        if name not in group:
            return width
        return width * max(rule.keep, _needed(parent, rule, name) * step)

    return adapt(parent.widths, rule, new)


def levelled(parent: Outcome, rule: Rule, step: float, groups: Sequence[frozenset[str]]) -> Widths:
    """The parent with the parameters that `shrunk` would leave, taken from the heaviest groups.

    Where widths double from stage to stage the last stage has most of the parameters, and as many
    filters too many as the first, if not more. So the group whose halving saves most is lowered a
    little, again and again, until the parameters are down: the early widths, which cost little,
    stay until their turn comes. Redundant widths fall further, as in `shrunk`.
    """
    target = shrunk(parent, rule, step, frozenset().union(*groups)).params()

    def network(factors: Sequence[float]) -> Widths:
        share = {name: f for group, f in zip(groups, factors, strict=True) for name in group}

        def new(name: str, width: int) -> float:
            if name not in share:
                return width
            return width * max(rule.keep, _needed(parent, rule, name) * share[name])

        return adapt(parent.widths, rule, new)

    def lowered(factors: Sequence[float], index: int, by: float) -> list[float]:
        return [f * by if i == index else f for i, f in enumerate(factors)]

    factors = [1.0 for _ in groups]
    while (now := network(factors).params()) > target:
        halved = [network(lowered(factors, i, 0.5)).params() for i in range(len(groups))]
        # A group at its smallest has nothing to give.
        giving = [(p, i) for i, p in enumerate(halved) if p < now and factors[i] > rule.keep]
        if not giving:
            break
        factors = lowered(factors, min(giving)[1], FINE)
    return network(factors)


def _needed(parent: Outcome, rule: Rule, name: str) -> float:
    """The share of kernels that a redundant width needs; 1 where it is not redundant."""
    signal = parent.signals.get(name)
    redundant = signal is not None and signal.redundancy > rule.tolerance
    return signal.needed if signal is not None and redundant else 1.0


def grown_back(parent: Outcome, child: Outcome, rule: Rule) -> Widths:
    """The lost child with its non-redundant widths half-way back, geometrically."""
    before = dict(child.widths.items())

    def new(name: str, width: int) -> float:
        signal = child.signals.get(name)
        if signal is not None and signal.redundancy > rule.tolerance:
            return before[name]
        return math.sqrt(before[name] * width)

    return adapt(parent.widths, rule, new)


def groups_by_redundancy(outcome: Outcome) -> list[frozenset[str]]:
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
