"""Intervals of proportions, the spread over seeds, and the paper's analysis of variance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats

from ckrm_tf.errors import CKRMError
from ckrm_tf.stats.checks import check_classes, check_confidence


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its two-sided confidence interval."""

    value: float
    low: float
    high: float
    confidence: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class Spread:
    """Values over seeds: `sd` is the sample's (n - 1), None for a single value."""

    mean: float
    sd: float | None
    minimum: float
    maximum: float
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.sd is None else f"{self.mean:.3f} ± {self.sd:.3f}"


@dataclass(frozen=True, slots=True)
class Anova:
    """One-way analysis of variance: the F statistic and its p value."""

    f: float
    p_value: float


def proportion(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """A proportion with Wilson's interval."""
    bounds = scipy_stats.binomtest(successes, trials).proportion_ci(
        check_confidence(confidence), method="wilson"
    )
    return Interval(successes / trials, float(bounds.low), float(bounds.high), confidence)


def accuracy(labels: ArrayLike, probabilities: ArrayLike, confidence: float = 0.95) -> Interval:
    """Share of images whose largest probability is at their label, with Wilson's interval.

    Args:
        labels: (n,), class indices; every class must occur.
        probabilities: (n, classes).
        confidence: of the two-sided interval.

    Raises:
        CKRMError: when a class is absent, a value is not finite or the shapes do not fit.

    Example:
        >>> print(accuracy([0, 0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]]))
        0.750 [0.301, 0.954]
    """
    truth, values = check_classes(labels, probabilities)
    return proportion(int(np.sum(values.argmax(axis=1) == truth)), len(truth), confidence)


def sensitivity(
    labels: ArrayLike, probabilities: ArrayLike, confidence: float = 0.95
) -> tuple[Interval, ...]:
    """For each class the share of its images that are recognised, with Wilson's interval.

    Arguments and errors as in `accuracy`.

    Example:
        >>> scores = [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]]
        >>> [found.value for found in sensitivity([0, 0, 1, 1], scores)]
        [1.0, 0.5]
    """
    truth, values = check_classes(labels, probabilities)
    hit = values.argmax(axis=1) == truth
    members = [truth == index for index in range(values.shape[1])]
    return tuple(proportion(int(hit[m].sum()), int(m.sum()), confidence) for m in members)


def _numbers(what: str, values: Iterable[float], least: int) -> np.ndarray:
    array = np.asarray(list(values), dtype=np.float64)
    if array.ndim != 1 or len(array) < least or not np.isfinite(array).all():
        raise CKRMError(what, expected=f"at least {least} finite numbers", received=array.tolist())
    return array


def spread(values: Iterable[float]) -> Spread:
    """Mean, standard deviation and range of the values of several seeds.

    Example:
        >>> print(spread([0.90, 0.91, 0.89]), spread([0.90]))
        0.900 ± 0.010 0.900
    """
    array = _numbers("values", values, 1)
    sd = float(array.std(ddof=1)) if len(array) > 1 else None
    return Spread(float(array.mean()), sd, float(array.min()), float(array.max()), len(array))


def anova(*groups: Iterable[float]) -> Anova:
    """One-way ANOVA over groups of AUCs, as arXiv 2212.00272 reports it.

    "Not significant" here does not show that groups are equal: see `non_inferiority`.

    Args:
        *groups: the values of each group, two groups or more, two values or more in each.

    Raises:
        CKRMError: for too few groups or values, or when no group varies, where F is undefined.

    Example:
        >>> near, far = anova([0.90, 0.92], [0.91, 0.93]), anova([0.90, 0.92], [0.80, 0.82])
        >>> near.p_value > 0.05, far.p_value < 0.05
        (True, True)
    """
    if len(groups) < 2:
        raise CKRMError("ANOVA", expected="at least two groups", received=len(groups))
    arrays = [_numbers("ANOVA group", group, 2) for group in groups]
    if all(np.ptp(array) == 0 for array in arrays):
        raise CKRMError(
            "ANOVA", expected="a spread within at least one group", received="constant groups"
        )
    result = scipy_stats.f_oneway(*arrays)
    return Anova(float(result.statistic), float(result.pvalue))
