"""A whole search in made-up worlds: scores, trainings and what holds, in seconds instead of days.

    python benchmarks/simulate_search.py [--worlds 24] [--trials 10] [--noise .012] [--spare .25]

`propose` is a pure function, so a search needs no training to be played through. In each world
every width has a number of filters that it needs, and some stages (`spare`) are not needed at all.
The AUC of a network falls by `loss` for each halving of a width below that, differs by chance from
what its widths tell (`own`), and each training scatters (`noise`). The score of a slice falls
faster and scatters too. At the end, from the smallest that is acceptable upwards, each network is
trained with three new seeds until the mean of one keeps to half the margin below the start's mean
over eight, as in `search.compare --hold 3`.
Printed: parameters of what holds over the worlds, quantiles and geometric mean, and the true loss
of what holds, which no training shows.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace
from statistics import fmean

import fire

from ckrm_tf.criteria.base import Signal
from ckrm_tf.design.cost import Cost
from ckrm_tf.design.design import Design
from ckrm_tf.families.resnet import ResNetFamily
from ckrm_tf.families.widths import Widths
from ckrm_tf.judge.select import recommend
from ckrm_tf.tuning.answers import Score, Stop
from ckrm_tf.tuning.history import History, Outcome, merged
from ckrm_tf.tuning.registry import STRATEGIES, strategy
from ckrm_tf.tuning.rule import Rule, Strategy

HALF_MARGIN = 0.01
RULE = Rule(margin=HALF_MARGIN, repeats=3, penalty=0.02)
SHAPE, CLASSES, HOLD, STARTS = (48, 48, 1), 3, 3, 8


class Remembering(ResNetFamily):
    """The family of the search; a network is priced once."""

    def __init__(self, widths: Widths) -> None:
        super().__init__(widths, SHAPE, CLASSES)
        self._costs: dict[Design, Cost] = {}

    def cost(self, design: Design) -> Cost:
        """See `Family`."""
        if design not in self._costs:
            self._costs[design] = super().cost(design)
        return self._costs[design]


class World:
    """Needed filters per width, the AUC of any network and the score of any slice."""

    def __init__(
        self, family: Remembering, seed: int, loss: float, own: float, noise: float, spare: float
    ) -> None:
        self.family, self.seed = family, seed
        self.loss, self.own, self.noise = loss, own, noise
        self.random = random.Random(seed)
        self.most = {axis.name: axis.size for axis in family.axes if axis.kind == "width"}
        self.need = {
            name: most * math.exp(self.random.uniform(math.log(1 / 32), math.log(1 / 3)))
            for name, most in self.most.items()
        }
        chance = random.Random(repr((seed, "spare")))
        stages = {axis.group for axis in family.axes if axis.kind == "depth"}
        gone = {stage for stage in sorted(stages) if chance.random() < spare}
        for axis in family.axes:
            if axis.within and axis.group in gone and len(gone) < len(stages):
                self.need[axis.name] = 1.0

    def _missing(self, design: Design) -> float:
        return sum(max(0.0, math.log2(n / max(1, design[k]))) for k, n in self.need.items())

    def _of(self, design: Design, what: str) -> random.Random:
        return random.Random(repr((self.seed, what, design)))

    def truth(self, design: Design) -> float:
        """The AUC without the chance of a training."""
        chance = 0.0 if design == self.family.start else self._of(design, "own").gauss(0, self.own)
        return 0.92 - self.loss * self._missing(design) + chance

    def train(self, design: Design) -> float:
        """The AUC of one training."""
        return self.truth(design) + self.random.gauss(0, self.noise)

    def score(self, design: Design) -> float:
        """What a slice of the start scores."""
        chance = self._of(design, "score").gauss(0, 0.004)
        return max(0.5, 0.89 - 3 * self.loss * self._missing(design) + chance)

    def outcome(self, design: Design, *aucs: float) -> Outcome:
        """What is told of a network."""
        needed = {n: min(1.0, self.need[n] / design[n]) for n in self.most if design[n]}
        signals = {name: Signal(0.1, share, 0.0) for name, share in needed.items()}
        return Outcome(design, aucs, self.family.cost(design).params, signals)


class EveryScore(dict[tuple[Design, Design], float]):
    """Scores that are there as soon as they are looked up: a search never has to ask for any."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def __contains__(self, key: object) -> bool:
        return True

    def __bool__(self) -> bool:
        return True

    def __missing__(self, key: tuple[Design, Design]) -> float:
        self[key] = self.world.score(key[1])
        return self[key]


def search(world: World, propose: Strategy, trials: int, scored: bool) -> list[Outcome]:
    """The networks of one search, the starting one first."""
    found: list[Outcome] = []
    scores = EveryScore(world) if scored else None
    while len(found) < trials:
        history = History(merged(found), scores)
        answer = propose(history, RULE, world.family) if found else world.family.start
        if answer is None or isinstance(answer, Stop | Score):
            break
        design = answer if isinstance(answer, Design) else answer.design
        found.append(world.outcome(design, world.train(design)))
    return merged(found)


def held(world: World, history: list[Outcome]) -> Design:
    """The smallest network that keeps to half the margin over new seeds, the start if none does."""

    def again(outcome: Outcome, seeds: int = HOLD) -> Outcome:
        return replace(outcome, aucs=tuple(world.train(outcome.design) for _ in range(seeds)))

    start = again(history[0], STARTS)
    return recommend([start, *history[1:]], 2 * HALF_MARGIN, again)[1].design


def main(
    worlds: int = 24,
    trials: int = 10,
    loss: float = 0.004,
    own: float = 0.005,
    noise: float = 0.012,
    spare: float = 0.25,
    strategies: str = "ckrm,signals",
) -> None:
    """Print the table.

    Args:
        worlds: how many.
        trials: of each search.
        loss: AUC for each halving of a width below its need.
        own: standard deviation of what a network's widths do not tell.
        noise: standard deviation of a network's AUC from seed to seed.
        spare: the chance that a stage is not needed.
        strategies: those that are played, with commas between.
    """
    family = Remembering(Widths.from_rule(32, 2.0, (1, 1, 1, 1)))
    print(f"{worlds} worlds, {trials} trials, noise {noise}, from {family.describe(family.start)}")
    heads = ("25%", "median", "75%", "90%", "mean", "true loss", "of .02", "trainings")
    print(f"{'':>10}" + "".join(f"{head:>11}" for head in heads))
    names = strategies if isinstance(strategies, tuple | list) else strategies.split(",")
    for name in names:
        params, losses, numbers = [], [], []
        for seed in range(worlds):
            world = World(family, seed, loss, own, noise, spare)
            history = search(world, strategy(name, seed), trials, STRATEGIES[name].scored)
            best = held(world, history)
            params.append(family.cost(best).params)
            losses.append(world.truth(family.start) - world.truth(best))
            numbers.append(sum(outcome.tries for outcome in history))
        params.sort()
        spots = [params[int(share * worlds)] for share in (0.25, 0.5, 0.75, 0.9)]
        spots.append(round(math.exp(fmean(math.log(n) for n in params))))
        row = "".join(f"{n:>11,}" for n in spots)
        beyond = sum(lost > 2 * HALF_MARGIN for lost in losses)
        print(
            f"{name:>10}{row}{fmean(losses):>11.4f}{beyond:>11}{fmean(numbers):>11.1f}", flush=True
        )


if __name__ == "__main__":
    fire.Fire(main)
