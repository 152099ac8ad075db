"""A part of the training images that no training sees: slices are scored on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ckrm_tf.data.dataset import Dataset, Split, check_dataset
from ckrm_tf.data.folds import owners, taken
from ckrm_tf.errors import CKRMError


def hold_out(data: Dataset, share: float, seed: int = 1) -> tuple[Dataset, Split]:
    """The data set with fewer training images, and those that were taken out.

    Every class gives its share, at least one image. A patient's images stay together where patients
    are known; a patient is of the class of their first image.

    Args:
        data: validation and test splits stay as they are.
        share: of the training images, above 0 and at most a half.
        seed: of the dealing.

    Raises:
        CKRMError: an impossible share; training images of which a part would lack a class.

    Example:
        >>> from ckrm_tf import load_dataset
        >>> data, kept = hold_out(load_dataset("phantom", n=(60, 9, 9), image_size=16), 0.2)
        >>> len(data.train), len(kept)
        (48, 12)
    """
    apart = held_apart(data, share, seed)
    kept, left = taken(data.train, apart), taken(data.train, ~apart)
    for label, name in enumerate(data.class_names):
        if not (kept.labels == label).any() or not (left.labels == label).any():
            raise CKRMError(
                f"class {name!r}: training images, of which a part is kept apart to score slices",
                expected="two or more, of two patients where patients are known",
                received=int((data.train.labels == label).sum()),
                hint="--score-share 0 keeps none apart: then the signals decide.",
            )
    return check_dataset(replace(data, train=left)), kept


def held_apart(data: Dataset, share: float, seed: int = 1) -> np.ndarray:
    """Which of the training images `hold_out` takes: (n,) bool."""
    if not 0 < share <= 0.5:
        raise CKRMError("share held out", expected="above 0, at most 0.5", received=share)
    labels = data.train.labels
    first, owner = owners(labels, data.train.patients)
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(first), bool)
    for label in range(data.classes):
        members = rng.permutation(np.flatnonzero(labels[first] == label))
        chosen[members[: max(1, round(share * len(members)))]] = True
    return chosen[owner]
