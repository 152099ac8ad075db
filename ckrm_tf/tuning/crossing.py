"""How small a network may be, from AUCs that are partly chance: a probabilistic bisection. Pure.

Along a way every network is a part of the one before, so the loss of AUC against the starting
network falls with size: 0 down to some size, then a straight line over the logarithm of the
parameters. Networks of other ways are taken to lose as much at their size. Where the line crosses
the accepted loss, how steep it is there, the start's true AUC and the scatter of trainings are
unknown; every training tells something of all four. One training that was unlucky then moves the
guess by as much as it should, and no more (Waeber, Frazier, Henderson, "Bisection search with noisy
responses", SIAM J. Control Optim. 51, 2013).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from ckrm_tf.tuning.history import Outcome

if TYPE_CHECKING:
    import numpy as np

# Loss for each halving of the parameters, as a share of the accepted loss.
SLOPES = (0.25, 0.5, 1.0, 2.0)
# Standard deviations of one training's AUC. A tenth of the trainings scatter three times as much.
SCATTER = (0.006, 0.012, 0.02)
WILD, WIDER = 0.1, 3.0
# Steps of the crossing, in halvings of the parameters, and of the start's AUC, in its own scatter.
STEP = 1 / 8
LEVELS = tuple(n / 4 for n in range(-10, 11))


@dataclass(frozen=True)
class Crossing:
    """What is believed of the number of parameters at which the accepted loss is reached.

    Attributes:
        params: numbers of parameters, falling.
        chances: of each, summing to 1.
    """

    params: tuple[float, ...]
    chances: tuple[float, ...]

    @property
    def median(self) -> float:
        """Half of the belief lies below it."""
        return self.quantile(0.5)

    @property
    def spread(self) -> float:
        """Between the quartiles, in halvings of the parameters."""
        return math.log2(self.quantile(0.75) / self.quantile(0.25))

    def quantile(self, share: float) -> float:
        """So much of the belief lies below it."""
        rising = list(accumulate(reversed(self.chances)))
        return self.params[::-1][min(bisect_left(rising, share), len(rising) - 1)]


def crossing(
    start: Outcome,
    others: Sequence[Outcome],
    margin: float,
    most: float,
    least: float,
    guess: float,
    width: float,
) -> Crossing:
    """What trainings tell of the crossing.

    Args:
        start: the starting network's outcome.
        others: those of other networks, along the way or not: size is what counts.
        margin: the accepted loss of AUC.
        most: parameters of the largest network that may be the crossing.
        least: of the smallest.
        guess: parameters at which it is expected.
        width: how far off the guess may well be, in halvings.
    """
    import numpy as np  # noqa: PLC0415 - what proposes without trainings needs no array

    count = 2 + math.ceil(math.log2(most / least) / STEP)
    places = math.log2(most) - STEP * np.arange(count)
    # Cauchy's density: a guess that is far off gives way to what trainings say.
    belief = -np.log1p(((places - math.log2(guess)) / width) ** 2)
    # Axes: crossing, slope, scatter, the start's AUC.
    slope = margin * np.array(SLOPES)[None, :, None, None]
    scatter = np.array(SCATTER)[None, None, :, None]
    found = belief[:, None, None, None]
    if start.folds:
        # Within a fold it is the difference to the start that counts, and its own chance with it.
        level, noise = np.zeros(1), scatter * math.sqrt(2)
    else:
        level, noise = start.auc + np.array(LEVELS) * scatter, scatter
        for auc in start.aucs:
            found = found + _log_density(auc - level, noise)
    for outcome in others:
        halvings = (places - math.log2(outcome.params))[:, None, None, None]
        loss = np.maximum(0.0, margin + slope * halvings)
        for seen in _seen(outcome, start):
            found = found + _log_density(seen - (level - loss), noise)
    found = np.exp(found - found.max()).sum(axis=(1, 2, 3))
    return Crossing(tuple((2.0**places).tolist()), tuple((found / found.sum()).tolist()))


def _seen(outcome: Outcome, start: Outcome) -> list[float]:
    """The AUC of each training, or its difference to the start's on the same fold."""
    if not start.folds:
        return list(outcome.aucs)
    if not outcome.folds:
        return [auc - start.auc for auc in outcome.aucs]
    return [
        auc - (start.auc_on(fold) if fold in start.folds else start.auc)
        for auc, fold in zip(outcome.aucs, outcome.folds, strict=True)
    ]


def _log_density(error: np.ndarray, scatter: np.ndarray) -> np.ndarray:
    import numpy as np  # noqa: PLC0415 - as above

    z = error / scatter
    plain = np.exp(-0.5 * z**2)
    wild = np.exp(-0.5 * (z / WIDER) ** 2) / WIDER
    density: np.ndarray = np.log((1 - WILD) * plain + WILD * wild + 1e-300) - np.log(scatter)
    return density
