"""How a network is narrowed: the moves that a proposal chooses from. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

from ckrm_tf.design.axes import Axis, settled
from ckrm_tf.design.design import Design
from ckrm_tf.families.base import Family
from ckrm_tf.tuning.history import Outcome
from ckrm_tf.tuning.rule import Rule

# One small step of levelling.
FINE = 0.9


def covers(wide: Design, narrow: Design) -> bool:
    """Whether `wide` is at least as wide and deep everywhere; an absent stage is the narrowest."""
    return all(wide[name] >= number for name, number in narrow.items())


def adapt(
    design: Design, axes: Sequence[Axis], rule: Rule, new: Callable[[str, int], float]
) -> Design:
    """The design with `new(name, number)` for each number, as near as its axis allows.

    No number grows. Depths stay where the rule leaves them alone. A stage may go, the last may not.
    """
    found = {
        axis.name: number
        if axis.kind == "depth" and not rule.depth
        else axis.fit(new(axis.name, number), number, rule.floor)
        for axis in axes
        for number in (design[axis.name],)
    }
    return settled(found, axes, most=design)


def shrunk(
    parent: Outcome, rule: Rule, step: float, group: Collection[str], axes: Sequence[Axis]
) -> Design:
    """The parent with the numbers of a group lowered by a step, further where redundant."""

    def new(name: str, width: int) -> float:
        if name not in group:
            return width
        return width * max(rule.keep, _needed(parent, rule, name) * step)

    return adapt(parent.design, axes, rule, new)


def levelled(
    parent: Outcome, rule: Rule, step: float, groups: Sequence[frozenset[str]], family: Family
) -> Design:
    """The parent with the parameters that `shrunk` would leave, taken from the heaviest groups.

    Where widths double from stage to stage the last stage has most of the parameters, and as many
    filters too many as the first, if not more. So the group whose halving saves most is lowered a
    little, again and again, until the parameters are down: the early widths, which cost little,
    stay until their turn comes. Redundant widths fall further, as in `shrunk`.
    """
    axes = family.axes

    def params(design: Design) -> int:
        return family.cost(design).params

    target = params(shrunk(parent, rule, step, frozenset().union(*groups), axes))

    def network(factors: Sequence[float]) -> Design:
        share = {name: f for group, f in zip(groups, factors, strict=True) for name in group}

        def new(name: str, width: int) -> float:
            if name not in share:
                return width
            return width * max(rule.keep, _needed(parent, rule, name) * share[name])

        return adapt(parent.design, axes, rule, new)

    def lowered(factors: Sequence[float], index: int, by: float) -> list[float]:
        return [f * by if i == index else f for i, f in enumerate(factors)]

    factors = [1.0 for _ in groups]
    while (now := params(network(factors))) > target:
        halved = [params(network(lowered(factors, i, 0.5))) for i in range(len(groups))]
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


def grown_back(parent: Outcome, child: Outcome, rule: Rule, axes: Sequence[Axis]) -> Design:
    """The lost child with its non-redundant widths half-way back, geometrically.

    What a stage that is absent there has counts as 1: it comes back narrow and shallow.
    """

    def new(name: str, width: int) -> float:
        signal = child.signals.get(name)
        if signal is not None and signal.redundancy > rule.tolerance:
            return child.design[name]
        return math.sqrt(max(1, child.design[name]) * width)

    return adapt(parent.design, axes, rule, new)


def groups_by_redundancy(outcome: Outcome, axes: Sequence[Axis]) -> list[frozenset[str]]:
    """The names of each group of axes, a stage, the most redundant first.

    Where nothing is redundant outright, as after training without a penalty, the finer `excess`
    decides, and between equals the later group, which has more parameters.
    """
    groups: dict[str, list[str]] = {}
    for axis in axes:
        groups.setdefault(axis.group, []).append(axis.name)

    def rank(place: tuple[int, list[str]]) -> tuple[float, float, int]:
        number, names = place
        signals = [outcome.signals[n] for n in names if n in outcome.signals]
        redundancy = max((s.redundancy for s in signals), default=0.0)
        excess = max((s.excess for s in signals), default=0.0)
        return redundancy, round(excess, 2), number

    ranked = sorted(enumerate(groups.values()), key=rank, reverse=True)
    return [frozenset(names) for _, names in ranked]
