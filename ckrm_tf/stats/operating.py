"""What an AUC leaves out: sensitivity at an operating point, and where two models disagree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ckrm_tf.errors import CKRMError
from ckrm_tf.stats.checks import check_classes, check_confidence
from ckrm_tf.stats.intervals import Interval, proportion


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """One class against the rest, called positive where its score is above the threshold."""

    threshold: float
    sensitivity: Interval
    specificity: Interval


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An image for which two models name different classes.

    Attributes:
        image: its position.
        label, reference, candidate: the true class and the class that each model names.
    """

    image: int
    label: int
    reference: int
    candidate: int


def thresholds_at_specificity(
    labels: ArrayLike, probabilities: ArrayLike, specificity: float
) -> np.ndarray:
    """Smallest threshold of each class that at least `specificity` of the other images stay under.

    Choose it on images that do not judge, such as the validation split.

    Args:
        labels: (n,), class indices; every class must occur.
        probabilities: (n, classes).
        specificity: above 0, at most 1.

    Returns:
        (classes,); a score above its class's threshold is positive.

    Raises:
        CKRMError: for a specificity out of range, and as `check_classes`.

    Example:
        >>> scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
        >>> thresholds_at_specificity([0, 0, 1, 1], scores, 1.0)
        array([0.7, 0.4])
    """
    if not 0 < specificity <= 1:
        raise CKRMError("specificity", expected="above 0, at most 1", received=specificity)
    truth, values = check_classes(labels, probabilities)
    found = []
    for index in range(values.shape[1]):
        others = np.sort(values[truth != index, index])
        # Rounding must not ask for one image more: .9 of 10 images is 9.
        found.append(others[int(np.ceil(specificity * len(others) - 1e-9)) - 1])
    return np.array(found)


def sensitivity_at(
    labels: ArrayLike,
    probabilities: ArrayLike,
    thresholds: ArrayLike,
    confidence: float = 0.95,
) -> tuple[OperatingPoint, ...]:
    """Sensitivity and specificity of each class at its threshold, with Wilson's intervals.

    Args:
        labels: (n,), class indices; every class must occur.
        probabilities: (n, classes).
        thresholds: (classes,), such as those of `thresholds_at_specificity` on other images.
        confidence: of the two-sided intervals.

    Raises:
        CKRMError: when the shapes do not fit, and as `check_classes`.

    Example:
        >>> scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
        >>> [point.sensitivity.value for point in sensitivity_at([0, 0, 1, 1], scores, [0.7, 0.4])]
        [0.5, 0.5]
    """
    truth, values = check_classes(labels, probabilities)
    check_confidence(confidence)
    limits = np.asarray(thresholds, dtype=np.float64)
    if limits.shape != values.shape[1:] or np.isnan(limits).any():
        raise CKRMError("thresholds", expected=f"{values.shape[1]} numbers", received=thresholds)
    points = []
    for index, limit in enumerate(limits):
        called, member = values[:, index] > limit, truth == index
        points.append(
            OperatingPoint(
                float(limit),
                proportion(int(called[member].sum()), int(member.sum()), confidence),
                proportion(int((~called[~member]).sum()), int((~member).sum()), confidence),
            )
        )
    return tuple(points)


def disagreements(
    labels: ArrayLike, reference: ArrayLike, candidate: ArrayLike
) -> tuple[Disagreement, ...]:
    """The images for which two models name different classes, in the order of the images.

    Args:
        labels: (n,), class indices; every class must occur.
        reference: probabilities (n, classes) of one model; the largest names the class.
        candidate: the same of the other.

    Raises:
        CKRMError: when the shapes do not fit, and as `check_classes`.

    Example:
        >>> a = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
        >>> disagreements([0, 1, 1], a, a[[0, 2, 2]])
        (Disagreement(image=1, label=1, reference=0, candidate=1),)
    """
    truth, first = check_classes(labels, reference)
    _, second = check_classes(labels, candidate)
    a, b = first.argmax(axis=1), second.argmax(axis=1)
    return tuple(
        Disagreement(int(i), int(truth[i]), int(a[i]), int(b[i])) for i in np.flatnonzero(a != b)
    )
