"""The slice criteria (arXiv 2102.02804): how many slices of the kernels are dead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy.stats import chi

from ckrm_tf.criteria.base import Signal
from ckrm_tf.criteria.eigenvalues import slice_values, threshold_for
from ckrm_tf.measures.kernels import ConvolutionKernel
from ckrm_tf.measures.null import DEVIATIONS, LEAST

# A slice counts as dead below this share of the root mean square weight of the live filters.
DEAD_SHARE = 0.5
# The root mean square is taken anew over what is alive so many times.
ROUNDS = 3
# Random slices that stand for those of any layer.
NULL_SHAPE = (64, 64)


def slice_signal(kernels: Sequence[ConvolutionKernel], criterion: str) -> Signal:
    """A slice criterion (arXiv 2102.02804) over the convolutions that share a width.

    A slice is dead when its value is below half of the root mean square weight of the layer's
    live filters; a filter is needed while it has a live slice. Both are held against random
    kernels, of which `min_eig` calls a third dead. For pointwise kernels the vectors are judged by
    their mean square.
    """
    signals = [_signal(kernel, criterion) for kernel in kernels]
    return Signal(
        redundancy=float(np.mean([s.redundancy for s in signals])),
        needed=float(np.mean([s.needed for s in signals])),
        excess=float(np.mean([s.excess for s in signals])),
    )


def _signal(kernel: ConvolutionKernel, criterion: str) -> Signal:
    weights = np.concatenate(kernel.groups, axis=-1)
    if kernel.pointwise or weights.ndim != 4 or weights.shape[0] != weights.shape[1]:
        slices = weights.reshape(-1, *weights.shape[-2:])
        values = np.sqrt(np.mean(slices**2, axis=0))
        bar = DEAD_SHARE * _live_scale(weights)
        chance, chance_strength = _null_of_norms(len(slices))
    else:
        k, channels = weights.shape[0], min(weights.shape[-2], NULL_SHAPE[0])
        chance, chance_strength = _null(k, channels, criterion)
        values, bar = _judged(weights, criterion)
    dead = values < bar
    share = float(dead.mean())
    spread = math.sqrt(chance * (1 - chance) / dead.size)
    told = share > chance + DEVIATIONS * spread + LEAST
    alive = max(1, int(np.sum(~dead.all(axis=0)))) / dead.shape[1]
    by_chance = 1.0 - chance ** dead.shape[0]
    return Signal(
        redundancy=(share - chance) / (1.0 - chance) if told else 0.0,
        needed=min(1.0, alive / by_chance) if told else 1.0,
        excess=chance_strength - _strength(values, bar),
    )


def _judged(weights: np.ndarray, criterion: str) -> tuple[np.ndarray, float]:
    """The value of every slice, and the bar below which it is dead."""
    bar = threshold_for(criterion, DEAD_SHARE * _live_scale(weights), weights.shape[0])
    return slice_values(weights, criterion), bar


def _live_scale(weights: np.ndarray) -> float:
    """The root mean square weight of the filters, those left out whose own is below half of it."""
    energies = np.mean(weights.reshape(-1, weights.shape[-1]) ** 2, axis=0)
    mean = float(energies.mean())
    for _ in range(ROUNDS):
        mean = float(energies[energies >= DEAD_SHARE**2 * mean].mean())
    return math.sqrt(mean)


def _strength(values: np.ndarray, bar: float) -> float:
    """The logarithm of the mean value over the bar; 0 for a layer of zeros."""
    return float(np.log(np.mean(values) / bar + 1e-12)) if bar else 0.0


def _null_of_norms(n: int) -> tuple[float, float]:
    """As `_null`, of the root mean square of n normal numbers, which has a chi distribution."""
    return float(chi.cdf(DEAD_SHARE * math.sqrt(n), n)), float(
        np.log(chi.mean(n) / math.sqrt(n) / DEAD_SHARE)
    )


@lru_cache(maxsize=256)
def _null(k: int, channels: int, criterion: str) -> tuple[float, float]:
    """The share of slices that are dead among random ones, and their strength."""
    weights = np.random.default_rng(1).standard_normal((k, k, channels, NULL_SHAPE[1]))
    values, bar = _judged(weights, criterion)
    return float(np.mean(values < bar)), _strength(values, bar)
