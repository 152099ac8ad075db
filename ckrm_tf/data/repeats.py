"""Images that stand in a data set more than once: what a test on them is worth, nobody sees."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np


def repeat_notes(images: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]) -> list[str]:
    """What to tell of images that are equal in every pixel; those of one value are passed over.

    Args:
        images: split -> (n, height, width, channels), the training split first.
        labels: split -> (n,) class indices.

    Returns:
        A sentence for each split with images of the splits before it, and one on images that stand
        under several classes; nothing where there are none.

    Example:
        >>> films = np.arange(64, dtype=np.uint8).reshape(4, 4, 4, 1)
        >>> labels = {"train": np.array([0, 1, 0, 1]), "test": np.array([0])}
        >>> repeat_notes({"train": films, "test": films[:1]}, labels)
        ['1 of 1 test images stand in train too: what the test split says of them is too good']
    """
    notes = []
    classes: dict[bytes, set[int]] = {}
    before: list[str] = []
    for split, array in images.items():
        known = set(classes)
        again = 0
        for image, label in zip(array, labels[split].tolist(), strict=True):
            if image.min() < image.max():
                key = blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
                classes.setdefault(key, set()).add(label)
                again += key in known
        if again:
            notes.append(
                f"{again} of {len(array)} {split} images stand in {' or '.join(before)} too: what "
                f"the {split} split says of them is too good"
            )
        before.append(split)
    several = sum(len(found) > 1 for found in classes.values())
    if several:
        notes.append(f"{several} images stand under several classes, equal in every pixel")
    return notes
