"""A part of the training images that no training sees: slices are scored on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ckrm_tf.data.dataset import Dataset, Split, check_dataset
from ckrm_tf.data.folds import deal, taken
from ckrm_tf.errors import CKRMError


def hold_out(data: Dataset, share: float, seed: int = 1) -> tuple[Dataset, Split]:
    """The data set with fewer training images, and those that were taken out.

    Every class gives its share, at least one image: more than its share where it has few. A
    patient's images stay together where patients are known.

    Args:
        data: validation and test splits stay as they are.
        share: of the training images, above 0 and at most a half.
        seed: of the dealing.

    Raises:
        CKRMError: a class with too few training images.

    Example:
        >>> from ckrm_tf import load_dataset
        >>> data, kept = hold_out(load_dataset("phantom", image_size=16), 0.2)
        >>> len(data.train), len(kept)
        (224, 56)
    """
    if not 0 < share <= 0.5:
        raise CKRMError("share held out", expected="above 0, at most 0.5", received=share)
    # A small class gives one image of few, and the others no more than it.
    least = min(_units(data.train, label) for label in range(data.classes))
    parts = max(2, min(round(1 / share), least))
    place = deal(data.train.labels, data.train.patients, parts, data.class_names, seed)
    kept = taken(data.train, place == 0)
    less = replace(data, train=taken(data.train, place != 0))
    return check_dataset(less), kept


def _units(split: Split, label: int) -> int:
    own = split.labels == label
    return int(own.sum()) if split.patients is None else len(np.unique(split.patients[own]))
