"""What every statistic asks of its labels and scores, told as one error each."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from ckrm_tf.errors import CKRMError


def _finite(what: str, values: ArrayLike) -> np.ndarray:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CKRMError(what, expected="numbers in a full array", received=str(error)) from error
    if not np.isfinite(array).all():
        bad = int(np.sum(~np.isfinite(array)))
        raise CKRMError(what, expected="finite values", received=f"{bad} NaN or infinite")
    return array


def _class_indices(labels: ArrayLike) -> np.ndarray:
    array = np.asarray(labels)
    if array.ndim != 1 or array.dtype.kind not in "iub":
        raise CKRMError(
            "labels",
            expected="class indices of shape (n,), whole numbers",
            received=f"{array.dtype} of shape {array.shape}",
        )
    return array.astype(np.int64)


def check_binary(labels: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Labels as booleans (n,) with both classes present, scores as finite floats (n,)."""
    truth, values = _class_indices(labels), _finite("scores", scores)
    if values.shape != truth.shape:
        raise CKRMError("scores", expected=f"shape {truth.shape}", received=values.shape)
    positive = truth == 1
    if np.any(~positive & (truth != 0)):
        raise CKRMError(
            "binary labels", expected="0 and 1 only", received=np.unique(truth).tolist()
        )
    if positive.all() or not positive.any():
        raise CKRMError(
            "binary labels",
            expected="both classes, for an AUC",
            received=f"{int(positive.sum())} positive of {len(positive)}",
        )
    return positive, values


def check_classes(labels: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Labels as int64 (n,) with every class present, probabilities as finite floats (n, classes).

    Any finite scores will do, such as logits: ranks and the largest column are all that count.
    """
    truth, values = _class_indices(labels), _finite("probabilities", probabilities)
    if values.ndim != 2 or values.shape[0] != len(truth) or values.shape[1] < 2:
        raise CKRMError(
            "probabilities",
            expected=f"shape ({len(truth)}, classes), two classes or more",
            received=values.shape,
        )
    classes = values.shape[1]
    if len(truth) and (truth.min() < 0 or truth.max() >= classes):
        raise CKRMError(
            "labels",
            expected=f"class indices 0 to {classes - 1}",
            received=f"{truth.min()} to {truth.max()}",
        )
    missing = np.flatnonzero(np.bincount(truth, minlength=classes) == 0)
    if len(missing):
        raise CKRMError(
            "labels",
            expected="every class at least once",
            received=f"none of class {', '.join(map(str, missing))}",
            hint="A class without images has no AUC and no sensitivity.",
        )
    return truth, values


def check_seeds(labels: ArrayLike, probabilities: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """As `check_classes`, for one training (n, classes) or several (seeds, n, classes).

    Returns:
        Labels (n,) and probabilities (seeds, n, classes).
    """
    values = _finite("probabilities", probabilities)
    stacked = values[None] if values.ndim == 2 else values
    if stacked.ndim != 3 or not len(stacked):
        raise CKRMError(
            "probabilities",
            expected="shape (n, classes) or (seeds, n, classes)",
            received=values.shape,
        )
    truth, _ = check_classes(labels, stacked[0])
    return truth, stacked


def check_confidence(confidence: float) -> float:
    """`confidence` itself, if it is strictly between 0 and 1."""
    if not 0 < confidence < 1:
        raise CKRMError("confidence", expected="between 0 and 1, such as .95", received=confidence)
    return float(confidence)


def check_margin(margin: float) -> float:
    """`margin` itself, if it is strictly between 0 and 1."""
    if not 0 < margin < 1:
        raise CKRMError("margin", expected="between 0 and 1, such as .02", received=margin)
    return float(margin)


def check_folds(labels: np.ndarray, folds: ArrayLike | None, classes: int) -> list[np.ndarray]:
    """Indices of the images of each fold, or one part of all; every part has every class.

    Args:
        labels: (n,), checked.
        folds: (n,), the fold of each image, or None.
        classes: how many classes each part must have.
    """
    if folds is None:
        return [np.arange(len(labels))]
    place = np.asarray(folds)
    if place.shape != labels.shape:
        raise CKRMError("folds", expected=f"shape {labels.shape}", received=place.shape)
    names = np.unique(place)
    parts = [np.flatnonzero(place == name) for name in names]
    for name, part in zip(names, parts, strict=True):
        missing = np.flatnonzero(np.bincount(labels[part], minlength=classes) == 0)
        if len(missing):
            raise CKRMError(
                f"fold {name}",
                expected="every class at least once",
                received=f"none of class {', '.join(map(str, missing))}",
            )
    return parts
