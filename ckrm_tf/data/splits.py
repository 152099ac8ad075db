"""Train, validation and test: 70/10/20 of each class, by patient or by image."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from ckrm_tf.errors import CKRMError

PARTS = 3

Parts = tuple[np.ndarray, np.ndarray, np.ndarray]


def split_by_image(labels: np.ndarray, class_names: Sequence[str]) -> Parts:
    """Indices of the three parts: of each class, in table order, the first 70%, 10%, last 20%.

    As the GG-CAM authors' code (arXiv 2202.07107): a patient may stand in two parts.

    Raises:
        CKRMError: when a class has fewer than three images.
    """
    groups = [(label, [i]) for i, label in enumerate(labels.tolist())]
    return _cut(groups, class_names, "images")


def split_by_patient(
    labels: np.ndarray, patients: Sequence[str], class_names: Sequence[str], seed: int = 1
) -> Parts:
    """Indices of the three parts, 70/10/20 of the patients of each class; none is in two parts.

    A patient is of the class of their first image. Their order within a class is that of a hash
    of seed and name: the same on every machine and with every release of NumPy.

    Raises:
        CKRMError: when a class has fewer than three patients.
    """
    images: dict[str, list[int]] = {}
    for i, patient in enumerate(patients):
        images.setdefault(patient, []).append(i)
    shuffled = sorted(images, key=lambda name: sha256(f"{seed}:{name}".encode()).digest())
    groups = [(int(labels[images[name][0]]), images[name]) for name in shuffled]
    return _cut(groups, class_names, "patients")


def _cut(groups: list[tuple[int, list[int]]], class_names: Sequence[str], unit: str) -> Parts:
    """Cut the groups (label, indices of images) of each class 70/10/20, in the order given."""
    chosen: tuple[list[int], list[int], list[int]] = ([], [], [])
    for label, name in enumerate(class_names):
        members = [indices for own, indices in groups if own == label]
        if len(members) < PARTS:
            raise CKRMError(
                f"class {name!r}: {unit} to split",
                expected="at least 3, one each for train, val and test",
                received=len(members),
            )
        # No part of a small class stays empty.
        end_train = min(max(1, len(members) * 7 // 10), len(members) - 2)
        end_val = min(max(end_train + 1, len(members) * 8 // 10), len(members) - 1)
        for part, cut in zip(
            chosen,
            (members[:end_train], members[end_train:end_val], members[end_val:]),
            strict=True,
        ):
            part.extend(i for indices in cut for i in indices)
    train, val, test = (np.array(sorted(part), np.int64) for part in chosen)
    return train, val, test
