"""DeLong's variance of an AUC and covariance of two, in the O(n log n) form by ranks.

DeLong, DeLong, Clarke-Pearson 1988 (Biometrics 44); the rank form is Sun and Xu 2014
(IEEE Signal Processing Letters 21), equations 6 to 8.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, rankdata

from ckrm_tf.errors import CKRMError
from ckrm_tf.stats.checks import check_binary, check_classes, check_confidence
from ckrm_tf.stats.intervals import Interval


@dataclass(frozen=True, slots=True)
class DeLong:
    """Two AUCs on the same images, and the test of their difference b - a.

    Attributes:
        covariance: ((var a, cov), (cov, var b)) of the two AUCs.
        low, high: the two-sided normal interval of the difference.
        p_value: two-sided, for "the two AUCs are equal".
    """

    auc_a: float
    auc_b: float
    covariance: tuple[tuple[float, float], tuple[float, float]]
    difference: float
    low: float
    high: float
    p_value: float


def _aucs_and_covariance(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUCs (k,) and their covariance (k, k) for scores (n, k)."""
    cases, controls = int(positive.sum()), int((~positive).sum())
    if min(cases, controls) < 2:
        raise CKRMError(
            "DeLong's variance",
            expected="at least two images of each class",
            received=f"{cases} positive, {controls} negative",
        )
    ranks = rankdata(scores, axis=0)
    # For each positive the share of negatives below it, and the reverse (ties one half).
    above = (ranks[positive] - rankdata(scores[positive], axis=0)) / controls
    below = 1 - (ranks[~positive] - rankdata(scores[~positive], axis=0)) / cases
    covariance = np.cov(above, rowvar=False) / cases + np.cov(below, rowvar=False) / controls
    return above.mean(axis=0), np.atleast_2d(covariance)


def delong(
    labels: ArrayLike, scores_a: ArrayLike, scores_b: ArrayLike, *, confidence: float = 0.95
) -> DeLong:
    """Compare two binary classifiers on the same images.

    Args:
        labels: (n,), 0 or 1, at least two of each.
        scores_a: (n,).
        scores_b: (n,).
        confidence: of the two-sided interval of the difference.

    Raises:
        CKRMError: when a class has fewer than two images, or scores are not finite or not (n,).

    Example:
        >>> rng = np.random.default_rng(1)
        >>> labels = np.arange(200) % 2
        >>> good = labels + rng.normal(size=200)
        >>> found = delong(labels, good, good + 0.5 * labels)
        >>> round(found.auc_a, 3), round(found.auc_b, 3), found.low > 0
        (0.784, 0.876, True)
        >>> found = delong(labels, good, good + 0.5 * rng.normal(size=200))
        >>> found.low < 0 < found.high
        True
    """
    positive, first = check_binary(labels, scores_a)
    _, second = check_binary(labels, scores_b)
    aucs, covariance = _aucs_and_covariance(positive, np.stack([first, second], axis=1))
    difference = float(aucs[1] - aucs[0])
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    # Rounding leaves the variance of equal scores at some -1e-18.
    error = float(np.sqrt(max(variance, 0.0)))
    half = error * float(norm.ppf((1 + check_confidence(confidence)) / 2))
    p_value = 2 * norm.sf(abs(difference) / error) if error > 0 else difference == 0
    (var_a, cov), (_, var_b) = covariance.tolist()
    return DeLong(
        float(aucs[0]),
        float(aucs[1]),
        ((var_a, cov), (cov, var_b)),
        difference,
        difference - half,
        difference + half,
        float(p_value),
    )


def auc_interval(labels: ArrayLike, scores: ArrayLike, confidence: float = 0.95) -> Interval:
    """A binary AUC with DeLong's normal interval, cut to [0, 1].

    At an AUC of exactly 0 or 1 the estimated variance is 0 and so is the interval's width: then
    it says nothing about other images. Arguments and errors as in `delong`.

    Example:
        >>> labels = np.arange(200) % 2
        >>> print(auc_interval(labels, labels + np.random.default_rng(1).normal(size=200)))
        0.784 [0.720, 0.848]
    """
    positive, values = check_binary(labels, scores)
    aucs, covariance = _aucs_and_covariance(positive, values[:, None])
    half = float(np.sqrt(covariance[0, 0]) * norm.ppf((1 + check_confidence(confidence)) / 2))
    value = float(aucs[0])
    return Interval(value, max(value - half, 0.0), min(value + half, 1.0), confidence)


def class_auc_intervals(
    labels: ArrayLike, probabilities: ArrayLike, confidence: float = 0.95
) -> tuple[Interval, ...]:
    """`auc_interval` of each class against the rest, for probabilities (n, classes).

    Example:
        >>> labels = np.arange(300) % 3
        >>> scores = np.random.default_rng(1).normal(size=(300, 3)) + 2 * np.eye(3)[labels]
        >>> [round(found.value, 2) for found in class_auc_intervals(labels, scores)]
        [0.92, 0.91, 0.93]
    """
    truth, values = check_classes(labels, probabilities)
    return tuple(
        auc_interval(truth == index, values[:, index], confidence)
        for index in range(values.shape[1])
    )
