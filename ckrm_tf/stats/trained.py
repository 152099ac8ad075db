"""Two trained models on the same images: DeLong's test of their macro AUCs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ckrm_tf.errors import CKRMError
from ckrm_tf.stats.checks import check_confidence, check_folds, check_margin
from ckrm_tf.stats.jackknife import macro_auc_deviations
from ckrm_tf.stats.noninferiority import check_arms, verdict
from ckrm_tf.stats.readers import Variance


@dataclass(frozen=True, slots=True)
class TrainedModels:
    """The verdict about two trained models, candidate minus reference, on other images.

    Attributes:
        low, high: two-sided normal interval of the difference.
        p_value: one-sided, for "the candidate is worse by the margin or more".
        non_inferior, equivalent: as in `NonInferiority`.
        folds: number of folds, each with a model of each arm; 1 without.
    """

    auc_reference: float
    auc_candidate: float
    difference: float
    low: float
    high: float
    margin: float
    p_value: float
    non_inferior: bool
    equivalent: bool
    confidence: float
    folds: int

    def __str__(self) -> str:
        words = "equivalent" if self.equivalent else "not inferior"
        if not self.non_inferior:
            words = "not shown to be non-inferior"
        models = (
            "these two trained models" if self.folds == 1 else "the trained models of the folds"
        )
        return (
            f"{self.difference:+.3f} [{self.low:+.3f}, {self.high:+.3f}], margin {self.margin:g}: "
            f"{words}, for {models} and not for other trainings"
        )


def compare_trained_models(
    labels: ArrayLike,
    reference: ArrayLike,
    candidate: ArrayLike,
    *,
    margin: float = 0.02,
    folds: ArrayLike | None = None,
    confidence: float = 0.95,
) -> TrainedModels:
    """Test one trained model against another on the same images, by DeLong's paired variance.

    The interval is about other images, not about other trainings: for those `non_inferiority`.

    Args:
        labels: (n,), class indices; every class must occur, and twice.
        reference: probabilities (n, classes) of the starting model.
        candidate: the same of the smaller model.
        margin: the loss of macro AUC that would still be accepted, above 0.
        folds: (n,), the fold of each image, where every fold has two models of its own. The AUC
            is then the mean over the folds of the AUC within a fold.
        confidence: of the two-sided interval whose lower end decides.

    Raises:
        CKRMError: for several trainings of an arm, and as `non_inferiority`.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> labels = np.arange(300) % 3
        >>> start = rng.normal(size=(300, 3)) + 2 * np.eye(3)[labels]
        >>> print(compare_trained_models(labels, start, start + 0.1 * rng.normal(size=(300, 3))))
        -0.003 [-0.005, -0.000], margin 0.02: equivalent, for these two trained models and not \
for other trainings
    """
    check_margin(margin)
    check_confidence(confidence)
    truth, first, second = check_arms(labels, reference, candidate)
    if len(first) > 1 or len(second) > 1:
        raise CKRMError(
            "trained models",
            expected="one of each arm",
            received=f"{len(first)} and {len(second)}",
            hint="`non_inferiority` compares several trainings.",
        )
    parts = check_folds(truth, folds, first.shape[2])
    means, values = [], []
    for part in parts:
        both = np.concatenate([first[:, part], second[:, part]])
        aucs, deviations = macro_auc_deviations(truth[part], both, within_classes=True)
        means.append(aucs)
        values.append(float(np.sum((deviations[1] - deviations[0]) ** 2)))
    variance = Variance(sum(values) / len(parts) ** 2, np.inf)
    auc_reference, auc_candidate = np.mean(means, axis=0).tolist()
    difference = auc_candidate - auc_reference
    half = variance.half_width(confidence)
    low, high = max(difference - half, -1.0), min(difference + half, 1.0)
    status = verdict(low, high, margin)
    return TrainedModels(
        auc_reference=auc_reference,
        auc_candidate=auc_candidate,
        difference=difference,
        low=low,
        high=high,
        margin=margin,
        p_value=variance.p_value(difference + margin),
        non_inferior=status != "not shown",
        equivalent=status == "equivalent",
        confidence=confidence,
        folds=len(parts),
    )
