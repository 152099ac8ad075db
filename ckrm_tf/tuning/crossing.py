"""How small a network may be, from AUCs that are partly chance: a probabilistic bisection. Pure.

Along a way every network is a part of the one before, so the loss of AUC against the starting
network falls with size: 0 down to some size, then a straight line over the logarithm of the
parameters. Where it crosses the accepted loss, how steep it is there, the start's true AUC and the
scatter of trainings are unknown; every training tells something of all four. One training that
was unlucky then moves the guess by as much as it should, and no more (Waeber, Frazier, Henderson,
"Bisection search with noisy responses", SIAM J. Control Optim. 51, 2013).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ckrm_tf.tuning.history import Outcome

# Loss for each halving of the parameters, as a share of the accepted loss.
SLOPES = (0.25, 0.5, 1.0, 2.0)
# Standard deviations of one training's AUC. A tenth of the trainings scatter three times as much.
SCATTER = (0.006, 0.012, 0.02)
WILD, WIDER = 0.1, 3.0
# Steps of the crossing, in halvings of the parameters, and of the start's AUC, in its own scatter.
STEP = 1 / 8
LEVELS = np.linspace(-2.5, 2.5, 21)


@dataclass(frozen=True)
class Crossing:
    """What is believed of the number of parameters at which the accepted loss is reached.

    Attributes:
        params: numbers of parameters, falling.
        chances: of each, summing to 1.
    """

    params: np.ndarray
    chances: np.ndarray

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
        rising = np.cumsum(self.chances[::-1])
        place = int(np.searchsorted(rising, share))
        return float(self.params[::-1][min(place, len(rising) - 1)])

    def holds(self, params: float) -> float:
        """The chance that a network of so many parameters keeps to the accepted loss."""
        return float(self.chances[self.params <= params].sum())


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
        others: those of networks along the way.
        margin: the accepted loss of AUC.
        most: parameters of the largest network that may be the crossing.
        least: of the smallest.
        guess: parameters at which it is expected.
        width: how far off the guess may well be, in halvings.
    """
    count = 2 + math.ceil(math.log2(most / least) / STEP)
    places = math.log2(most) - STEP * np.arange(count)
    belief = -0.5 * ((places - math.log2(guess)) / width) ** 2
    # Axes: crossing, slope, scatter, the start's AUC.
    slope = margin * np.array(SLOPES)[None, :, None, None]
    scatter = np.array(SCATTER)[None, None, :, None]
    folds = bool(start.folds)
    # Within a fold it is the difference to the start that counts, and the start's chance with it.
    noise = scatter * (math.sqrt(2) if folds else 1.0)
    level = (0.0 if folds else start.auc) + (0.0 if folds else 1.0) * LEVELS * scatter
    found = np.broadcast_to(
        belief[:, None, None, None], (count, len(SLOPES), len(SCATTER), len(LEVELS))
    ).copy()
    if not folds:
        for auc in start.aucs:
            found += _log_density(auc - level, noise)
    for outcome in others:
        halvings = (places - math.log2(outcome.params))[:, None, None, None]
        loss = np.maximum(0.0, margin + slope * halvings)
        for seen in _seen(outcome, start):
            found += _log_density(seen - (level - loss), noise)
    found = np.exp(found - found.max()).sum(axis=(1, 2, 3))
    return Crossing(2.0**places, found / found.sum())


def _seen(outcome: Outcome, start: Outcome) -> list[float]:
    """The AUC of each training, or its difference to the start's on the same fold."""
    if not start.folds:
        return list(outcome.aucs)
    return [
        auc - (start.auc_on(fold) if fold in start.folds else start.auc)
        for auc, fold in zip(outcome.aucs, outcome.folds, strict=True)
    ]


def _log_density(error: np.ndarray, scatter: np.ndarray) -> np.ndarray:
    z = error / scatter
    plain = np.exp(-0.5 * z**2)
    wild = np.exp(-0.5 * (z / WIDER) ** 2) / WIDER
    density: np.ndarray = np.log((1 - WILD) * plain + WILD * wild + 1e-300) - np.log(scatter)
    return density
