"""Readers by cases: the variance of a mean AUC whose trainings (readers) and images (cases) vary.

The model is that of Obuchowski and Rockette 1995 with the degrees of freedom of Hillis 2007
(Statistics in Medicine 26). The AUCs of the trainings have a covariance over images: `c2` is the
mean covariance of two trainings of one arm, `c3` that of two trainings of different arms. What
varies from training to training, the training-by-image interaction included, is read off the AUCs
themselves. Where each fold has one training of each arm, nothing tells trainings from images: then
the variance is that of Nadeau and Bengio 2003 (Machine Learning 52, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student


@dataclass(frozen=True, slots=True)
class Parts:
    """The variance of an estimate in parts, before anything is cut at 0.

    Attributes:
        readers: variance from training to training, over the number of trainings.
        freedom: its degrees of freedom, 0 where there is one training and `readers` is 0.
        cases: variance from image to image that all trainings share; may come out negative.
        trainings: of the arm that has fewer.
    """

    readers: float
    freedom: float
    cases: float
    trainings: int


@dataclass(frozen=True, slots=True)
class Variance:
    """Variance of an estimate, and the degrees of freedom of Student's t (inf: the normal)."""

    value: float
    freedom: float

    def half_width(self, confidence: float) -> float:
        """Half of the two-sided interval."""
        return float(student.ppf((1 + confidence) / 2, self.freedom) * np.sqrt(self.value))

    def p_value(self, distance: float) -> float:
        """One-sided, for "the estimate is `distance` above its bound by chance"."""
        if self.value > 0:
            return float(student.sf(distance / np.sqrt(self.value), self.freedom))
        return float(np.sign(-distance) / 2 + 0.5)


def unpaired(a: np.ndarray, b: np.ndarray, covariance: np.ndarray) -> Parts:
    """The difference mean(b) - mean(a), the trainings of the two arms drawn independently.

    var = MS / k_a + MS / k_b + 2 (c2 - c3), with MS the mean of the arms' variances of the AUC.

    Args:
        a: (k_a,) AUCs of one arm, two or more.
        b: (k_b,) AUCs of the other.
        covariance: (k_a + k_b, k_a + k_b) over images, of a's AUCs and then b's.
    """
    within, between = _blocks(covariance, len(a))
    mean_square = (a.var(ddof=1) + b.var(ddof=1)) / 2
    c2 = np.mean([_off_diagonal(block) for block in within])
    freedom = 4 / (1 / (len(a) - 1) + 1 / (len(b) - 1))
    readers = mean_square * (1 / len(a) + 1 / len(b))
    cases = 2 * (c2 - between.mean())
    return Parts(float(readers), float(freedom), float(cases), min(len(a), len(b)))


def paired(a: np.ndarray, b: np.ndarray, covariance: np.ndarray) -> Parts:
    """The difference mean(b) - mean(a), training i of both arms with one seed, order and fold.

    var = MS_int / k + 2 (c2 - c3), with MS_int the variance of the k differences, and c3 over
    different trainings. Arguments as for `unpaired`, with equal numbers of AUCs.
    """
    within, between = _blocks(covariance, len(a))
    c2 = np.mean([_off_diagonal(block) for block in within])
    readers = (b - a).var(ddof=1) / len(a)
    cases = 2 * (c2 - _off_diagonal(between))
    return Parts(float(readers), len(a) - 1, float(cases), len(a))


def single(a: np.ndarray, covariance: np.ndarray) -> Parts:
    """The mean AUC of one arm: MS / k + c2; of one training, its variance over images."""
    if len(a) == 1:
        return Parts(0.0, 0, float(covariance[0, 0]), 1)
    readers = float(a.var(ddof=1) / len(a))
    return Parts(readers, len(a) - 1, float(_off_diagonal(covariance)), len(a))


def combine(parts: Sequence[Parts], estimates: np.ndarray) -> Variance:
    """Variance of the mean over folds of independent images, or of the one part.

    Folds differ by more than their trainings and images where the training images count: what the
    variance of the folds' estimates exceeds the parts by is added, with the correction of
    `nadeau_bengio` for training images that the folds share.

    Satterthwaite's degrees of freedom are `freedom` times (variance / readers) squared. With two
    trainings that trusts the readers' part too much: simulated, it covers .92 (two degrees of
    freedom) and .87 (one) where .95 is meant. There the exponent is 1 and 1/2 in place of 2, which
    covers .94 to .96 and .94 to .98.

    Args:
        parts: of each fold.
        estimates: (folds,) the estimate of each fold.
    """
    folds = len(parts)
    readers = sum(part.readers for part in parts) / folds**2
    cases = max(sum(part.cases for part in parts), 0.0) / folds**2
    value = readers + cases
    if folds > 1:
        excess = max(float(estimates.var(ddof=1)) - folds * value, 0.0)
        value += excess * (1 / folds + 1 / (folds - 1))
    if readers == 0:
        return Variance(value, np.inf)
    freedom = sum(part.freedom for part in parts)
    few = parts[0].trainings == 2 and freedom <= 2
    exponent = freedom / 2 if few else 2
    return Variance(value, freedom * (value / readers) ** exponent)


def nadeau_bengio(estimates: np.ndarray) -> Variance:
    """Variance of the mean of J folds' estimates, each of one training: (1/J + 1/(J - 1)) s².

    1/(J - 1) is a fold's images over the others: it stands for the training images that two folds
    share. Where they count for little, the interval is wider than need be.

    Args:
        estimates: (folds,), two or more.
    """
    folds = len(estimates)
    factor = 1 / folds + 1 / (folds - 1)
    return Variance(factor * float(estimates.var(ddof=1)), folds - 1)


def _blocks(covariance: np.ndarray, k: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    return (covariance[:k, :k], covariance[k:, k:]), covariance[:k, k:]


def _off_diagonal(square: np.ndarray) -> float:
    k = len(square)
    return float((square.sum() - np.trace(square)) / (k * (k - 1)))
