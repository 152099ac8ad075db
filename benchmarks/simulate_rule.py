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
from ckrm_tf.families.widths import Widths
from ckrm_tf.tuning.history import Outcome
from ckrm_tf.tuning.propose import propose
from ckrm_tf.tuning.rule import Rule

MARGIN = 0.02
SHAPE = (48, 48, 1)


class World:
    """Needed filters per width, and the AUC of any network: the truth and one draw."""

    def __init__(self, start: Widths, seed: int, loss: float, noise: float) -> None:
        self.random, self.loss, self.noise = random.Random(seed), loss, noise
        self.most = {n: w for n, w in start.items() if not n.endswith("/blocks")}
        self.need = {n: math.exp(self.random.uniform(math.log(4), math.log(20))) for n in self.most}

    def truth(self, widths: Widths) -> float:
        """The AUC without chance."""
        given = dict(widths.items())
        below = sum(max(0.0, math.log2(self.need[n] / given[n])) for n in self.need)
        halvings = sum(math.log2(most / given[n]) for n, most in self.most.items())
        return 0.915 - self.loss * below - 0.0006 * halvings

    def train(self, widths: Widths) -> float:
        """The AUC of one training."""
        return self.truth(widths) + self.random.gauss(0, self.noise)

    def signals(self, widths: Widths) -> dict[str, Signal]:
        """Redundant is what has eight times the filters it needs."""
        given = dict(widths.items())
        loud = {n: given[n] > 8 * need for n, need in self.need.items()}
        return {
            n: Signal(0.3 if much else 0.0, 0.6 if much else 1.0, self.random.gauss(0, 0.02))
            for n, much in loud.items()
        }


def search(start: Widths, world: World, rule: Rule, trials: int, confirm: int) -> tuple[int, int]:
    """Parameters of what holds, and the trainings that it took."""
    aucs: dict[Widths, list[float]] = {}
    signals: dict[Widths, dict[str, Signal]] = {}
    for _ in range(trials):
        history = [Outcome(w, tuple(a), w.params(SHAPE), signals[w]) for w, a in aucs.items()]
        widths = propose(history, rule) if history else start
        if widths is None:
            break
        signals.setdefault(widths, world.signals(widths))
        aucs.setdefault(widths, []).append(world.train(widths))

    def confirmed(widths: Widths) -> float:
        while len(aucs[widths]) < confirm:
            aucs[widths].append(world.train(widths))
        return fmean(aucs[widths])

    bar = fmean(aucs[start]) - rule.margin
    good = sorted((w for w in aucs if fmean(aucs[w]) >= bar), key=lambda w: w.params())
    held = start
    if good[0] != start:
        reference = confirmed(start)
        held = next((w for w in good if confirmed(w) >= reference - MARGIN / 2), start)
    return held.params(SHAPE), sum(len(a) for a in aucs.values())


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
    start = Widths.from_rule(32, 2.0, (1, 1, 1, 1))
    print(f"{worlds} worlds, {trials} trials, from {start}")
    print(
        f"{'level':>8}{'margin':>8}{'repeats':>9}{'median':>12}{'75%':>12}{'90%':>12}{'trainings':>11}"
    )
    for level, margin in itertools.product((False, True), (MARGIN, MARGIN / 2)):
        for repeats in (1, 2, 3):
            rule = Rule(margin=margin, repeats=repeats, level=level)
            found = [
                search(start, World(start, seed, loss, noise), rule, trials, confirm)
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
