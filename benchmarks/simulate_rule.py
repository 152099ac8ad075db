"""The proposal against made-up worlds: what its settings do, in seconds instead of days.

    python benchmarks/simulate_rule.py

`propose` is a pure function, so a search needs no training to be played through. In each world
every width has a number of filters that it needs; the AUC falls by `loss` for each halving below
that and by a little for each halving at all, and every training adds chance. At the end the
smallest acceptable network is trained with `confirm` seeds, as the starting network is, and must
keep to half the margin; else the next larger one is looked at. Printed: parameters of what holds,
over the worlds.
"""

from __future__ import annotations

import itertools
import math
import random
from statistics import fmean

import fire

from ckrm_tf.criteria.base import Signal
from ckrm_tf.design.design import Design
from ckrm_tf.families.base import Family
from ckrm_tf.families.resnet import ResNetFamily
from ckrm_tf.families.widths import Widths
from ckrm_tf.judge.select import recommend
from ckrm_tf.tuning.from_signals import propose_from_signals as propose
from ckrm_tf.tuning.history import Outcome
from ckrm_tf.tuning.rule import Rule

MARGIN = 0.02
SHAPE = (48, 48, 1)


class World:
    """Needed filters per width, and the AUC of any network: the truth and one draw."""

    def __init__(self, family: Family, seed: int, loss: float, noise: float) -> None:
        self.random, self.loss, self.noise = random.Random(seed), loss, noise
        self.most = {axis.name: axis.size for axis in family.axes if axis.kind == "width"}
        self.need = {n: math.exp(self.random.uniform(math.log(4), math.log(20))) for n in self.most}

    def truth(self, design: Design) -> float:
        """The AUC without chance."""
        # An absent stage counts as one filter at each place.
        below = sum(max(0.0, math.log2(self.need[n] / (design[n] or 1))) for n in self.need)
        halvings = sum(math.log2(most / (design[n] or 1)) for n, most in self.most.items())
        return 0.915 - self.loss * below - 0.0006 * halvings

    def train(self, design: Design) -> float:
        """The AUC of one training."""
        return self.truth(design) + self.random.gauss(0, self.noise)

    def signals(self, design: Design) -> dict[str, Signal]:
        """Redundant is what has eight times the filters it needs."""
        loud = {n: design[n] > 8 * need for n, need in self.need.items() if design[n]}
        return {
            n: Signal(0.3 if much else 0.0, 0.6 if much else 1.0, self.random.gauss(0, 0.02))
            for n, much in loud.items()
        }


def search(family: Family, world: World, rule: Rule, trials: int, confirm: int) -> tuple[int, int]:
    """Parameters of what holds, and the trainings that it took."""
    aucs: dict[Design, list[float]] = {}
    signals: dict[Design, dict[str, Signal]] = {}

    def outcome(design: Design) -> Outcome:
        params = family.cost(design).params
        return Outcome(design, tuple(aucs[design]), params, signals[design])

    for _ in range(trials):
        design = propose([*map(outcome, aucs)], rule, family) if aucs else family.start
        if design is None:
            break
        signals.setdefault(design, world.signals(design))
        aucs.setdefault(design, []).append(world.train(design))

    def again(found: Outcome) -> Outcome:
        while len(aucs[found.design]) < confirm:
            aucs[found.design].append(world.train(found.design))
        return outcome(found.design)

    held = recommend([*map(outcome, aucs)], MARGIN, again)[1]
    return held.params, sum(len(a) for a in aucs.values())


def main(
    worlds: int = 150, trials: int = 20, confirm: int = 3, loss: float = 0.01, noise: float = 0.013
) -> None:
    """Print the table.

    Args:
        worlds: how many.
        trials: of each search.
        confirm: seeds at the end.
        loss: AUC for each halving of a width below its need.
        noise: standard deviation of a network's AUC from seed to seed.
    """
    family = ResNetFamily(Widths.from_rule(32, 2.0, (1, 1, 1, 1)), SHAPE)
    print(f"{worlds} worlds, {trials} trials, from {family.describe(family.start)}")
    print(
        f"{'level':>8}{'margin':>8}{'repeats':>9}{'median':>12}{'75%':>12}{'90%':>12}{'trainings':>11}"
    )
    for level, margin in itertools.product((False, True), (MARGIN, MARGIN / 2)):
        for repeats in (1, 2, 3):
            rule = Rule(margin=margin, repeats=repeats, level=level)
            found = [
                search(family, World(family, seed, loss, noise), rule, trials, confirm)
                for seed in range(worlds)
            ]
            params = sorted(p for p, _ in found)
            spots = (params[int(q * worlds)] for q in (0.5, 0.75, 0.9))
            row = "".join(f"{p:>12,}" for p in spots)
            print(
                f"{level!s:>8}{margin:>8}{repeats:>9}{row}{fmean(n for _, n in found):>11.1f}",
                flush=True,
            )


if __name__ == "__main__":
    fire.Fire(main)
