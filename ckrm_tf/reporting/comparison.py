"""The plain record of a comparison: what each search found after how many trainings. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median

# Trainings after which a table has a column; the budget is the last.
SHOWN = (1, 2, 3, 5, 10, 20, 30, 40, 60, 80, 100)
# The strategy that lambda guides.
GUIDED = "ckrm"


@dataclass(frozen=True)
class Spread:
    """A number over repeats, where None ("never") is above every number.

    Attributes:
        median, low, high: None for "never".
        each: of every repeat.

    Example:
        >>> Spread.of([4, None, 2])
        Spread(median=4, low=2, high=None, each=(4, None, 2))
    """

    median: float | None
    low: float | None
    high: float | None
    each: tuple[float | None, ...]

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread:
        """Median and range; two repeats of which one never arrives have no finite median."""
        each = tuple(values)
        numbers = [math.inf if v is None else v for v in each]
        middle, low, high = (
            value if math.isfinite(value) else None
            for value in (median(numbers), min(numbers), max(numbers))
        )
        return cls(middle, low, high, each)

    def apart(self, other: Spread) -> bool:
        """Whether no value of the one lies within the range of the other."""
        (low, high), (below, above) = (
            [math.inf if v is None else v for v in (s.low, s.high)] for s in (self, other)
        )
        return high < below or above < low


@dataclass(frozen=True)
class Held:
    """The smallest network that holds over new seeds, of what a search had until then.

    Attributes:
        trainings: full ones after which the search is looked at.
        params, macs: trainable parameters and multiply-accumulates of each repeat's network.
    """

    trainings: int
    params: Spread
    macs: Spread


@dataclass(frozen=True)
class Smallest:
    """The smallest network at intact AUC that one repeat has within the budget.

    Attributes:
        training: the number of its training, from 1.
    """

    repeat: int
    text: str
    params: int
    macs: int
    val_auc: float | None
    training: int


@dataclass(frozen=True)
class Strategy:
    """One strategy over its repeats.

    Attributes:
        budget: trainings that it might use.
        trainings: that each repeat had.
        full: the same in units of full ones, by epochs.
        after: parameters of the smallest network at intact AUC by the number of trainings.
        to_target, to_guided: trainings to the target, and to what the guided search has after
            the first ten; None where it was not asked.
        cpu_early: processor time of the first ten trainings, in seconds; "never" for fewer.
        cpu: processor time of all trainings, in seconds.
        held: by the trainings after which it was looked at.
    """

    name: str
    budget: int
    trainings: tuple[int, ...]
    full: tuple[float, ...]
    after: Mapping[int, Spread]
    smallest: tuple[Smallest, ...]
    to_target: Spread | None = None
    to_guided: Spread | None = None
    cpu_early: Spread | None = None
    cpu: Spread | None = None
    held: tuple[Held, ...] = ()

    def after_all(self, trainings: int) -> Spread:
        """Parameters after so many trainings, or at the end of a search that had fewer."""
        return self.after[min(trainings, max(self.after))]


@dataclass(frozen=True)
class Step:
    """One training of one strategy in one repeat.

    Attributes:
        number: 1 for the starting network's first training.
        start_auc: validation AUC of that training.
        acceptable: the network's mean AUC over its trainings is within the margin of the start's.
        best_params: parameters of the smallest acceptable network so far.
        cpu_seconds: processor time of all trainings of the repeat until then.
    """

    strategy: str
    repeat: int
    number: int
    seed: int
    epochs: int
    status: str
    text: str
    params: int
    macs: int
    val_auc: float | None
    start_auc: float | None
    acceptable: bool
    best_params: int
    cpu_seconds: float


@dataclass(frozen=True)
class Comparison:
    """Everything that a comparison found.

    Attributes:
        budget: trainings of every strategy, but for a longer one of random search.
        repeats: finished ones.
        asked: repeats that were asked for.
        epochs: of a full training; shorter ones are no results.
        target: parameters.
        seeds: new ones over which networks must hold; () where that was not asked.
        final: the network that was trained again for the test split, in words.
    """

    budget: int
    repeats: int
    asked: int
    epochs: int
    target: int | None
    strategies: tuple[Strategy, ...]
    steps: tuple[Step, ...] = field(default=(), repr=False)
    seeds: tuple[int, ...] = ()
    final: str | None = None

    @property
    def lead(self) -> Strategy | None:
        """The guided strategy, or the first."""
        named = [s for s in self.strategies if s.name == GUIDED]
        return next(iter([*named, *self.strategies]), None)

    @property
    def columns(self) -> tuple[int, ...]:
        """Numbers of trainings that a table shows."""
        longest = max((s.budget for s in self.strategies), default=self.budget)
        return tuple(sorted({n for n in SHOWN if n < longest} | {self.budget, longest}))
