"""Covariance over images of the macro AUCs of several trainings, by the jackknife.

Leaving out one image changes an AUC by a multiple of that image's placement (its share of pairs in
order), so that ranks give all n leave-one-out AUCs at once. Two forms:

- the plain jackknife, each image left out once, as MRMC software has it by default;
- within classes, the class sizes taken as fixed: for two classes that is the variance of DeLong
  et al. 1988 exactly, for more it is DeLong's variance of the macro AUC.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from ckrm_tf.errors import CKRMError


def macro_auc_deviations(
    labels: np.ndarray, arm: np.ndarray, *, within_classes: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Macro AUCs of the trainings of one arm, and what each image adds to their covariance.

    Args:
        labels: (n,), class indices, checked.
        arm: (trainings, n, classes), checked.
        within_classes: take the class sizes as fixed.

    Returns:
        AUCs (trainings,) and deviations (trainings, n); `deviations @ deviations.T` is the
        covariance matrix of the AUCs over images, and the product of two arms' deviations their
        cross-covariance.

    Raises:
        CKRMError: when a class has one image, whose leaving out leaves no AUC.
    """
    trainings, n, classes = arm.shape
    sizes = np.bincount(labels, minlength=classes)
    if sizes.min() < 2:
        few = ", ".join(map(str, np.flatnonzero(sizes < 2)))
        raise CKRMError(
            "labels",
            expected="at least two images of each class, for a variance over images",
            received=f"one of class {few}",
        )
    aucs = np.zeros(trainings)
    without = np.zeros((n, trainings))
    for index in range(classes):
        positive = labels == index
        scores = arm[:, :, index].T
        ranks = rankdata(scores, axis=0)
        others = n - sizes[index]
        # For each positive the share of negatives below it, and the reverse (ties one half).
        above = (ranks[positive] - rankdata(scores[positive], axis=0)) / others
        below = 1 - (ranks[~positive] - rankdata(scores[~positive], axis=0)) / sizes[index]
        one = above.mean(axis=0)
        aucs += one
        without[positive] += (one - above) / (sizes[index] - 1)
        without[~positive] += (one - below) / (others - 1)
    without /= classes
    if not within_classes:
        without -= without.mean(axis=0)
        return aucs / classes, np.sqrt(1 - 1 / n) * without.T
    for index in range(classes):
        members = labels == index
        without[members] -= without[members].mean(axis=0)
    without *= np.sqrt(1 - 1 / sizes)[labels][:, None]
    return aucs / classes, without.T
