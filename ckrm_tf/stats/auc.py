"""Area under the ROC curve by ranks: binary, per class and macro."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from ckrm_tf.stats.checks import check_binary, check_classes


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Probability that a positive scores above a negative; a tie counts one half.

    Args:
        labels: (n,), 0 or 1.
        scores: (n,), larger means more likely positive.

    Raises:
        CKRMError: when a class is absent, a score is not finite or the lengths differ.

    Example:
        >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75
    """
    positive, values = check_binary(labels, scores)
    return float(_rank_auc(positive[:, None], values[:, None])[0])


def class_auc(labels: ArrayLike, probabilities: ArrayLike) -> np.ndarray:
    """AUC of each class against the rest, shape (classes,).

    Args:
        labels: (n,), class indices; every class must occur.
        probabilities: (n, classes).

    Raises:
        CKRMError: when a class is absent, a value is not finite or the shapes do not fit.

    Example:
        >>> scores = [[0.8, 0.1, 0.1], [0.4, 0.5, 0.1], [0.3, 0.4, 0.3], [0.0, 0.2, 0.8]]
        >>> class_auc([0, 0, 1, 2], scores)
        array([1.        , 0.66666667, 1.        ])
    """
    truth, values = check_classes(labels, probabilities)
    return _rank_auc(truth[:, None] == np.arange(values.shape[1]), values)


def macro_auc(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Unweighted mean of `class_auc`, the one-vs-rest macro AUC.

    Arguments and errors as in `class_auc`.

    Example:
        >>> macro_auc([0, 0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
        0.75
    """
    return float(class_auc(labels, probabilities).mean())


def _rank_auc(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Mann-Whitney's U over the number of pairs, for each column of (n, columns) arrays."""
    ranks = rankdata(scores, axis=0)
    positives = positive.sum(axis=0)
    negatives = len(positive) - positives
    rank_sum = np.where(positive, ranks, 0.0).sum(axis=0)
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)
